"""What a store goes through: killed builds, damaged files, full disks, crowds, wrong clocks.

After each fault the next build is right, and no reader ever takes a half-written record for a whole one. Each test
says how often it struck (`pytest -rP`); the long versions run in `make check-all`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

from vgdocs.engine import record as records
from vgdocs.engine import store as stores
from vgdocs.engine.figure import read
from vgdocs.engine.record import Record, make_keys
from vgdocs.engine.runner import Task, run
from vgdocs.engine.store import Store, StoreError

resource = pytest.importorskip("resource", reason="limits on a file's size are POSIX's")
pytestmark = pytest.mark.posix("forks, and kills by SIGKILL")

NAMES = ("doubling", "halving", "thirding")
SHOWN = "9.8 × 10<sup>−4</sup>"  # what a page makes of 0.5**10
LAST = '{"left": [0.5], "first": 0.5, "last": 0.5**10}'
PAGE = "# Home\n\n" + "".join(f"[[{name}.last:.1e]]\n\n/// figure | {name}\n///\n\n" for name in NAMES)


def times(few: int, many: int):
    """A test that strikes a few times by default and many times in `make check-all`."""
    return pytest.mark.parametrize("strikes", [few, pytest.param(many, marks=pytest.mark.slow)])


def measuring(body: str) -> str:
    return f"def measure(seed: int = SEED) -> dict:\n    {body}\n    return {LAST}\n"


@pytest.fixture
def three(project):
    """A project with three figures and a page that shows them."""
    for name in NAMES:
        project.script(name, measure=measuring("pass"))
    project.page("index", PAGE)
    return project


def files(project, pattern: str = "*.json") -> list[Path]:
    return [path for path in (project.root / ".vgdocs" / "records").rglob(pattern) if path.is_file()]


def check(project, caplog=None) -> None:
    """Every record that is there is whole, the next build is right, and the one after it finds all of it."""
    for path in files(project):
        Record.from_json(path.read_text(encoding="utf-8"))
    assert caplog is None or "damaged" not in caplog.text
    rebuild(project)


def rebuild(project) -> None:
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    assert project.html().count(SHOWN) >= len(NAMES)
    found = project.library(run=False).entries
    assert {name: entry.numbers.get("last") for name, entry in found.items()} == dict.fromkeys(NAMES, 0.5**10)


def empty(project) -> None:
    for path in files(project):
        path.unlink()


def start(project, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mkdocs", *(arguments or ("build", "--strict"))]
    return subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(build: subprocess.Popen) -> None:
    """The build and every process that it started, without a chance to tidy up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(build.pid, signal.SIGKILL)
    build.wait()


def until(condition, build: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, "it never came"
        assert build is None or build.poll() is None, "the build ended early"
        time.sleep(0.002)


class TestKilled:
    @times(2, 25)
    def test_a_whole_build_at_random_moments(self, three, caplog, strikes):
        """From the moment that the first figure is being measured, which is when there is something to lose."""
        chance = random.Random(strikes)
        mark = three.root / "mark"
        for name in NAMES:
            three.script(name, measure=measuring(f"open({str(mark)!r}, 'w').close()"))
        cut_short = 0
        for _ in range(strikes):
            empty(three)
            mark.unlink(missing_ok=True)
            build = start(three)
            until(mark.exists, build)
            time.sleep(chance.uniform(0, 0.3))
            cut_short += build.poll() is None
            kill(build)
            check(three, caplog)
        print(f"{strikes} builds killed, {cut_short} of them before they were done")

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("step", ["mkstemp", "fdopen", "write", "fsync", "replace"])
    def test_at_each_step_of_writing_a_record(self, three, caplog, step, when):
        old, new = whole_records(three)
        store = Store(three.root / ".vgdocs")
        for record in (None, old):  # onto nothing, and onto what was there
            empty(three)
            if record:
                store.save(record)
            assert in_a_child(lambda: (kill_at(step, when), store.save(new))) == -signal.SIGKILL
            found = store.find("halving", old.keys)
            done = (step, when) == ("replace", "after")
            assert found == (new if done else record)
        check(three, caplog)

    @times(3, 40)
    def test_a_figures_process_at_random_moments(self, three, caplog, strikes):
        chance = random.Random(strikes)
        mark = three.root / "pid"
        slowly = "import os, time; open({0!r} + 'x', 'w').write(str(os.getpid())); os.rename({0!r} + 'x', {0!r})"
        three.script("halving", measure=measuring(slowly.format(str(mark)) + "; time.sleep(0.2)"))
        figures = [read(three.figures / f"{name}.py") for name in NAMES]
        for _ in range(strikes):
            empty(three)
            mark.unlink(missing_ok=True)

            def strike(delay: float) -> None:
                until(mark.exists)
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(mark.read_text()), signal.SIGKILL)

            killer = threading.Thread(target=strike, args=(chance.uniform(0, 0.3),))
            killer.start()
            made = dict(zip(NAMES, run(map(Task, figures), Store(three.root / ".vgdocs")), strict=True))
            killer.join()
            assert all(isinstance(record, Record) for record in made.values()), made
            check(three, caplog)
        print(f"{strikes} processes killed, and each of their figures measured")


