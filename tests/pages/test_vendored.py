"""Third-party files stand here as they were published: unchanged, with their licence and origin beside them."""

import hashlib
from pathlib import Path

import pytest

from vgdocs.pages import site_assets

ROOT = Path(__file__).parents[2]
ORIGINS = {  # a vendored file, and the note that records its package, version, integrity and digest
    "src/vgdocs/pages/assets/vendor/plotly-basic.min.js": "src/vgdocs/pages/assets/vendor/README.txt",
    "src/vgdocs/pages/assets/katex/katex.min.js": "src/vgdocs/pages/assets/katex/README.txt",
    "tests/browser/vendor/axe.min.js": "tests/browser/vendor/README.txt",
}
GRANTS = ("Permission is hereby granted", "Mozilla Public License, version 2.0")  # of MIT and MPL


@pytest.mark.parametrize(("file", "note"), ORIGINS.items())
def test_a_vendored_file_is_the_one_its_note_describes(file, note):
    assert hashlib.sha256((ROOT / file).read_bytes()).hexdigest() in (ROOT / note).read_text("utf-8")
    assert "sha512-" in (ROOT / note).read_text("utf-8")


@pytest.mark.parametrize("file", ORIGINS)
def test_its_licence_stands_beside_it(file):
    licences = [path.read_text("utf-8") for path in (ROOT / file).parent.glob("*LICENSE*")]
    assert any(grant in text for text in licences for grant in GRANTS)


def test_a_site_has_the_licences_of_what_it_serves_and_none_of_our_notes():
    served = {Path(address).name for address in site_assets.served()}
    assert {"LICENSE.txt", "plotly-basic.LICENSE.txt"} <= served
    assert not {"README.txt", "katex.min.js"} & served


def test_no_other_minified_file_has_crept_in():
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("docs", "src", "tests")
        for path in (ROOT / folder).rglob("*.min.js")
    }
    assert found == set(ORIGINS)
