"""Figures and claims in the search's index."""

import json

from vgdocs.pages import search

SUMMARY = {
    "figures": {
        "halving": {
            "title": "It halves, `x < 1`.",
            "claims": [{"name": "claim_it_halves", "sentence": "After two steps 0.25 is left.", "passed": True}],
        }
    }
}


def test_the_figures_of_a_page():
    html = (
        '<figure class="vg-figure" data-figure="a" id="fig-a"></figure><figure id="fig-b_2"></figure><figure></figure>'
    )
    assert search.figures(html) == ["a", "b_2"]


def test_each_figure_and_claim_gets_an_entry_with_its_own_address(tmp_path):
    index = tmp_path / "search_index.json"
    index.write_text('{"config":{"lang":["en"]},"docs":[{"location":"page/","title":"Page","text":""}]}')
    search.extend(index, {"page/": ["halving", "still_measured"]}, SUMMARY)
    content = json.loads(index.read_text("utf-8"))
    assert content["config"] == {"lang": ["en"]}
    assert content["docs"][1:] == [
        {"location": "page/#fig-halving", "title": "Figure: It halves, x &lt; 1.", "text": "halving"},
        {
            "location": "page/#claim-halving-it_halves",
            "title": "Claim, checked",
            "text": "After two steps 0.25 is left.",
        },
    ]


def test_a_site_without_a_search(tmp_path):
    search.extend(tmp_path / "search_index.json", {"page/": ["halving"]}, SUMMARY)
    assert not list(tmp_path.iterdir())
