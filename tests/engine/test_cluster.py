"""One runner, whoever runs the figures: this machine, any executor, the workers of a cluster."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

import vgdocs
from vgdocs.engine import cluster
from vgdocs.engine.figure import SettingError, read
from vgdocs.engine.record import Record
from vgdocs.engine.runner import Task, run
from vgdocs.engine.store import Store

LAST = '{"left": [0.5], "first": 0.5, "last": 0.5**10}'
DRAWN = "import random; r = random.Random(seed); left = [r.gauss(0, 1) for _ in range(9)]"


def measuring(body: str) -> dict[str, str]:
    return {"measure": f"def measure(seed: int = SEED) -> dict:\n    {body}\n"}


def until(true, seconds: float = 300):
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def two():
    """A cluster of two workers, each of which takes one figure at a time."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=cluster.UNSEEN) as made:
        yield made


@pytest.fixture
def client(two):
    """What a test does with that cluster; of one whose worker was killed, once it has another."""
    with Client(two, set_as_default=False) as made:
        until(lambda: len(made.nthreads()) == 2)
        yield made


def tasks(project, seeds=(0,)) -> list[Task]:
    figures = [read(path) for path in sorted(project.figures.glob("*.py"))]
    return [Task(figure, seed) for figure in figures for seed in seeds]


@contextlib.contextmanager
def connected(project, two, told=None):
    scripts = [path.read_text() for path in project.figures.glob("*.py")]
    told = [] if told is None else told
    with cluster.connect(two.scheduler_address, project.figures, scripts, None, told.append) as executor:
        yield executor


def contents(folder: Path) -> dict[str, dict]:
    """The records in a store by file, without when they were made, how long that took, and their digest."""
    found = {}
    for path in (folder / "records").rglob("*.json"):
        record = json.loads(path.read_text())
        assert {record.pop(name) for name in ("made", "seconds", "digest")}
        found[f"{path.parent.name}/{path.name}"] = record
    return found


SpawnedPool = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))  # a forked one shares this fork server


class TestOnePath:
    @pytest.mark.parametrize("kind", [ThreadPoolExecutor, SpawnedPool])
    def test_any_executor(self, project, kind):
        project.script("dies", **measuring("import os; os._exit(3)"))
        with kind(2) as executor:
            error, record = run(tasks(project), Store(project.root / "store"), executor=executor)
        assert str(error) == "figures/dies.py: died without a word: exit code 3"
        assert record.numbers["last"] == 0.5**10

    def test_those_that_take_longest_begin(self, project):
        for name in ("doubling", "thirding"):
            project.script(name)
        told = []
        seconds = {"doubling": 1.0, "halving": 2.0, "thirding": 3.0}
        store = Store(project.root / "store")
        run(tasks(project, [1, 2]), store, jobs=1, seconds=seconds, progress=lambda name, *_: told.append(name))
        assert told == [f"{name}, seed {seed}" for name in ("thirding", "halving", "doubling") for seed in (1, 2)]

    def test_seeds_are_measured_side_by_side(self, project):
        """Each waits until the other has begun."""
        body = (
            "import time; from pathlib import Path; folder = Path(__file__).parent.parent; "
            "folder.joinpath(f'seed_{seed}').touch(); end = time.monotonic() + 60\n"
            "    while len([s for s in (1, 2) if folder.joinpath(f'seed_{s}').exists()]) < 2:\n"
            f"        assert time.monotonic() < end\n    return {LAST}"
        )
        project.script(**measuring(body))
        code, output, errors = project.call("run", "--seed", "1..2", "--jobs", 2)
        assert (code, output) == (0, "".join(f"with seed {n}: 1 figure, 1 claim, 0 failed\n" for n in (1, 2))), errors


@pytest.mark.parametrize(
    ("told", "expected"), [(["1..3"], [1, 2, 3]), (["5", "-2..-1", "5"], [-2, -1, 5]), (["7"], [7])]
)
def test_seeds_of_a_range(project, told, expected):
    project.script(**measuring('return {"left": [0.5], "first": 0.5, "last": 0.5**10, "of": seed}'))
    code, output, _ = project.call("run", *(word for seed in told for word in ("--seed", seed)))
    assert code == 0
    made = contents(project.root / ".vgdocs").values()
    assert sorted(record["seed"] for record in made) == sorted(expected)
    assert output.count("with seed") == len(expected)


@pytest.mark.parametrize("seed", ["3..1", "1..", "..3", "a", "1-3"])
def test_a_seed_that_is_none(project, seed):
    code, _, errors = project.call("run", "--seed", seed)
    assert code == 2
    assert f"'{seed}' is neither a seed nor a range of seeds" in errors


