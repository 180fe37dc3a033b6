"""Records: what may be measured and drawn, and which edits make a measurement stale."""

import json
import os

import pytest

from vgdocs.engine import record as records
from vgdocs.engine.figure import read
from vgdocs.engine.record import Keys, Measured, Record, Verdict, check_measured, check_plot, flatten, lookup, make_keys

MEASURED = {
    "depth": 30,
    "left": [1.0, 0.5, "nan"],
    "deep": {"rate": {"median": 0.9, "lo": 0.8, "hi": 1.1}, "profile": {"median": [1.0, 2.0], "lo": [0.5, 1.0]}},
    "works": True,
    "name": "he",
    "nothing": None,
}


def make_record(**changes) -> Record:
    content = {
        "name": "halving",
        "seed": 0,
        "device": "cpu",
        "keys": Keys("a" * 64, "c" * 64),
        "measured": MEASURED,
        "plot": {"data": [{"type": "scatter", "x": [1], "y": [0.5]}], "layout": {}},
        "verdicts": (Verdict("claim_a", False, "line 3: assert 1 == 2", ("depth",)),),
        "inputs": {"figures/table.csv": "d" * 32},
        "versions": {"python": "3.11"},
        "made": "2026-01-02T03:04:05+00:00",
        "seconds": 0.25,
    }
    return Record(**content | changes)


class TestNames:
    def test_numbers_are_the_finite_scalars_by_dotted_name(self):
        assert dict(flatten(MEASURED)) == {"depth": 30, "deep.rate": 0.9, "deep.rate.lo": 0.8, "deep.rate.hi": 1.1}

    @pytest.mark.parametrize("name", ["depth", "deep.rate", "deep.rate.lo", "deep.rate.hi"])
    def test_each_number_is_found_by_its_name(self, name):
        assert lookup(MEASURED, name) == dict(flatten(MEASURED))[name]

    @pytest.mark.parametrize("name", ["width", "deep.width", "depth.median"])
    def test_a_name_that_is_none(self, name):
        with pytest.raises((KeyError, TypeError)):
            lookup(MEASURED, name)


class TestMeasured:
    def test_it_remembers_what_was_read(self):
        m = Measured(MEASURED)
        assert m["deep"]["rate"]["lo"] == 0.8
        assert [*m["deep"]["profile"].values()] == [[1.0, 2.0], [0.5, 1.0]]
        assert m["depth"] + m["depth"] == 60
        assert m.read == ["deep.rate.lo", "deep.profile.median", "deep.profile.lo", "depth"]

    def test_it_reads_like_a_dict(self):
        m = Measured(MEASURED)
        assert (list(m), len(m), "depth" in m, m.get("width")) == (list(MEASURED), 6, True, None)
        with pytest.raises(KeyError):
            m["width"]

    def test_it_is_read_only(self):
        with pytest.raises(TypeError):
            Measured(MEASURED)["depth"] = 31


class TestWhatMayBeMeasured:
    def test_plain_json(self):
        check_measured(MEASURED)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"a": float("nan")}, "a is nan: a number that pages cite is finite"),
            ({"a": {"b": float("-inf")}}, "a.b is -inf: a number that pages cite is finite"),
            ({"a": [0.5, float("inf")]}, 'a[1] is inf: write it as the string "inf"'),
            ({"a": (1, 2)}, "a is a builtins.tuple, not plain JSON"),
            ({"a": {1: 2}}, "a has the key 1: names are identifiers, so that pages can cite them"),
            ({"a b": 2}, "measure() has the key 'a b': names are identifiers, so that pages can cite them"),
            ({"a": 1j}, "a is a builtins.complex, not plain JSON"),
        ],
    )
    def test_anything_else_is_told_by_name(self, value, message):
        with pytest.raises(ValueError, match=r"^(a|measure\(\))") as error:
            check_measured(value)
        assert str(error.value) == message

    def test_tensors_and_numpy_scalars(self):
        numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
        for value, message in [
            (torch.tensor(0.5), "a is a torch.Tensor, not plain JSON; call .item() or .tolist()"),
            (numpy.float64(0.5), "a is a numpy.float64, not plain JSON"),
            (numpy.int64(5), "a is a numpy.int64, not plain JSON"),
            (numpy.bool_(True), "a is a numpy.bool, not plain JSON"),
        ]:
            with pytest.raises(ValueError, match="not plain JSON") as error:
                check_measured({"a": value})
            assert str(error.value) == message


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ([], "draw() returned a plot without traces"),
        ([{"type": "heatmap"}], "draw() uses the trace type heatmap; the site's bundle draws bar, pie, scatter"),
        (
            [{"y": [1.0]}, {"type": "violin"}],
            "draw() uses the trace type violin; the site's bundle draws bar, pie, scatter",
        ),
        ([{"y": [1.0] * 2001}], "draw() puts 2001 points into one trace; 2000 is the limit"),
    ],
)
def test_a_plot_that_the_bundle_cannot_draw(traces, message):
    with pytest.raises(ValueError, match=r"draw\(\)") as error:
        check_plot({"data": traces, "layout": {}})
    assert str(error.value) == message


