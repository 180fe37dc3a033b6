"""A copy of the site that is opened from the file system: figures, links, numbers and the search work there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
FIGURE = ".vg-plot[data-plot]"
LOCAL = ("file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def copy(browser, tmp_path_factory) -> Path:
    """What `make offline` builds, but for the zip."""
    folder = tmp_path_factory.mktemp("offline") / "site"
    settings = {"OFFLINE": "true", "VERSIONS": "false", "SITE_URL": "", "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def reader(browser, copy):
    """Opens a page of the copy; fails at the end if anything went wrong or came from elsewhere."""

    @contextmanager
    def read(page: str) -> Iterator:
        troubles: list[str] = []
        context = browser.new_context(offline=True, reduced_motion="reduce")
        tab = context.new_page()
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        tab.on("requestfailed", lambda request: troubles.append(f"{request.url} failed"))
        tab.on("request", lambda request: None if request.url.startswith(LOCAL) else troubles.append(request.url))
        tab.goto((copy / page).as_uri())
        yield tab
        context.close()
        assert not troubles, "\n".join(troubles)

    return read


def test_a_page_with_its_figures(reader):
    with reader("problem/chain.html") as page:
        for plot in page.locator(FIGURE).all():
            assert plot.locator("svg").first.is_visible()
            plot.hover()
            plot.locator("svg.main-svg").first.wait_for()


def test_a_figure_as_a_picture(reader, download):
    with reader("problem/chain.html") as page:
        figure = page.locator("#fig-sigmoid_decay")
        assert download(figure, "png").startswith(b"\x89PNG")
        # of a copy, that has no address, only what is the same in each
        assert ">problem/chain.html#fig-sigmoid_decay <" in download(figure, "svg").decode()


def test_networks_train(reader):
    """Browsers start no worker from a file: the page does the work itself."""
    with reader("train.html") as page:
        page.locator(".vg-train-play").click()
        page.wait_for_function("document.querySelector('#train').state()?.step > 1")
        page.locator("[name=depth]").press("ArrowLeft")
        page.wait_for_url("**?*depth=19*")
        page.wait_for_function("document.querySelector('#train').state()?.gradients.length === 20")


def test_every_link_leads_to_a_file(copy):
    from bs4 import BeautifulSoup

    lost = []
    for path in copy.rglob("*.html"):
        if path.name == "404.html":
            continue  # whose addresses depend on the host
        for link in BeautifulSoup(path.read_text("utf-8"), "html.parser").select("a[href], link[href], script[src]"):
            target = str(link.get("href") or link.get("src")).partition("#")[0].partition("?")[0]
            if target and ":" not in target and not (path.parent / target).is_file():
                lost.append(f"{path.relative_to(copy)}: {target}")
    assert not lost, "\n".join(lost)


def test_from_page_to_page(reader):
    with reader("index.html") as page:
        page.locator(".md-footer__link--next").click()
        page.wait_for_url("**/problem/index.html")
        page.locator(".md-footer__link--next").click()
        page.wait_for_url("**/problem/chain.html")


def test_the_search(reader):
    with reader("solutions/gates.html") as page:
        page.locator(".md-search__input").click()
        page.keyboard.type("residual identity")
        page.locator(".md-search-result__item a").first.click()
        page.wait_for_url("**.html?h=*")


def test_a_number_leads_to_where_it_stands(reader):
    with reader("faq.html") as page:
        number = page.locator("p > data.vg-number[role=button]").first
        figure = number.get_attribute("data-figure")
        number.press("Enter")
        page.locator(".vg-popover a").click()
        page.wait_for_url(f"**/about/numbers.html#{figure}")
