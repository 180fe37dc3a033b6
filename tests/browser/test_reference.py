"""The API reference lists what the modules offer, each with what its docstring says."""

from __future__ import annotations

import inspect

import pytest

from vgdocs import experiments, gradients, probe, theory

pytestmark = pytest.mark.browser


def own(module) -> set[str]:
    """The public functions and classes that are defined in a module itself."""
    found = inspect.getmembers(module, lambda o: inspect.isfunction(o) or inspect.isclass(o))
    return {name for name, o in found if o.__module__ == module.__name__ and not name.startswith("_")}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("gradients", own(gradients)),
        ("probe", set(probe.__all__)),
        ("theory", own(theory)),
        ("experiments", own(experiments)),
        ("figures", {"Figure", "Claim", "read", "find", "Record", "Measured", "Verdict"}),
    ],
)
def test_every_public_name_has_an_entry_with_a_text(deployed, page, names):
    html = deployed.html(f"reference/{page}/")
    entries = {}
    for heading in html.select(".doc-object > .doc-heading"):
        text = heading.parent.select_one(".doc-contents > p")
        entries[heading.select_one(".doc-object-name").get_text(strip=True).rpartition(".")[2]] = text
    assert names <= entries.keys()
    assert [name for name in names if entries[name] is None] == []


def test_it_asks_no_other_host_and_is_no_wider_than_a_phone(deployed, visit):
    with visit("dark", 390) as visitor:
        for page in deployed.pages():
            if page.startswith("reference/"):
                visitor.open(deployed.at(page))
                assert not visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth"), page
