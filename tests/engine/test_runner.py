"""Figures run in processes of their own: what becomes of good ones and of every kind of bad one."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from vgdocs.engine import store as stores
from vgdocs.engine.figure import FigureError, SettingError, read
from vgdocs.engine.process import start_method
from vgdocs.engine.record import Record, make_keys
from vgdocs.engine.runner import Task, run
from vgdocs.engine.store import Store


def measuring(body: str, head: str = "") -> dict[str, str]:
    return {"measure": f"{head}def measure(seed: int = SEED) -> dict:\n    {body}\n"}


def drawing(body: str) -> dict[str, str]:
    return {"draw": f"def draw(m: dict) -> go.Figure:\n    {body}\n"}


LAST = '{"left": [0.5], "first": 0.5, "last": 0.5**10}'
NO_LINE = "figures/{name}.py: "
LINE = "figures/{name}.py:{line}: "

# name: (what is put into the usual script, the first line of what its author is told)
BAD = {
    "raises": (measuring('raise ValueError("no such layer")'), LINE + "raises ValueError: no such layer"),
    "raises_within": (
        measuring("return helper()", "def helper():\n    return 1 / 0\n\n\n"),
        "figures/{name}.py:13: raises ZeroDivisionError: division by zero",
    ),
    "raises_at_once": (
        {"head": "import no_such_module\n"},
        "figures/{name}.py:6: raises ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "raises_when_drawn": (drawing('return m["width"]'), "figures/{name}.py:18: raises KeyError: 'width'"),
    "exits": (measuring("raise SystemExit(0)"), LINE + "calls exit()"),
    "dies": (measuring("import os; os._exit(3)"), NO_LINE + "died without a word: exit code 3"),
    "dies_with_zero": (measuring("import os; os._exit(0)"), NO_LINE + "died without a word: exit code 0"),
    "is_killed": (
        measuring("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        NO_LINE + "died without a word: killed by SIGKILL, as systems do when memory runs short",
    ),
    "prints": (
        measuring(f'print("so far,", 0.5); return {LAST}'),
        NO_LINE + "prints; a figure returns what it measures. It printed:",
    ),
    "returns_no_dict": (measuring("return [0.5]"), NO_LINE + "measure() returned a list, not a dict"),
    "returns_nothing": (measuring("pass"), NO_LINE + "measure() returned a NoneType, not a dict"),
    "returns_a_tensor": (
        measuring('import torch; return {"last": torch.tensor(0.5)}'),
        NO_LINE + "last is a torch.Tensor, not plain JSON; call .item() or .tolist()",
    ),
    "returns_a_numpy_scalar": (
        measuring('import numpy; return {"last": numpy.float64(0.5)}'),
        NO_LINE + "last is a numpy.float64, not plain JSON",
    ),
    "returns_nan": (
        measuring('return {"first": 0.5, "last": float("nan")}'),
        NO_LINE + "last is nan: a number that pages cite is finite",
    ),
    "returns_inf_in_a_series": (
        measuring('return {"left": [0.5, float("inf")]}'),
        NO_LINE + 'left[1] is inf: write it as the string "inf"',
    ),
    "returns_a_set": (measuring('return {"last": {0.5}}'), NO_LINE + "last is a builtins.set, not plain JSON"),
    "returns_half_a_character": (
        measuring(r'return {"last": 0.5, "unit": "\ud800"}'),
        NO_LINE + r"unit holds half a character, '\ud800', which can't be written to a file",
    ),
    "raises_half_a_character": (measuring(r'raise ValueError("\ud800")'), LINE + "raises ValueError: ?"),
    "draws_half_a_character": (
        drawing(r'return go.Figure(go.Scatter(y=[0.5], name="\ud800"))'),
        NO_LINE + r"draw() writes half a character, '\ud800', which can't be put into a page",
    ),
    "returns_itself": (
        measuring('m = {}; m["m"] = m; return m'),
        NO_LINE + "raises RecursionError: maximum recursion depth exceeded while calling a Python object",
    ),
    "draws_a_heatmap": (
        drawing("return go.Figure(go.Heatmap(z=[[1]]))"),
        NO_LINE + "draw() uses the trace type heatmap; the site's bundle draws bar, pie, scatter",
    ),
    "draws_nothing": (drawing("return go.Figure()"), NO_LINE + "draw() returned a plot without traces"),
    "draws_no_figure": (drawing("return [1]"), NO_LINE + "draw() returned a list, not a plotly Figure"),
    "draws_too_much": (
        drawing("return go.Figure(go.Scatter(y=[0.5] * 3000))"),
        NO_LINE + "draw() puts 3000 points into one trace; 2000 is the limit",
    ),
    "cites_what_it_does_not_measure": (
        {"claims": 'def claim_a(m):\n    """It is {lst:.2e}."""\n    assert m["last"] > 0\n'},
        "figures/{name}.py:23: claim_a cites {{lst}}, which isn't measured; did you mean last or first?",
    ),
    "finds_what_it_does_not_measure": (
        {"docstring": '"""Halving leaves {width}."""'},
        "figures/{name}.py:1: the finding cites {{width}}, which isn't measured; there is first, last",
    ),
    "writes_a_number_badly": (
        {"docstring": '"""Halving leaves {last:huge}."""'},
        "figures/{name}.py:1: the finding: 'huge' isn't a number format; use .2e, .3f, .3g, d, .1% or none",
    ),
}


@pytest.fixture(scope="module")
def outcomes(make_project, tmp_path_factory):
    """One run over all bad scripts and one good one: every figure is tried, whatever happens to the others."""
    project = make_project(tmp_path_factory.mktemp("bad"))
    project.script("good")
    for name, (parts, _) in BAD.items():
        project.script(name, **parts)
    return project.library().entries


POSIX = pytest.mark.posix("a signal ends it")


@pytest.mark.parametrize("name", [pytest.param(n, marks=POSIX if n == "is_killed" else ()) for n in BAD])
def test_what_the_author_of_a_bad_script_is_told(outcomes, name):
    error = outcomes[name].error
    assert error
    assert str(error).splitlines()[0] == BAD[name][1].format(name=name, line=13)


def test_a_good_figure_is_measured_among_bad_ones(outcomes):
    assert set(outcomes) == {"good", *BAD}
    assert outcomes["good"].error is None
    assert outcomes["good"].numbers == {"first": 0.5, "last": 0.5**10}


def test_an_exception_is_told_with_the_lines_of_the_script_it_passed(outcomes):
    details = outcomes["raises_within"].error.details
    assert "in measure\n    return helper()" in details
    assert "in helper\n    return 1 / 0" in details
    assert details.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "worker.py" not in details


def test_what_was_printed_is_shown(outcomes):
    assert str(outcomes["prints"].error).endswith("It printed:\nso far, 0.5")


@pytest.mark.posix("a signal ends it")
def test_a_figure_that_is_killed_once_is_measured_again(project):
    """Two that need much memory at once may be one too many for the machine; one is not."""
    log = project.root / "log"
    body = f"import os, signal; log = {str(log)!r}; first = not os.path.exists(log); open(log, 'a').write('x')\n"
    body += f"    if first: os.kill(os.getpid(), signal.SIGKILL)\n    return {LAST}"
    project.script(**measuring(body))
    assert project.library().entries["halving"].numbers["last"] == 0.5**10
    assert log.read_text() == "xx"


def test_a_figure_that_hangs_is_stopped(project):
    project.script("hangs", **measuring("import time; time.sleep(600)"))
    (error,) = run([Task(read(project.figures / "hangs.py"))], Store(project.root / "store"), time_limit=5.0)
    assert str(error) == "figures/hangs.py: hangs: stopped after 5 s"


def test_the_time_limit_comes_from_the_environment(project, monkeypatch):
    monkeypatch.setenv("VGDOCS_TIME_LIMIT", "1.5")
    project.script(**measuring("import time; time.sleep(600)"))
    assert str(project.library().entries["halving"].error) == "figures/halving.py: hangs: stopped after 1.5 s"


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        *(("VGDOCS_JOBS", value, "a whole number of figures at a time") for value in ("0", "-1", "abc", "1.5")),
        *(("VGDOCS_TIME_LIMIT", value, "seconds") for value in ("0", "-1", "abc", "nan", "inf")),
    ],
)
def test_a_setting_that_makes_no_sense(project, monkeypatch, name, value, takes):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError) as error:
        project.library()
    assert str(error.value) == f"{name} is {value!r}: it takes {takes}, above zero"


class TestAnySystem:
    def test_without_a_fork_server(self, project, monkeypatch):
        monkeypatch.setenv("VGDOCS_START", "spawn")
        project.script("dies", **measuring("import os; os._exit(3)"))
        entries = project.library().entries
        assert entries["halving"].numbers["last"] == 0.5**10
        assert str(entries["dies"].error) == "figures/dies.py: died without a word: exit code 3"

    def test_a_way_to_start_that_there_is_not(self, project, monkeypatch):
        monkeypatch.setenv("VGDOCS_START", "fork")
        with pytest.raises(SettingError, match=r"VGDOCS_START is 'fork': .* by (forkserver or )?spawn$"):
            project.library()

    def test_without_a_count_of_the_cores_that_may_be_used(self, project, monkeypatch):
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        assert project.library().entries["halving"].numbers["last"] == 0.5**10


@pytest.mark.posix("groups of processes")
class TestNothingStaysBehind:
    """Whatever ends a run or a figure, what the figure started ends with it."""

    SLEEPS = "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])"

    def left(self, project) -> list[str]:
        """The commands of processes that bear the project's mark, until there are none or ten seconds are over."""
        until = time.monotonic() + 10
        while (found := marked(project.root)) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def test_when_the_figure_is_done(self, project, monkeypatch):
        monkeypatch.setenv("VGDOCS_TEST", str(project.root))
        project.script(**measuring(f"{self.SLEEPS}; return {LAST}"))
        subprocess.run([sys.executable, "-m", "vgdocs", "run"], cwd=project.root, check=True)
        assert self.left(project) == []

    @pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    def test_when_the_run_is_ended(self, project, monkeypatch, way):
        monkeypatch.setenv("VGDOCS_TEST", str(project.root))
        mark = project.root / "mark"
        project.script(**measuring(f"{self.SLEEPS}; open({str(mark)!r}, 'w').close(); time.sleep(99)"))
        running = subprocess.Popen(
            [sys.executable, "-m", "vgdocs", "run"],
            cwd=project.root,
            start_new_session=True,
            # a shell has what it starts in the background ignore Ctrl-C, and that is inherited
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while not mark.exists():
            assert running.poll() is None
            time.sleep(0.05)
        assert len(marked(project.root)) >= 3  # the run, the figure and what the figure started
        running.send_signal(way)
        assert running.wait(30) != 0
        assert self.left(project) == []


def marked(folder: Path) -> list[str]:
    """The commands of the processes whose environment bears a folder's mark, but for this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("VGDOCS_TEST") == str(folder):
                found.append(" ".join(process.cmdline()))
    return found


def test_a_record_holds_what_was_measured_drawn_and_judged(project):
    record = project.library().entries["halving"].record
    assert record.measured == {"left": [0.5**n for n in range(11)], "first": 0.5, "last": 0.5**10}
    (trace,) = record.plot["data"]
    assert (trace["type"], trace["x"]) == ("scatter", list(range(11)))
    assert trace["y"] == [float(f"{0.5**n:.6g}") for n in range(11)]  # six digits are more than a screen shows
    assert "template" not in record.plot["layout"]
    (verdict,) = record.verdicts
    assert (verdict.name, verdict.passed, verdict.read) == ("claim_halving_is_exact", True, ("first", "last"))
    assert {"python", "plotly"} <= record.versions.keys()
    assert (record.seed, record.device) == (0, "cpu")


def test_arrays_are_drawn_as_lists_and_gaps_as_nulls(project):
    """plotly packs arrays into base64; the page's table of data reads lists."""
    body = 'import numpy; return go.Figure(go.Scatter(x=numpy.arange(3), y=numpy.array([0.5, float("nan"), 2.0])))'
    project.script(**drawing(body))
    (trace,) = project.library().entries["halving"].record.plot["data"]
    assert (trace["x"], trace["y"]) == ([0, 1, 2], [0.5, None, 2.0])


def test_drawing_and_claims_cannot_change_what_was_measured(project):
    project.script(
        **drawing('y = m.pop("left"); y[0] = 7.0; return go.Figure(go.Scatter(y=y))'),
        claims='def claim_a(m):\n    """So."""\n    m["left"].clear()\n    assert m["last"] > 0\n',
    )
    assert project.library().entries["halving"].record.measured["left"] == [0.5**n for n in range(11)]


class TestVerdicts:
    def verdict(self, project, body: str):
        project.script(claims=f'def claim_a(m):\n    """So."""\n    {body}\n')
        library = project.library()
        assert library.entries["halving"].error is None
        return library.entries["halving"].record.verdicts[0]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ('assert m["last"] > 0.5', 'line 25: assert m["last"] > 0.5'),
            ('assert m["last"] > 0.5, "too small"', 'line 25: assert m["last"] > 0.5, "too small"\ntoo small'),
            ('assert m["width"] > 0.5', "line 25: assert m[\"width\"] > 0.5\nKeyError: 'width'"),
        ],
    )
    def test_a_claim_that_fails_is_a_verdict_not_an_error(self, project, body, message):
        verdict = self.verdict(project, body)
        assert (verdict.passed, verdict.message) == (False, message)

    def test_what_a_claim_read(self, project):
        assert self.verdict(project, 'assert m["left"][3] < m["first"]').read == ("left", "first")


