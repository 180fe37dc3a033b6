"""Without JavaScript every page is complete: figures, numbers, mathematics, tables, and ways to other pages."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

# What a reader would miss. Playwright's own queries work where the page's scripts are off.
MISSING = """() => {
    const seen = element => {
        const { width, height } = element.getBoundingClientRect();
        return width > 0 && height > 0 && getComputedStyle(element).visibility === "visible";
    };
    for (const box of document.querySelectorAll("details")) box.open = true;  // a click does the same
    const found = [], all = selector => [...document.querySelectorAll(`.md-content ${selector}`)];
    for (const plot of all(".vg-plot")) {
        if (![...plot.querySelectorAll("svg")].some(seen)) found.push(`figure ${plot.ariaLabel}`);
    }
    for (const number of all("data.vg-number")) {
        if (!seen(number) || !number.textContent.trim()) found.push(`number ${number.title}`);
    }
    for (const formula of all(".arithmatex")) {
        if (!formula.querySelector(".katex-html") && !formula.querySelector(".vg-error")) {
            found.push(`formula ${formula.textContent.slice(0, 60)}`);
        }
    }
    for (const table of all("table")) {
        if (!seen(table) || !table.rows.length) found.push(`table ${table.textContent.slice(0, 60)}`);
    }
    if (!all("h1").some(seen)) found.push("its title");
    return found;
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_is_complete(deployed, visit, width):
    found, formulas, figures = [], 0, 0
    with visit("light", width, javascript=False) as visitor:
        for page in deployed.pages():
            visitor.open(deployed.at(page))
            found += [f"{page or 'home'} lacks the {what}" for what in visitor.page.evaluate(MISSING)]
            formulas += visitor.page.locator(".katex-html").count()
            figures += visitor.page.locator(".vg-plot svg").count()
    assert not found, "\n".join(found)
    assert formulas
    assert figures


def test_links_work(deployed, visit):
    with visit(javascript=False) as visitor:
        visitor.open(deployed.at(""))
        visitor.page.locator(".md-footer__link--next").click()
        visitor.page.wait_for_url(deployed.at("problem/"))
