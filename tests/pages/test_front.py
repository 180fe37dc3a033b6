"""What stands under a page's title and the map of causes against cures, both made from the pages' front matter."""

import json

import markdown
import pytest
from bs4 import BeautifulSoup

from vgdocs.pages import front

NAV = """theme: material
nav:
  - index.md
  - Causes:
      - On depth: causes/depth.md
      - causes/scale.md
  - cures/skips.md
"""
WORDS = "Words of a page that is read. " * 80  # 560
FIGURE = "It is shown here.\n\n/// figure | halving\n///\n"
PAGES = {
    "causes/depth": ("level: introductory", "# Depth\n\nWords.\n"),
    "causes/scale": ("level: advanced\nneeds: [causes/depth.md, index.md]", f"# Scale & *size*\n\n{WORDS}\n"),
    "cures/skips": ("against:\n  causes/scale.md: [halving, it adds < 1]\n", f"# Skips\n\n{FIGURE}"),
    "map": ("hide: [toc]", "# Map\n\n/// map | causes\n\nOf *everything*.\n///\n"),
}


def write(project, pages):
    for name, (meta, text) in pages.items():
        project.page(name, f"---\n{meta}\n---\n\n{text}")


@pytest.fixture(scope="module")
def site(make_project, tmp_path_factory):
    """A project of a few pages, built strictly."""
    project = make_project(tmp_path_factory.mktemp("front"))
    project.script()
    config = project.root / "mkdocs.yml"
    config.write_text(config.read_text("utf-8") + NAV, "utf-8")
    write(project, PAGES)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    return project


def soup(project, page):
    return BeautifulSoup(project.html(page), "html.parser")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("", 1),
        ("word " * 200, 1),
        ("word " * 1000, 5),
        ("[word](../some/where.md#in-a-page) " * 1000, 5),
        ("[[figure.number:.2f]] " * 1000, 5),
        ("A formula $\\sum_i x_i^2 + y_i^2$. " * 100, 3),  # two words and a second each
        ("$$\nx = y\n$$\n\n" * 12, 2),
        ("```python\n" + "x = y + 1\n" * 60 + "```\n", 2),
        ("/// figure | halving\n    code: measure\n///\n\n" * 6, 2),
    ],
)
def test_how_long_a_page_takes(text, minutes):
    assert front.minutes(text) == minutes


def test_under_the_title_stand_level_time_and_what_to_read_first(site):
    line = soup(site, "causes/scale").select_one("h1 + .vg-reading")
    assert line.get_text() == "Advanced · 3 minutes · read first: On depth, Home"
    assert [link["href"] for link in line.select("a")] == ["../depth/", "../../"]
    assert soup(site, "causes/depth").select_one("h1 + .vg-reading").get_text() == "Introductory · 1 minute"


def test_a_page_that_gives_no_level_has_no_line(site):
    assert not soup(site, "index").select(".vg-reading")
    assert not soup(site, "cures/skips").select(".vg-reading")


def test_the_search_knows_nothing_of_it(site):
    index = json.loads((site.site / "search/search_index.json").read_text("utf-8"))
    assert any("Words of a page" in entry["text"] for entry in index["docs"])
    assert not any("read first" in entry["text"] for entry in index["docs"])


def test_a_builder_without_plugins_shows_the_same(site):
    """It says of no page which one it is."""
    for name in ("causes/scale", "map"):
        _, text = PAGES[name]
        options = {"vgdocs.markdown": {"root": str(site.root)}}
        html = markdown.markdown(text, extensions=["vgdocs.markdown"], extension_configs=options)
        ours, theirs = (BeautifulSoup(each, "html.parser") for each in (site.html(name), html))
        for part in (".vg-reading", ".vg-map"):
            assert [e.get_text() for e in theirs.select(part)] == [e.get_text() for e in ours.select(part)]
    assert theirs.select(".vg-map")


def test_each_cell_of_the_map_leads_to_a_figure(site):
    (table,) = soup(site, "map").select(".vg-map table")
    assert [head.get_text() for head in table.select("thead th[scope=col]")] == ["cure", "On depth", "Scale & size"]
    assert [a["href"] for a in table.select("thead a")] == ["../causes/depth/", "../causes/scale/"]
    (row,) = table.select("tbody tr")
    assert [cell.get_text() for cell in row.select("th[scope=row], td")] == ["Skips", "", "it adds < 1"]
    assert [a["href"] for a in row.select("a")] == ["../cures/skips/", "../cures/skips/#fig-halving"]
    assert table.caption.get_text().strip() == "Of everything."
    assert soup(site, "cures/skips").select_one("#fig-halving")


@pytest.mark.parametrize(
    "shown", [["cures/skips", "causes/scale", "causes/depth"], ["causes/scale", "causes/depth"], ["causes/depth"]]
)
def test_it_leads_to_the_cure_s_page_or_the_cause_s_or_wherever_the_figure_is(project, shown):
    write(project, {name: (meta, FIGURE if name in shown else "") for name, (meta, _) in PAGES.items()})
    html, problems = project.convert("/// map | causes\n///\n")
    assert problems == []
    assert f'href="{shown[0]}.md#fig-halving"' in html


def test_the_page_of_all_numbers_leads_to_each_figure(project):
    project.script()
    write(project, {"cures/skips": PAGES["cures/skips"]})
    html, problems = project.convert("/// numbers\n///\n")
    assert problems == []
    link = BeautifulSoup(html, "html.parser").select_one(".vg-all-numbers a")
    assert (link["href"], link.get_text()) == ("cures/skips.md#fig-halving", "Shown in: Skips")


WRONG = {
    "description: Not this: that": "its front matter isn't YAML: mapping values are not allowed here; a text",
    "level: advanced\nneeds: [index.md": "its front matter isn't YAML: expected ',' or ']'",
    "level: hard": "its level is hard: it takes introductory, intermediate or advanced",
    "needs: [index.md]": "its level is missing: it takes introductory, intermediate or advanced",
    "level: advanced\nneeds: index.md": "its needs take a list of pages, as in [problem/chain.md]",
    "level: advanced\nneeds: [indx.md]": "it needs indx.md, and there is no such page; did you mean index.md?",
    "level: advanced\nneeds: [page6.md]": "pages need one another: page6.md, page6.md",
    "level: advanced\nneeds: [page8.md]": "pages need one another: ",
    "level: advanced\nneeds: [page7.md]": "pages need one another: ",
    "against: [causes/depth.md]": "`against` takes [figure, some words] for each cause that it names",
    "against: {causes/deep.md: [halving, it holds]}": "the map has no column causes/deep.md; did you mean",
    "against: {causes/depth.md: halving}": "against causes/depth.md it takes [figure, some words]",
    "against: {causes/depth.md: [halfing, it holds]}": "no page shows the figure halfing",
}


@pytest.mark.parametrize("some", [slice(0, 7), slice(7, 9), slice(9, None)], ids=["levels", "a circle", "the map"])
def test_what_makes_no_sense_fails_the_build_and_names_the_page(project, some):
    write(project, {"causes/depth": PAGES["causes/depth"], "map": PAGES["map"], "shows": ("level: advanced", FIGURE)})
    wrong = dict(list(enumerate(WRONG.items()))[some])
    write(project, {f"page{i}": (meta, "# Page\n") for i, (meta, _) in wrong.items()})
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert f"{len(wrong)} problems in figures and pages" in output
    for i, (_, message) in wrong.items():
        assert f"docs/page{i}.md:" in output
        assert message in output
        assert f"{output.split(f'docs/page{i}.md:')[1].split(': ', 1)[1]}".startswith(message)