class TestOnlyWhatIsStale:
    @pytest.fixture
    def counted(self, project):
        """The usual script, leaving a line in a file each time that it measures, draws or claims."""
        log = project.root / "log"

        def write(what: str) -> str:
            return f'\n    with open({str(log)!r}, "a") as file:\n        file.write("{what} ")\n    '

        body = f"{write('measure')}return {LAST}"
        project.script(
            measure=f"def measure(seed: int = SEED) -> dict:{body}\n",
            draw=f"def draw(m: dict) -> go.Figure:{write('draw')}return go.Figure(go.Scatter(y=m['left']))\n",
            claims=f'def claim_a(m):\n    """So."""{write("claim")}assert m["last"] > 0\n',
        )

        def done() -> str:
            project.library()
            text = log.read_text() if log.exists() else ""
            log.unlink(missing_ok=True)
            return text.strip()

        return done

    def test_a_second_run_does_nothing(self, project, counted):
        assert counted() == "measure draw claim"
        assert counted() == ""

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ('assert m["last"] > 0', 'assert m["last"] > 1', "draw claim"),
            ("go.Scatter(", "go.Bar(", "draw claim"),
            ("SEED = 0", "SEED = 0  # of nothing", "draw claim"),
            ("0.5**10", "0.5**11", "measure draw claim"),
        ],
    )
    def test_an_edit_does_no_more_than_it_must(self, project, counted, old, new, expected):
        counted()
        path = project.figures / "halving.py"
        path.write_text(path.read_text().replace(old, new))
        assert counted() == expected
        assert counted() == ""

    def test_drawing_anew_keeps_the_time_that_measuring_took(self, project):
        path = project.script(**measuring(f"import time; time.sleep(0.05); return {LAST}"))
        before = project.library().entries["halving"].record
        project.edit(path, '"share left"', '"share"')
        after = project.library().entries["halving"].record
        assert after.plot != before.plot
        assert after.seconds == before.seconds > 0

    def test_another_seed_is_another_measurement(self, project):
        project.script(**measuring('return {"left": [0.5], "first": 0.5, "last": float(seed)}'))
        assert project.library(seed=3).entries["halving"].record.numbers["last"] == 3
        assert project.library().entries["halving"].record.numbers["last"] == 0

    def test_what_raised_is_not_stored(self, project):
        project.script(**measuring("raise ValueError"))
        project.library()
        assert not list((project.root / ".vgdocs").rglob("*.json"))

    def test_a_damaged_record_is_measured_again(self, project, counted):
        counted()
        (path,) = (project.root / ".vgdocs").rglob("*.json")
        path.write_bytes(path.read_bytes()[:100])
        assert counted() == "measure draw claim"
        assert counted() == ""

    def test_data_that_changed_while_it_was_measured_is_measured_again(self, project):
        data = project.figures / "table.csv"
        data.write_text("old")
        head = 'from pathlib import Path\n\nDATA = Path(__file__).with_name("table.csv")\n\n\n'
        body = f'text = DATA.read_text(); DATA.write_text("new"); return {{"text": text}} | {LAST}'
        project.script(**measuring(body, head))
        library = project.library()
        assert library.entries["halving"].record.measured["text"] == "new"
        figure = library.entries["halving"].figure
        assert library.store.find("halving", make_keys(figure)).keys == make_keys(figure)

    def test_a_failure_with_data_that_changed_meanwhile_is_tried_again(self, project):
        data = project.figures / "table.csv"
        data.write_text("old")
        head = 'from pathlib import Path\n\nDATA = Path(__file__).with_name("table.csv")\n\n\n'
        body = f'text = DATA.read_text(); DATA.write_text("new"); assert text == "new"; return {LAST}'
        project.script(**measuring(body, head))
        assert project.library().entries["halving"].error is None


