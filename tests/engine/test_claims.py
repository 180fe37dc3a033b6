"""How claims are judged: each is asked, whatever Python strips, and one that can't fail is an error."""

import subprocess
import sys

import pytest

from vgdocs.engine import claims, worker
from vgdocs.engine.figure import FigureError

SCRIPT = '''\
HALF = 0.5


def claim_a(m):
    """So."""
    assert m["last"] < HALF, f"{m['last']} is too much"


def claim_b(m):
    """So."""
    assert abs(m["deep"]["rate"]["median"] - HALF) < 0.1
'''
SERIES = {"value": 3, "series": [], "full": [1, 2]}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a script that was edited since it was read: what was read counts."""

    def load(text: str):
        path = tmp_path / "halving_at_work.py"
        path.write_text("raise SystemExit")
        monkeypatch.delitem(sys.modules, "halving_at_work", raising=False)
        return worker.load(str(path), text)

    yield load
    sys.modules.pop("halving_at_work", None)


def judge(load, body: str, head: str = ""):
    return claims.judge(load(f'{head}def claim_a(m):\n    """So."""\n    {body}\n'), SERIES)


def test_each_claim_is_judged_and_what_it_read_noted(load):
    a, b = claims.judge(load(SCRIPT), {"last": 0.25, "deep": {"rate": {"median": 0.55}}})
    assert (a.name, a.passed, a.message, a.read) == ("claim_a", True, "", ("last",))
    assert (b.name, b.passed, b.message, b.read) == ("claim_b", True, "", ("deep.rate.median",))


def test_a_failed_claim_quotes_the_line_that_ran_not_the_file_as_it_is_now(load):
    a, b = claims.judge(load(SCRIPT), {"last": 0.75, "deep": {"rate": {"median": float("nan")}}})
    said = """assert m["last"] < HALF, f"{m['last']} is too much\""""
    assert a.message == f"line 6: {said}\n0.75 is too much"
    assert b.message == 'line 11: assert abs(m["deep"]["rate"]["median"] - HALF) < 0.1'


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_a_claim_is_asked_where_python_drops_asserts(flag):
    code = """
from vgdocs.engine import claims, worker
module = worker.load("halving.py", "def claim_a(m):\\n    'So.'\\n    assert m['value'] == 4\\n")
print([verdict.passed for verdict in claims.judge(module, {"value": 3})])
"""
    result = subprocess.run([sys.executable, flag, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[False]\n"


def test_no_claim_changes_what_the_next_one_sees(load):
    first = 'def claim_a(m):\n    """So."""\n    m["full"].clear()\n    assert m["value"] == 3\n'
    second = 'def claim_b(m):\n    """So."""\n    assert m["full"] == [1, 2]\n'
    assert [verdict.passed for verdict in claims.judge(load(f"{first}\n\n{second}"), SERIES)] == [True, True]


@pytest.mark.parametrize(
    ("body", "message", "line"),
    [
        ('for v in m["series"]:\n        assert v < 3', "claim_a asserts nothing on this measurement", 1),
        (
            'assert m["value"] == 3\n    for v in m["series"]:\n        assert v < 3',
            "claim_a's assert isn't reached",
            5,
        ),
        ('if m["value"] == 3:\n        return\n    assert m["value"] == 4', "claim_a asserts nothing on this", 1),
        ('assert m["value"] == 3\n    return m["value"] == 4', "claim_a returns a value", 1),
        ("assert all", "asserts a function, which always counts as true", 3),
        ("assert (v for v in m)", "asserts a generator, which always counts as true", 3),
        ('t = (m["value"] == 4, "four")\n    assert t', "asserts a tuple, which always counts as true", 4),
        ("assert 3 == 3", "claim_a reads nothing that was measured", 1),
    ],
)
def test_a_claim_that_cannot_fail_is_an_error_with_its_line(load, body, message, line):
    with pytest.raises(FigureError) as error:
        judge(load, body)
    assert error.value.message.startswith(message)
    assert error.value.line == line


@pytest.mark.parametrize(
    ("body", "head"),
    [
        ('try:\n        assert m["value"] == 4\n    except AssertionError:\n        pass', ""),
        (
            'with contextlib.suppress(AssertionError):\n        assert m["value"] == 4',
            "import contextlib\n\n\n",
        ),
    ],
)
def test_an_assertion_that_the_claim_catches_fails_all_the_same(load, body, head):
    (verdict,) = judge(load, body, head)
    assert not verdict.passed
    assert verdict.message.endswith("failed, and the claim caught it")


@pytest.mark.parametrize(
    "body",
    [
        'for v in m["full"]:\n        assert v < 3',
        'if m["value"] > 3:\n        assert m["full"] == []\n    else:\n        assert m["full"] == [1, 2]',
        'assert all(v < 3 for v in m["full"])',
        'check(m["value"])\n    assert m["value"] == 3',
    ],
)
def test_a_claim_that_is_asked_holds(load, body):
    (verdict,) = judge(load, body, "def check(value):\n    assert value == 3\n\n\n")
    assert (verdict.passed, verdict.message) == (True, "")


def test_a_claim_that_is_no_function_of_its_own(load):
    text = "import functools\n\n\ndef shared(m, most):\n    assert m['value'] < most\n\n\n"
    with pytest.raises(FigureError, match="claim_a isn't defined as a function"):
        claims.judge(load(f"{text}globals()['claim_a'] = functools.partial(shared, most=4)\n"), SERIES)
