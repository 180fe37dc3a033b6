"""No number moves unseen: what this environment measures is what was last accepted in tests/numbers.json."""

from pathlib import Path

import pytest

from vgdocs.engine import drift
from vgdocs.engine.library import Library

REAL_FIGURES = True  # see conftest

ROOT = Path(__file__).parent.parent
HOW = "If they should have, say why in CHANGELOG.md, then run: vgdocs numbers --accept"


@pytest.fixture(scope="module")
def measured():
    library = Library(ROOT)
    library.refresh()
    assert [str(entry.error) for entry in library.entries.values() if entry.error] == []
    return library.summary()


def test_every_number_is_as_it_was_last_accepted(measured):
    changes = drift.compare(drift.load(str(ROOT / drift.ACCEPTED), ROOT), measured)
    if changes:
        pytest.fail(f"numbers moved beyond their tolerance:\n{drift.text_table(changes)}\n{HOW}", pytrace=False)


def test_each_number_is_held_to_what_was_accepted(measured):
    """The comparison isn't empty: a number that moves by a little more than it may is noticed, whichever it is."""
    accepted = drift.load(str(ROOT / drift.ACCEPTED), ROOT)
    for name, figure in accepted["figures"].items():
        for number, value in figure["numbers"].items():
            allowed = drift.tolerance(number, measured["figures"][name]["tolerance"])
            moved = {"figures": {name: {**measured["figures"][name], "numbers": {number: value * (1 + 1.1 * allowed)}}}}
            old = {"figures": {name: {"numbers": {number: value}}}}
            assert bool(drift.compare(old, moved)) == bool(value), f"{name}.{number}"