class TestTwoAtOnce:
    @pytest.fixture
    def log(self, project):
        """Gets a word each time that the figure begins to be measured or drawn."""
        return project.root / "log"

    def measure_slowly(self, project, log, seconds: float) -> None:
        body = f"import time; open({str(log)!r}, 'a').write('measured '); time.sleep({seconds}); return {LAST}"
        draw = f"open({str(log)!r}, 'a').write('drawn '); return go.Figure(go.Scatter(y=[1]))"
        project.script(**measuring(body), **drawing(draw))

    def test_three_threads_measure_once(self, project, log):
        self.measure_slowly(project, log, 0.5)
        libraries = []
        threads = [threading.Thread(target=lambda: libraries.append(project.library())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.read_text() == "measured drawn "
        assert [library.entries["halving"].numbers["last"] for library in libraries] == [0.5**10] * 3

    def test_runs_that_start_figures_at_once_leave_their_process_as_it_was(self, project, monkeypatch):
        """Starting one hides the main module and sets variables for a moment; two moments must not overlap."""
        project.script("doubling")
        figures = [Task(read(project.figures / f"{name}.py")) for name in ("doubling", "halving")]
        kind = start_method().Process
        start = kind.start
        monkeypatch.setattr(kind, "start", lambda process: (time.sleep(0.2), start(process)))
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
        before = (sys.modules["__main__"], dict(os.environ))
        threads = [threading.Thread(target=run, args=([f], Store(project.root / "store"))) for f in figures]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join()
        assert (sys.modules["__main__"], dict(os.environ)) == before

    def test_a_build_that_is_killed_leaves_nothing_half_and_nothing_locked(self, project, log):
        self.measure_slowly(project, log, 5)
        build = subprocess.Popen([sys.executable, "-m", "vgdocs", "run"], cwd=project.root)
        while not log.exists():
            assert build.poll() is None
        build.kill()
        build.wait()
        assert [path.suffix for path in (project.root / ".vgdocs").rglob("*") if path.is_file()] == [".lock"]
        self.measure_slowly(project, log, 0)
        assert project.library().entries["halving"].numbers["last"] == 0.5**10


class TestStoreThatCannotBeWritten:
    def test_a_full_disk(self, project, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(stores.tempfile, "mkstemp", fail)
        error = str(project.library().entries["halving"].error)
        assert error.startswith("figures/halving.py: was measured, but the record of halving can't be kept in ")
        assert error.endswith("No space left on device")

    def test_a_read_only_disk(self, project, monkeypatch):
        def fail(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", fail)
        error = str(project.library().entries["halving"].error)
        assert error.startswith("figures/halving.py: can't be measured: the store isn't writable: ")
        assert error.endswith("Read-only file system")

    def test_records_are_read_where_nothing_can_be_written(self, project, monkeypatch):
        project.library()
        monkeypatch.setattr(stores.tempfile, "mkstemp", None)
        monkeypatch.setattr(Path, "mkdir", None)
        assert project.library().entries["halving"].numbers["last"] == 0.5**10

    def test_a_store_that_is_a_file(self, project, monkeypatch):
        (project.root / "file").write_text("")
        monkeypatch.setenv("VGDOCS_STORE", str(project.root / "file"))
        error = str(project.library().entries["halving"].error)
        assert error.startswith("figures/halving.py: can't be measured: the store isn't writable: ")


def test_progress_is_told_once_a_figure(project):
    project.script("broken", **measuring("raise ValueError"))
    told = []
    figures = [Task(read(project.figures / f"{name}.py")) for name in ("broken", "halving")]
    store = Store(project.root / "store")
    run(figures, store, jobs=1, progress=lambda *args: told.append(args))
    assert [(name, type(outcome), done, total) for name, outcome, done, total in told] == [
        ("broken", FigureError, 1, 2),
        ("halving", Record, 2, 2),
    ]
    run(figures[1:], store, progress=lambda *args: pytest.fail("nothing was stale"))


def test_a_process_is_single_threaded_and_knows_nothing_of_its_caller(project):
    body = (
        "import os, sys, torch; "
        'return {"threads": torch.get_num_threads(), "main": str(sys.modules["__main__"]), "cuda": '
        'os.environ["CUDA_VISIBLE_DEVICES"], "deterministic": torch.are_deterministic_algorithms_enabled(), '
        '"pytest": "pytest" in sys.modules, "first": 0.5, "left": [], "last": 0.5**10}'
    )
    project.script(**measuring(body))
    m = project.library().entries["halving"].record.measured
    assert (m["threads"], m["cuda"], m["deterministic"], m["pytest"]) == (1, "", True, False)
    assert "pytest" not in m["main"]


@pytest.fixture
def server(monkeypatch):
    """The fork server, whichever way the suite is run."""
    monkeypatch.setenv("VGDOCS_START", "forkserver")


@pytest.mark.posix("the fork server")
@pytest.mark.parametrize("word", ["optim", "sgd"])
def test_what_is_slow_to_load_is_loaded_where_a_script_calls_for_it(project, server, word):
    body = f'"{word}"; import sys; return {{"loaded": int("torch._dynamo" in sys.modules)}} | {LAST}'
    project.script(**measuring(body))
    subprocess.run([sys.executable, "-m", "vgdocs", "run"], cwd=project.root, check=True, capture_output=True)
    assert project.library(run=False).entries["halving"].numbers["loaded"] == (word == "optim")


@pytest.mark.posix("the fork server")
def test_warming_up_loads_everything_before_a_figure_is_there(project, server):
    body = f'import sys; return {{"loaded": int("torch._dynamo" in sys.modules)}} | {LAST}'
    project.script(**measuring(body))
    code = "from pathlib import Path; from vgdocs.engine import process; from vgdocs.engine.library import Library; "
    code += "process.warm_up(); Library(Path()).refresh()"
    subprocess.run([sys.executable, "-c", code], cwd=project.root, check=True)
    assert project.library(run=False).entries["halving"].numbers["loaded"] == 1


def test_a_record_is_one_line_of_json(project):
    project.library()
    (path,) = (project.root / ".vgdocs").rglob("*.json")
    text = path.read_text(encoding="utf-8")
    assert "\n" not in text
    assert json.loads(text)["name"] == "halving"