class TestCluster:
    def test_records_are_those_of_this_machine(self, project, two):
        (project.figures / "table.csv").write_text("0.25")
        reads = "from pathlib import Path; share = float(Path(__file__).with_name('table.csv').read_text())"
        ends = 'return {"left": left, "first": 0.5, "last": 0.5**10'
        project.script("drawn", **measuring(f"{DRAWN}; {ends}}}"))
        project.script("looked_up", **measuring(f"{reads}; {DRAWN}; {ends}, 'share': share}}"))
        here, there = Store(project.root / "here", project.root), Store(project.root / "there", project.root)
        run(tasks(project, [1, 2]), here)
        with connected(project, two) as executor:
            made = run(tasks(project, [1, 2]), there, executor=executor)
        assert {type(outcome) for outcome in made} == {Record}
        assert len(contents(here.folder)) == 6
        assert contents(here.folder) == contents(there.folder)

    def test_a_figure_has_its_memory_managed_as_on_this_machine(self, project, two, client):
        """Dask tells its workers to give memory back at once, which makes training a third slower."""
        name = "MALLOC_TRIM_THRESHOLD_"
        assert all(client.run(os.environ.get, name).values())
        project.script(
            **measuring(f'import os; return {{"left": [0.5], "first": 0.5, "last": len(os.getenv("{name}", ""))}}')
        )
        with connected(project, two) as executor:
            (made,) = run(tasks(project), Store(project.root / "store"), executor=executor)
        assert made.numbers["last"] == 0

    def test_a_figure_that_hangs_or_dies_takes_no_worker_with_it(self, project, two, client):
        project.script("hangs", **measuring("import time; time.sleep(600)"))
        project.script("kills", **measuring("import os, signal; os.killpg(0, signal.SIGKILL)"))
        project.script("raises", **measuring("raise ValueError"))
        before = client.run(os.getpid)
        with connected(project, two) as executor:
            made = run(tasks(project), Store(project.root / "store"), executor=executor, time_limit=3.0)
        assert [str(outcome).splitlines()[0] for outcome in made[1:]] == [
            "figures/hangs.py: hangs: stopped after 3 s",
            "figures/kills.py: died without a word: killed by SIGKILL, as systems do when memory runs short",
            "figures/raises.py:13: raises ValueError: ",
        ]
        assert isinstance(made[0], Record)
        assert client.run(os.getpid) == before

    def test_a_worker_that_dies_has_its_figure_measured_elsewhere(self, project, two, client):
        """The first try sleeps until its worker is killed; the second finds that there was a first."""
        log = project.root / "log"
        body = f"import os, time; log = {str(log)!r}; first = not os.path.exists(log); "
        body += f"open(log, 'a').write(f'{{os.getpid()}} ')\n    time.sleep(600 * first)\n    return {LAST}"
        project.script(**measuring(body))
        made = []
        with connected(project, two) as executor:
            options = {"executor": executor, "time_limit": 100.0}
            running = threading.Thread(
                target=lambda: made.extend(run(tasks(project), Store(project.root / "store"), **options))
            )
            running.start()
            first = int(until(lambda: log.exists() and log.read_text()))
            (worker,) = (address for address, keys in client.processing().items() if keys)
            os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
            running.join(300)
        assert [outcome.numbers["last"] for outcome in made] == [0.5**10]
        assert len(log.read_text().split()) == 2
        until(lambda: not psutil.pid_exists(first))

    @pytest.mark.posix("groups of processes")
    def test_an_interrupted_run_leaves_nothing_running_on_the_workers(self, project, two, client):
        mark = project.root / "mark"
        project.script(
            **measuring(f"import os, time; open({str(mark)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(600)")
        )
        before = client.run(os.getpid)
        running = begin(project, two.scheduler_address)
        pid = int(until(lambda: mark.exists() and mark.read_text()))
        running.send_signal(signal.SIGINT)
        assert running.wait(30) != 0
        until(lambda: not psutil.pid_exists(pid), 20)
        assert client.run(os.getpid) == before

    @pytest.mark.posix("groups of processes")
    @pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
    def test_an_interrupted_run_leaves_nothing_of_a_local_cluster(self, project, way):
        mark = project.root / "mark"
        project.script(**measuring(f"import os, time; open({str(mark)!r}, 'w').close(); time.sleep(600)"))
        running = begin(project, "local")
        until(mark.exists)
        assert len(marked(project.root)) >= 3  # the run, a worker and the figure
        running.send_signal(way)
        assert running.wait(30) != 0
        until(lambda: not marked(project.root), 20)