class TestDamaged:
    @times(50, 2000)
    def test_flipped_bits(self, three, strikes):
        self.strike(three, strikes, flip)

    @times(20, 500)
    def test_truncation(self, three, strikes):
        self.strike(three, strikes, lambda data, chance: data[: chance.randrange(len(data))])

    @times(20, 500)
    def test_a_block_of_the_disk_lost(self, three, strikes):
        def blank(data: bytes, chance: random.Random) -> bytes:
            at = chance.randrange(len(data))
            return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]

        self.strike(three, strikes, blank)

    def strike(self, project, strikes, damage) -> None:
        """However a record is damaged it counts as none; one more build and it is there again."""
        chance = random.Random(strikes)
        rebuild(project)
        keys = make_keys(read(project.figures / "halving.py"))
        store = Store(project.root / ".vgdocs")
        (path,) = (path for path in files(project) if path.parent.name == "halving")
        good = path.read_bytes()
        for _ in range(strikes):
            path.write_bytes(damage(good, chance))
            assert store.find("halving", keys) is None
            assert store.find("halving", keys, any_versions=True) is None
        rebuild(project)
        assert Record.from_json(path.read_text("utf-8")).measured == Record.from_json(good.decode()).measured
        print(f"{strikes} damaged records, none of them read")

    def test_a_plausible_number_in_place_of_the_measured_one(self, three):
        """The worst damage is what is still a record: one digit of one number."""
        rebuild(three)
        for path in files(three):
            text = path.read_text(encoding="utf-8")
            assert '"first":0.5,' in text
            path.write_text(text.replace('"first":0.5,', '"first":0.7,'), encoding="utf-8")
        rebuild(three)
        assert [json.loads(path.read_text("utf-8"))["measured"]["first"] for path in files(three)] == [0.5] * 3

    def test_a_store_written_by_another_version(self, three, monkeypatch, caplog):
        rebuild(three)
        with monkeypatch.context() as theirs:  # its format is another, and so are the keys of its records
            theirs.setattr(records, "FORMAT", records.FORMAT + 1)
            for path in files(three):
                content = json.loads(path.read_text(encoding="utf-8"))
                keys = make_keys(read(three.figures / f"{path.parent.name}.py"))
                content |= {"format": records.FORMAT, "keys": vars(keys), "measured": {"last": 0.25}}
                del content["digest"]
                text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
                path.with_stem(f"{keys.measure[:20]}{path.stem[20:]}").write_text(records.seal(text))
                path.unlink()
        before = {path: path.read_bytes() for path in files(three)}
        assert len(before) == len(NAMES)
        assert not any(entry.record for entry in three.library(run=False).entries.values())
        rebuild(three)
        # both versions may go on with the same store
        assert len(files(three)) == 2 * len(before)
        assert all(path.read_bytes() == content for path, content in before.items())
        assert "damaged" not in caplog.text

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda content: content | {"format": records.FORMAT + 1}, "a record of format"),
            (lambda content: content | {"colour": "red"}, "not a record"),
            (lambda content: {name: value for name, value in content.items() if name != "plot"}, "not a record"),
        ],
    )
    def test_a_whole_record_of_another_version_under_this_ones_name(self, three, caplog, change, told):
        rebuild(three)
        for path in files(three):
            content = json.loads(path.read_text("utf-8"))
            del content["digest"]
            path.write_text(records.seal(json.dumps(change(content))), encoding="utf-8")
        rebuild(three)
        assert caplog.text.count(told) >= len(NAMES)


class TestDisk:
    """A record that doesn't fit. As root can't be refused by permissions, the limit is the process's own."""

    @times(5, 60)
    def test_a_file_cut_off_at_any_size(self, three, strikes):
        """RLIMIT_FSIZE makes write() fail where a full disk would: after some of the bytes."""
        old, new = whole_records(three)
        empty(three)
        store = Store(three.root / ".vgdocs")
        store.save(old)
        chance = random.Random(strikes)
        size = len(new.to_json().encode())

        def save(limit: int) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that write() returns EFBIG
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(StoreError, match="can't be kept"):
                store.save(new)

        for _ in range(strikes):
            assert in_a_child(lambda: save(chance.randrange(size))) == 0
            assert store.find("halving", old.keys) == old
            assert [path.name for path in files(three, "*")] == [f"{store_name(old)}.json"]
        print(f"{strikes} writes cut off")
        check(three)

    @pytest.mark.privileged
    def test_a_disk_that_is_really_full(self, three, tmp_path_factory):
        disk = tmp_path_factory.mktemp("disk")
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "vgdocs", disk]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("nothing may be mounted here")
        try:
            (disk / "ballast").write_bytes(bytes(60 * 1024))
            environment = os.environ | {"VGDOCS_STORE": str(disk)}
            command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
            build = subprocess.run(command, cwd=three.root, env=environment, capture_output=True, text=True)
            assert build.returncode == 1
            assert "No space left on device" in build.stderr
            assert "Traceback" not in build.stderr
            (disk / "ballast").unlink()
            assert subprocess.run(command, cwd=three.root, env=environment, capture_output=True).returncode == 0
            assert three.html().count(SHOWN) >= len(NAMES)
        finally:
            subprocess.run(["umount", disk], check=True)

    @pytest.mark.parametrize("step", ["mkstemp", "fdopen", "fsync", "replace"])
    def test_a_build_on_a_full_disk_tells_every_figure_and_the_next_one_is_right(self, three, monkeypatch, step):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(stores.tempfile if step == "mkstemp" else stores.os, step, full)
            made = run([Task(read(three.figures / f"{name}.py")) for name in NAMES], Store(three.root / ".vgdocs"))
        assert all("was measured, but the record of" in str(outcome) for outcome in made)
        assert files(three, "*") == []
        check(three)


