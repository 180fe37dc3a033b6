"""The search is loaded when it is used, and finds a figure by its finding and a claim by its words."""

from __future__ import annotations

import json
from collections import Counter
from urllib.parse import urlencode, urlsplit

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def asked(deployed, visit):
    """A visitor of a page deep in the site, and the addresses asked for since."""
    with visit() as visitor:
        requests = []
        visitor.page.on("request", lambda request: requests.append(urlsplit(request.url).path))
        visitor.open(deployed.at(deployed.page_with(".vg-plot", deep=True)))
        visitor.page.wait_for_timeout(300)
        yield visitor, requests


def test_nothing_of_it_is_loaded_before(asked):
    visitor, requests = asked
    assert not [path for path in requests if "search" in path]
    assert not visitor.page.workers


def by_shortcut(page):
    page.keyboard.press("/")


def by_mouse(page):
    page.locator(".md-search__input").click()


@pytest.mark.parametrize("begin", [by_shortcut, by_mouse])
def test_it_is_loaded_once_when_it_is_used(asked, begin):
    visitor, requests = asked
    begin(visitor.page)
    visitor.page.keyboard.type("forget gate")
    visitor.page.locator(".md-search-result__item").first.wait_for()
    assert len([path for path in requests if path.endswith("search_index.json")]) == 1
    assert len(visitor.page.workers) == 1


def test_after_instant_navigation(asked, deployed):
    visitor, requests = asked
    visitor.instantly(visitor.page.locator(".md-logo:visible").click)
    assert not [path for path in requests if "search" in path]
    visitor.page.wait_for_timeout(500)  # an eighth of a second after a new address Material closes the search
    by_shortcut(visitor.page)
    visitor.page.keyboard.type("forget gate")
    visitor.page.locator(".md-search-result__item").first.click()
    visitor.page.locator("mark[data-md-highlight]").first.wait_for()


def test_a_link_to_a_search_and_the_words_it_marked(deployed, visit):
    with visit() as visitor:
        visitor.open(deployed.at("?q=forget+gate"))
        visitor.page.locator(".md-search-result__item").first.wait_for()
    with visit() as visitor:
        visitor.open(deployed.at("solutions/gates/?h=forget"))
        visitor.page.locator("mark[data-md-highlight]").first.wait_for()


@pytest.mark.parametrize(
    ("question", "address"),
    [
        ("is vanishing gradient the same as a loss plateau?", "faq/#is-it-the-same-as-a-plateau-or-a-saddle-point"),
        ("does Adam fix vanishing gradients?", "faq/#doesnt-adam-fix-vanishing-gradients"),
        ("why do RNNs suffer more?", "faq/#why-do-recurrent-networks-rnns-suffer-more"),
        ("how do I use batchnorm", "solutions/normalisation/#"),
        ("weight initialization", "solutions/initialisation/#"),
        ("0.25^n", "problem/chain/#"),
        ("what is it", "faq/#"),  # no word of it tells: asked as it stands
    ],
)
def test_a_question_is_asked_by_its_telling_words(deployed, visit, question, address):
    with visit() as visitor:
        visitor.open(deployed.at(f"?{urlencode({'q': question})}"))
        items = visitor.page.locator(".md-search-result__item")
        items.first.wait_for()
        found = items.evaluate_all(
            "items => items.slice(0, 4).map(item => [...item.querySelectorAll('a')].slice(0, 2).map(a => a.href))"
        )
    page, _, anchor = address.partition("#")
    path = urlsplit(deployed.at(page)).path
    shown = [urlsplit(link) for links in found for link in links]
    assert any(link.path == path and link.fragment.startswith(anchor) for link in shown), found


def plain(sentence: str) -> list[str]:
    return [word for word in (word.strip(".,;:()`'\"") for word in sentence.split()) if word.isalpha()]


def telling(sentence: str, uses: Counter[str]) -> str:
    """The five words of a sentence that the fewest others use, in their order: what a reader would type."""
    words = list(dict.fromkeys(plain(sentence)))
    kept = sorted(words, key=lambda word: (uses[word], -len(word)))[:5]
    return " ".join(word for word in words if word in kept)


def shown(deployed) -> list[str]:
    """Some of the figures, from all over the site."""
    found = []
    for page in deployed.pages():
        found += [figure["data-figure"] for figure in deployed.html(page).select("figure[data-figure]")[:1]]
    return found[::5]


def results(page):
    """All pages found, the best first, unfolded; Material adds more as a reader scrolls."""
    items, known = page.locator(".md-search-result__item"), 0
    items.first.wait_for()
    while known < items.count():
        known = items.count()
        for place in (0, 1):  # Material adds more when the end comes into sight, and not while it stays there
            page.locator(".md-search__scrollwrap").evaluate(f"box => box.scrollTo(0, {place} * box.scrollHeight)")
            page.wait_for_timeout(200)
    page.evaluate("document.querySelectorAll('.md-search-result__more').forEach(more => more.open = true)")
    return items


def test_a_figure_is_found_by_its_finding_and_a_claim_by_its_words(deployed, visit):
    known = json.loads((deployed.folder / "latest/numbers.json").read_text("utf-8"))["figures"]
    sentences = [text for one in known.values() for text in [one["title"], *(c["sentence"] for c in one["claims"])]]
    uses = Counter(word for sentence in sentences for word in set(plain(sentence)))
    for figure in shown(deployed):
        claim = known[figure]["claims"][0]
        anchor = f"claim-{figure}-{claim['name'].removeprefix('claim_')}"
        for sentence, target in [(known[figure]["title"], f"fig-{figure}"), (claim["sentence"], anchor)]:
            with visit() as visitor:
                visitor.open(deployed.at(""))
                by_shortcut(visitor.page)
                visitor.page.keyboard.type(telling(sentence, uses))
                found = results(visitor.page)
                if target.startswith("fig"):
                    found = found.first  # a claim's words are those of many other sentences
                found = found.locator(f"a[href*='{target}']").first
                assert found.count(), f"{telling(sentence, uses)!r} does not find {target}"
                visitor.instantly(found.click)
                box = visitor.page.locator(f"[id={target}]")
                box.wait_for()  # in sight, though claims are folded away
                assert urlsplit(visitor.page.url).fragment == target