class TestJson:
    def test_there_and_back(self):
        record = make_record()
        again = Record.from_json(record.to_json())
        assert again == record
        assert again.numbers == record.numbers

    def test_a_record_is_strict_json(self):
        assert json.loads(make_record().to_json(), parse_constant=pytest.fail)["measured"] == MEASURED
        with pytest.raises(ValueError, match="JSON"):
            make_record(measured={"a": float("nan")}).to_json()

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: "",
            lambda text: text[: len(text) // 2],
            lambda text: "[1, 2]",
            lambda text: "{}",
            lambda text: "null",
            lambda text: text.replace('"seed":0', '"seed":1'),
            lambda text: "[" * 100_000,
        ],
    )
    def test_a_damaged_one_is_told(self, damage):
        with pytest.raises(ValueError):  # noqa: PT011  # of whatever kind
            Record.from_json(damage(make_record().to_json()))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"format":2', '"format":99'),
            ('"format":2', '"format":2.0'),
            ('"made":"2026-01-02T03:04:05+00:00"', '"made":"yesterday"'),
            ('"made":"2026-01-02T03:04:05+00:00"', '"made":"2026-01-02T03:04:05"'),
            ('"inputs":{', '"inputs":{"a":1,'),
            ('"seed":0', '"seed":0,"extra":1'),
            ('"seed":0', '"seed":0.0'),
            ('"seed":0', '"seed":true'),
            ('"seconds":0.25', '"seconds":"0.25"'),
            ('"depth":30', '"depth":NaN'),
            ('"scatter"', '"heatmap"'),
            ('"measured":{', '"measured":[],"m":{'),
            ('"measure":', '"measures":'),
            ('"data":[', '"dat":['),
            ('"layout":{}', '"layout":[]'),
        ],
    )
    def test_a_right_digest_makes_no_record(self, old, new):
        sound = make_record().to_json().rpartition(records.SEAL)[0] + "}"
        assert Record.from_json(records.seal(sound)) == make_record()
        assert sound.count(old) == 1
        with pytest.raises(ValueError):  # noqa: PT011  # of whatever kind
            Record.from_json(records.seal(sound.replace(old, new)))


@pytest.fixture
def keys(project):
    """The keys of a figure."""
    project.script(head='"A string."\nimport plotly.graph_objects as go\n\nSEED = 0\nSTEPS = 10\n')

    class KeysOf:
        path = project.figures / "halving.py"

        def now(self, **options) -> Keys:
            figure = read(self.path)
            return make_keys(figure, options.pop("seed", figure.seed), **options)

        def edit(self, old: str, new: str) -> None:
            project.edit(self.path, old, new)

    return KeysOf()


class TestKeys:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('assert m["first"] == 0.5', 'assert m["first"] == 0.25'),
            ("After the first step", "After one step"),
            ("yaxis_title", "xaxis2_title"),
            ("Halving ten times", "Halving again and again"),
            ("STEPS = 10", "STEPS = 10  # halvings"),
            ("STEPS = 10", "# how many\n\n\nSTEPS = 10"),
            ("SEED = 0", "SEED = 0\nWIDER = {}"),
            ("SEED = 0", "SEED = 0\nTOLERANCE: dict = {}"),
            (
                '{"left": left, "first": left[1], "last": left[-1]}',
                "{'left': left,\n 'first':left[1], 'last': left[-1]}",
            ),
        ],
    )
    def test_new_words_bounds_looks_and_formatting_leave_the_measurement(self, keys, old, new):
        before = keys.now()
        keys.edit(old, new)
        after = keys.now()
        assert after.measure == before.measure
        assert after.script != before.script  # but it is drawn and judged anew

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("0.5**n", "0.25**n"),
            ("STEPS = 10", "STEPS = 11"),
            ("SEED = 0", "SEED = 1"),
            ("def draw", "def helper():\n    return 1\n\n\ndef draw"),
        ],
    )
    def test_what_is_measured_makes_it_stale(self, keys, old, new):
        before = keys.now()
        keys.edit(old, new)
        assert keys.now().measure != before.measure

    def test_seed_and_device_make_it_stale(self, keys):
        assert len({keys.now().measure, keys.now(seed=1).measure, keys.now(device="cuda").measure}) == 3

    def test_times_do_not_matter(self, keys):
        before = keys.now()
        os.utime(keys.path, (1, 1))
        assert keys.now() == before


class TestVersions:
    def test_they_name_python_and_the_libraries_that_are_imported(self):
        found = records.versions(["import sklearn.datasets", "from numpy import load\nimport os\nfrom . import x"])
        assert set(found) == {"python", "plotly", "scikit-learn", "numpy"}

    def test_a_record_of_other_versions_is_told(self):
        assert make_record(versions=records.versions([])).is_of_these_versions
        assert not make_record(versions=records.versions([]) | {"plotly": "0.1"}).is_of_these_versions
        assert not make_record(versions={"no-such-library": "1.0"}).is_of_these_versions

    def test_a_record_s_file_is_named_by_what_it_rests_on(self):
        places = {make_record(**change).place for change in ({}, {"inputs": {}}, {"versions": {}}, {"seconds": 9.0})}
        assert len(places) == 3