class TestTogether:
    @times(1, 6)
    def test_two_builds_and_a_serve_measure_each_figure_once(self, three, caplog, strikes):
        log = three.root / "log"
        once = f"import time; open({str(log)!r}, 'a').write('x'); time.sleep(0.3)"
        for name in NAMES:
            three.script(name, measure=measuring(once))
        for _ in range(strikes):
            empty(three)
            log.unlink(missing_ok=True)
            serve = start(three, "serve", "--livereload", "--dev-addr", "127.0.0.1:0")
            builds = [start(three, "build", "--strict", "-d", str(three.root / f"site{i}")) for i in range(2)]
            try:
                assert [build.wait(120) for build in builds] == [0, 0]
                until(lambda: len(files(three)) == len(NAMES), serve)
            finally:
                kill(serve)
            assert log.read_text() == "x" * len(NAMES)
            for i in range(2):
                assert (three.root / f"site{i}" / "index.html").read_text("utf-8").count(SHOWN) >= len(NAMES)
            check(three, caplog)
        print(f"{3 * strikes} processes on one store")


class TestScriptsAndClocks:
    @times(1, 10)
    def test_a_script_that_changes_while_it_runs(self, three, strikes):
        """What is kept is never the old number under the new script's key."""
        path = three.figures / "halving.py"
        mark = three.root / "mark"
        chance = random.Random(strikes)
        slowly = f"import time; open({str(mark)!r}, 'w').close(); time.sleep(0.2)"
        for _ in range(strikes):
            empty(three)
            mark.unlink(missing_ok=True)
            three.script("halving", measure=measuring(slowly).replace("0.5**10", "0.25"))
            build = start(three)
            until(mark.exists, build)
            time.sleep(chance.uniform(0, 0.1))
            three.script("halving", measure=measuring("pass"))
            assert build.wait(60) in (0, 1)
            found = Store(three.root / ".vgdocs").find("halving", make_keys(read(path)))
            assert found is None or found.measured["last"] == 0.5**10
            check(three)
        print(f"{strikes} scripts changed while they ran")

    @pytest.mark.parametrize("moment", [0, 1, 4_000_000_000])
    def test_clocks_set_back_or_ahead(self, three, moment):
        """What is stale is told by content alone."""
        rebuild(three)
        for path in [*three.figures.iterdir(), *files(three)]:
            os.utime(path, (moment, moment))
        before = {path: path.read_bytes() for path in files(three)}
        rebuild(three)
        assert {path: path.read_bytes() for path in files(three)} == before  # nothing was measured again
        path = three.script("halving", measure=measuring("pass").replace("0.5**10", "0.25"))
        os.utime(path, (moment, moment))
        assert three.library().entries["halving"].numbers["last"] == 0.25
        three.script("halving", measure=measuring("pass"))
        rebuild(three)


def whole_records(project) -> tuple[Record, Record]:
    """Two records that a store keeps under one name: the usual one, and one a thousand times as long."""
    figure = read(project.figures / "halving.py")
    (old,) = run([Task(figure)], Store(project.root / ".vgdocs"))
    assert isinstance(old, Record)
    fields = {name: value for name, value in vars(old).items() if name != "numbers"}
    return old, Record(**fields | {"measured": old.measured | {"left": [0.5] * 20_000}})


def store_name(record: Record) -> str:
    return record.place


def flip(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged) if damaged != data else flip(data, chance)


def in_a_child(action) -> int:
    """Run something in a copy of this process, and return its exit code or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(step: str, when: str) -> None:
    """From now on this process dies before or after the first call of one step of writing."""

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "write":
        half = os.fdopen

        def fdopen(*args, **kwargs):
            file = half(*args, **kwargs)
            whole = file.write

            class Halved:
                def __getattr__(self, name):
                    return getattr(file, name)

                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    file.close()

                def write(self, content):
                    if when == "after":
                        whole(content[: len(content) // 2])
                        file.flush()
                    die()

            return Halved()

        os.fdopen = fdopen
        return
    module = stores.tempfile if step == "mkstemp" else os
    call = getattr(module, step)
    setattr(module, step, die if when == "before" else lambda *a, **k: (call(*a, **k), die()))
