"""Records: what may be measured and drawn, and which edits make a measurement stale."""

import json
import os

import pytest

from vgdocs import record as records
from vgdocs.figure import FigureError, read
from vgdocs.record import Keys, Measured, Record, Verdict, check_measured, check_plot, flatten, lookup, make_keys

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
        "keys": Keys("a" * 64, "b" * 64, "c" * 64),
        "measured": MEASURED,
        "plot": {"data": [{"type": "scatter", "x": [1], "y": [0.5]}], "layout": {}},
        "verdicts": (Verdict("claim_a", False, "line 3: assert 1 == 2", ("depth",)),),
        "versions": {"python": "3.11"},
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
            ('"format":1', '"format":99'),
            ('"format":1', '"format":1.0'),
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
def keys(project, monkeypatch, tmp_path):
    """The keys of a figure that imports one module of a package of its own, and through it another."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "outer.py").write_text("from vgdocs import inner\n\nHALF = inner.HALF\n")
    (package / "inner.py").write_text("HALF = 0.5\n")
    (package / "other.py").write_text("HALF = 0.5\n")
    monkeypatch.setattr(records, "PACKAGE", package)
    (project.figures / "table.csv").write_text("1,2\n")
    imports = '"A string."\nimport plotly.graph_objects as go\nfrom vgdocs.outer import HALF\n'
    head = imports + '\nSEED = 0\nSTEPS = 10\nDATA = "table.csv"\n'
    project.script(head=head)

    class KeysOf:
        path = project.figures / "halving.py"
        folder = package

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
        assert (after.measure, after.environment) == (before.measure, before.environment)
        assert after.script != before.script  # but it is drawn and judged anew

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("0.5**n", "0.25**n"),
            ("STEPS = 10", "STEPS = 11"),
            ("SEED = 0", "SEED = 1"),
            ("from vgdocs.outer import HALF", "from vgdocs.other import HALF"),
            ("def draw", "def helper():\n    return 1\n\n\ndef draw"),
        ],
    )
    def test_what_is_measured_makes_it_stale(self, keys, old, new):
        before = keys.now()
        keys.edit(old, new)
        assert keys.now().measure != before.measure

    @pytest.mark.parametrize(("file", "stale"), [("outer", True), ("inner", True), ("other", False)])
    def test_the_modules_it_imports_make_it_stale_however_far(self, keys, file, stale):
        before = keys.now()
        path = keys.folder / f"{file}.py"
        path.write_text(f"{path.read_text()}\nHALF = 0.25\n")
        assert (keys.now().measure != before.measure) is stale

    @pytest.mark.parametrize(
        ("statement", "stale"),
        [
            ("from vgdocs.wide import HALF", {"norms"}),
            ("from vgdocs.wide.norms import HALF", {"norms"}),
            ("from vgdocs import wide", {"__init__", "norms", "probe"}),
            ("import vgdocs.wide", {"__init__", "norms", "probe"}),
        ],
    )
    def test_what_it_uses_of_a_package_makes_it_stale(self, keys, statement, stale):
        """A name that the package passes on is followed to where it comes from; the rest of it doesn't matter."""
        package = keys.folder / "wide"
        package.mkdir()
        files = {
            "__init__": "from vgdocs.wide.norms import HALF\nfrom vgdocs.wide.probe import Probe\n",
            "norms": "HALF = 0.5\n",
            "probe": "class Probe:\n    pass\n",
        }
        for name, text in files.items():
            (package / f"{name}.py").write_text(text)
        keys.edit("from vgdocs.outer import HALF", statement)
        before = keys.now()
        found = set()
        for name, text in files.items():
            (package / f"{name}.py").write_text(f"{text}\nMORE = 1\n")
            if keys.now().measure != before.measure:
                found.add(name)
            (package / f"{name}.py").write_text(text)
        assert found == stale

    def test_a_package_that_takes_a_name_from_elsewhere_makes_it_stale(self, keys):
        package = keys.folder / "wide"
        package.mkdir()
        for name in ("norms", "other"):
            (package / f"{name}.py").write_text("HALF = 0.5\n")
        (package / "__init__.py").write_text("from vgdocs.wide.norms import HALF\n")
        keys.edit("from vgdocs.outer import HALF", "from vgdocs.wide import HALF")
        before = keys.now()
        (package / "__init__.py").write_text("from vgdocs.wide.other import HALF\n")
        assert keys.now().measure != before.measure

    def test_a_data_file_named_in_the_script_makes_it_stale(self, keys):
        before = keys.now()
        (keys.path.parent / "table.csv").write_text("1,3\n")
        assert keys.now().measure != before.measure

    def test_a_data_file_named_in_a_module_makes_it_stale(self, keys):
        (keys.folder / "inner.py").write_text('HALF = 0.5\nDATA = "rates.csv"\n')
        (keys.folder / "rates.csv").write_text("1\n")
        before = keys.now()
        (keys.folder / "rates.csv").write_text("2\n")
        assert keys.now().measure != before.measure

    def test_seed_and_device_make_it_stale(self, keys):
        assert len({keys.now().measure, keys.now(seed=1).measure, keys.now(device="cuda").measure}) == 3

    def test_times_do_not_matter(self, keys):
        before = keys.now()
        for path in [keys.path, *keys.folder.iterdir(), keys.path.parent / "table.csv"]:
            os.utime(path, (1, 1))
        assert keys.now() == before

    def test_the_environment_is_that_of_the_libraries_imported(self, keys, monkeypatch):
        monkeypatch.setattr(records, "_installed", records._installed.__wrapped__)  # which remembers
        before = keys.now()
        monkeypatch.setattr(records.importlib.metadata, "version", lambda name: "9.9")
        after = keys.now()
        assert after.measure == before.measure
        assert after.environment != before.environment

    def test_versions_name_python_and_the_libraries(self, keys):
        (keys.folder / "inner.py").write_text("import sklearn\n\nHALF = 0.5\n")
        assert set(records.versions(read(keys.path))) == {"python", "plotly", "torch", "scikit-learn"}

    def test_a_module_that_is_not_python_is_told(self, keys):
        (keys.folder / "inner.py").write_text("def half(:\n")
        with pytest.raises(FigureError, match=r"outer\.py:1: imports vgdocs\.inner, which isn't Python"):
            keys.now()