def begin(project, address: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vgdocs", "run", "--cluster", address, "--jobs", "1"],
        cwd=project.root,
        env=os.environ | {"VGDOCS_TEST": str(project.root)},
        start_new_session=True,
        # a shell has what it starts in the background ignore Ctrl-C, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def marked(folder: Path) -> list[int]:
    """The processes whose environment bears a folder's mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("VGDOCS_TEST") == str(folder):
                found.append(process.pid)
    return found


class TestRefused:
    """A worker that would measure something else, in a cluster of its own with others or without."""

    @pytest.fixture
    def joined(self, tmp_path_factory):
        """Starts a worker of its own for a scheduler, with something put before what it finds."""
        started = []

        def join(address: str, before: Path) -> None:
            path = os.pathsep.join([str(before), str(Path(vgdocs.__file__).parents[1])])
            command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
            environment = os.environ | {"PYTHONPATH": path}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started.append(subprocess.Popen([*command, "--no-dashboard"], env=environment, **quiet))

        yield join
        for process in started:
            process.kill()
            process.wait(20)

    @pytest.fixture
    def other_plotly(self, tmp_path):
        """A folder that makes Python believe in another version of a library."""
        info = tmp_path / "other/plotly-5.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plotly\nVersion: 5.0\n")
        return info.parent

    @pytest.fixture
    def other_source(self, tmp_path):
        """A copy of this package in which one module was edited."""
        copied = tmp_path / "copied/vgdocs"
        shutil.copytree(Path(vgdocs.__file__).parent, copied, ignore=shutil.ignore_patterns("assets", "__pycache__"))
        with (copied / "theory.py").open("a") as file:
            file.write("\nEDITED = True\n")
        return copied.parent

    def test_the_others_take_its_figures(self, project, two, client, joined, other_plotly):
        joined(two.scheduler_address, other_plotly)
        until(lambda: len(client.nthreads()) == 3)
        told = []
        with connected(project, two, told) as executor:
            made = run(tasks(project, range(6)), Store(project.root / "store"), executor=executor)
        assert {type(outcome) for outcome in made} == {Record}
        refused, used = told
        assert refused.startswith("the worker tcp://")
        assert refused.endswith(f" is refused: plotly is 5.0, and here {made[0].versions['plotly']}")
        assert used == "figures run on 2 workers, 2 at a time"

    def test_workers_that_come_later_are_looked_at_too(self, project, joined, other_plotly, tmp_path):
        told, made = [], []
        with (
            LocalCluster(n_workers=0, dashboard_address=cluster.UNSEEN) as empty,
            connected(project, empty, told) as executor,
        ):
            options = {"executor": executor}
            running = threading.Thread(
                target=lambda: made.extend(run(tasks(project), Store(project.root / "store"), **options))
            )
            running.start()
            joined(empty.scheduler_address, other_plotly)
            until(lambda: len(told) == 2)
            joined(empty.scheduler_address, tmp_path)
            running.join(300)
        assert told[0] == "no worker yet"
        assert " is refused: plotly is 5.0" in told[1]
        assert isinstance(made[0], Record)

    def test_where_none_fits_nothing_is_measured(self, project, joined, other_source):
        with (
            LocalCluster(n_workers=0, dashboard_address=cluster.UNSEEN) as empty,
            Client(empty, set_as_default=False) as client,
        ):
            joined(empty.scheduler_address, other_source)
            until(client.nthreads)
            code, _, errors = project.call("run", "--cluster", empty.scheduler_address)
        assert code == 1
        assert "is refused: vgdocs/theory.py is " in errors
        assert errors.endswith("no worker measures what this machine does\n")

    def test_a_project_that_is_not_there_or_has_other_data(self, project):
        (project.figures / "table.csv").write_text("1")
        here = cluster.surroundings(project.figures, ["plotly"])
        (project.figures / "table.csv").write_text("2")
        there = cluster.surroundings(project.figures, ["plotly"])
        assert cluster.differences(here, here) == ""
        assert cluster.differences(here, there).startswith("figures/table.csv is ")
        nowhere = cluster.surroundings(project.root / "nowhere", ["plotly", "no-such-library"])
        assert cluster.differences(here, nowhere) == "; ".join(
            [
                f"figures/halving.py is missing, and here {here['figures/halving.py']}",
                f"figures/table.csv is missing, and here {here['figures/table.csv']}",
                "no-such-library is missing, and here missing",
            ]
        )

    def test_a_record_of_other_versions_is_not_kept(self, project):
        """What a measurement turned out to import is known only when it is home."""

        class Elsewhere(ThreadPoolExecutor):
            def submit(self, function, /, *arguments):
                def other() -> dict:
                    outcome = function(*arguments)
                    return outcome | {"versions": outcome["versions"] | {"plotly": "5.0"}}

                return super().submit(other)

        with Elsewhere(1) as executor:
            (error,) = run(tasks(project), Store(project.root / "store"), executor=executor)
        assert "was measured where other versions are installed than here: " in str(error)
        assert "plotly 5.0" in str(error)
        assert not list((project.root / "store").rglob("*.json"))


def test_no_scheduler_answers(project, monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    connection = cluster.connect("tcp://127.0.0.1:1", project.figures, [], None, print)
    with pytest.raises(SettingError, match=r"^no scheduler of Dask's answers at tcp://127\.0\.0\.1:1: "), connection:
        pass


def test_dask_is_not_installed(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "vgdocs.engine.cluster")
    code, _, errors = project.call("run", "--cluster", "local")
    assert code == 1
    assert "distributed is not installed" in errors
    assert "pip install '.[cluster]'" in errors
