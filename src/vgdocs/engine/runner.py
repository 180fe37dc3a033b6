"""Makes records: each figure in a process of its own, as many at a time as there are cores.

The processes are forked from a server that has torch and plotly loaded, but never vgdocs, so that an edited
module counts at once; where there is no such server, each is started anew. A process is watched by its sentinel: one
that dies without a word is reported, not awaited. What a figure starts ends with it, and it ends with this process.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from filelock import BaseFileLock, Timeout

from vgdocs.engine import observe, worker
from vgdocs.engine.figure import Figure, FigureError, SettingError
from vgdocs.engine.record import Keys, Record, Verdict, make_keys
from vgdocs.engine.store import Store, StoreError

TIME_LIMIT = 600.0  # seconds a figure may take before it counts as hanging; VGDOCS_TIME_LIMIT overrides
# what takes seconds to load is loaded once, not in each figure, if one of the scripts has a word that calls for it
PRELOAD = {
    "torch": "torch|vgdocs",
    "torch._dynamo": "optim|experiments",  # torch's optimisers load it
    "sklearn.datasets": "sklearn|experiments",
    "sklearn.model_selection": "sklearn|experiments",
    "plotly.basedatatypes": "plotly",  # what graph_objects, which is lazy, loads with the first figure
}
POLL = 0.2  # seconds between looks at a figure that another build is measuring
TRIES = 3  # at a figure of which something that it reads changes while it is measured
STARTING = threading.Lock()  # held while the environment is dressed up for a process that starts

Progress = Callable[[str, "Record | FigureError", int, int], None]


@dataclass
class _Task:
    """One figure to bring up to date."""

    figure: Figure
    seed: int
    device: str
    keys: Keys
    known: Record | None  # what is already measured; perhaps it only needs drawing and judging
    waited_since: float | None = None  # while another build measures it
    tries: int = 0

    @property
    def done(self) -> bool:
        return self.known is not None and self.known.keys == self.keys


@dataclass
class _Running:
    task: _Task
    process: BaseProcess
    connection: Connection
    lock: BaseFileLock
    deadline: float


def share(names: Iterable[str], index: int, count: int, seconds: Mapping[str, float]) -> list[str]:
    """What machine `index` of `count` (from 1) measures: the same on each of them, and about equally long.

    The figure that takes longest goes first, always to the machine with the least to do; one whose `seconds` aren't
    known counts as an average one.
    """
    average = sum(seconds.values()) / len(seconds) if seconds else 1.0
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for name in sorted(names, key=lambda name: (-seconds.get(name, average), name)):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += seconds.get(name, average)
    return shares[index - 1]


def run(
    figures: Iterable[Figure],
    store: Store,
    *,
    seed: int | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Record | FigureError]:
    """Bring the records of all figures up to date; every figure is tried, whatever happens to the others.

    `seed` replaces each script's own. `progress(name, outcome, done, total)` is called as each stale figure
    finishes. A claim that fails is no error here: it stands in the record's verdicts. Raises SettingError if
    VGDOCS_JOBS, VGDOCS_TIME_LIMIT or VGDOCS_START is none.
    """
    limit = _positive("VGDOCS_TIME_LIMIT", time_limit or TIME_LIMIT, float, "seconds")
    jobs = jobs or _positive("VGDOCS_JOBS", _cores(), int, "a whole number of figures at a time")
    context = _context()
    outcomes: dict[str, Record | FigureError] = {}
    stale: deque[_Task] = deque()
    for figure in sorted(figures, key=lambda figure: "rates" not in figure.sweep):  # no core waits for a sweep at last
        task = _task(figure, store, seed, device)
        if task.known and task.done:
            outcomes[figure.name] = task.known
        else:
            stale.append(task)

    text = "\n".join(task.figure.text for task in stale)
    context.set_forkserver_preload([module for module, words in PRELOAD.items() if re.search(words, text)])
    total = len(stale)
    done = 0
    running: list[_Running] = []

    def finish(task: _Task, outcome: Record | FigureError) -> None:
        nonlocal done
        done += 1
        outcomes[task.figure.name] = outcome
        if progress:
            progress(task.figure.name, outcome, done, total)

    try:
        while stale or running:
            for _ in range(len(stale)):
                if len(running) >= jobs:
                    break
                task = stale.popleft()
                lock = _acquire(store, task.figure)
                if isinstance(lock, FigureError):
                    finish(task, lock)
                elif lock is None:
                    task.waited_since = task.waited_since or time.monotonic()
                    if time.monotonic() > task.waited_since + 2 * limit:
                        finish(task, FigureError(task.figure.path, "is being measured by another build, without end"))
                    else:
                        stale.append(task)
                else:
                    # another build may have measured it while this one waited for the lock
                    task.known = store.find(task.figure.name, task.keys) or task.known
                    if task.known and task.done:
                        lock.release()
                        finish(task, task.known)
                    else:
                        running.append(_start(context, store, task, lock, limit))
            ready = wait([r.connection for r in running] + [r.process.sentinel for r in running], POLL)
            for job in list(running):
                if job.connection in ready or job.process.sentinel in ready or time.monotonic() > job.deadline:
                    running.remove(job)
                    outcome = _collect(job, store, limit)
                    if outcome is None:
                        job.task.tries += 1
                        job.task.known = store.find(job.task.figure.name, job.task.keys)
                        stale.append(job.task)
                    else:
                        finish(job.task, outcome)
    finally:
        for job in running:
            _end(job)
    return outcomes


def warm_up() -> None:
    """Load what takes seconds, in the background, before there is a figure to measure; `mkdocs serve` has the time."""
    context = _context()
    if context.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(list(PRELOAD))
        with STARTING, _without_main(), _one_thread_from_the_start():
            forkserver.ensure_running()


def _context() -> Any:
    """How processes are started: from a fork server where there is one; VGDOCS_START names another way."""
    methods = multiprocessing.get_all_start_methods()
    method = os.environ.get("VGDOCS_START") or ("forkserver" if "forkserver" in methods else "spawn")
    if method not in {"forkserver", "spawn"} & set(methods):
        raise SettingError(f"VGDOCS_START is {method!r}: on this system figures start by {' or '.join(methods)}")
    if "forkserver" not in methods:
        multiprocessing.set_start_method(method, force=True)  # a child takes its caller's default for its own
    return multiprocessing.get_context(method)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _positive(name: str, default: Any, kind: type[int] | type[float], what: str) -> Any:
    """A setting of the environment; raises SettingError unless it is a finite number above zero."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        value = kind(0)
    if not 0 < value < math.inf:
        raise SettingError(f"{name} is {text!r}: it takes {what}, above zero")
    return value


def _task(figure: Figure, store: Store, seed: int | None, device: str) -> _Task:
    keys = make_keys(figure, seed, device)
    return _Task(figure, figure.seed if seed is None else seed, device, keys, store.find(figure.name, keys))


def _acquire(store: Store, figure: Figure) -> BaseFileLock | FigureError | None:
    """The figure's lock, None while another build holds it, or why there can't be one."""
    try:
        lock = store.lock(figure.name)
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except (StoreError, OSError) as error:
        return FigureError(figure.path, f"can't be measured: the store isn't writable: {error}")
    return lock


@cache
def _alive() -> tuple[Connection, Connection]:
    """A pipe in which nothing is written, and which ends with this process."""
    return multiprocessing.Pipe(duplex=False)


def _start(context: Any, store: Store, task: _Task, lock: BaseFileLock, limit: float) -> _Running:
    receiver, sender = context.Pipe(duplex=False)
    job = worker.Job(
        path=str(task.figure.path),
        text=task.figure.text,
        root=str(store.root),
        seed=task.seed,
        device=task.device,
        measured=task.known.measured if task.known else None,
    )
    arguments = (job, sender, _alive()[0])
    process = context.Process(target=worker.work, args=arguments, name=task.figure.name, daemon=True)
    with STARTING, _without_main(), _one_thread_from_the_start():
        process.start()
    sender.close()
    return _Running(task, process, receiver, lock, time.monotonic() + limit)


def _collect(job: _Running, store: Store, limit: float) -> Record | FigureError | None:
    """What became of a process that reported, died or ran out of time; None if its sources changed meanwhile."""
    task, figure = job.task, job.task.figure
    try:
        if not job.connection.poll():
            if time.monotonic() > job.deadline:
                return FigureError(figure.path, f"hangs: stopped after {limit:g} s")
            job.process.join(5)
            return FigureError(figure.path, f"died without a word: {_exit(job.process)}")
        try:
            outcome = json.loads(job.connection.recv_bytes())
        except (EOFError, OSError):  # nothing was sent, or only a part
            job.process.join(5)
            return FigureError(figure.path, f"died without a word: {_exit(job.process)}")
        # what was drawn and judged anew was measured from what it was known to read
        inputs = (task.known.inputs if task.known else {}) | outcome["inputs"]
        if not observe.hold(inputs, store.root):
            if task.tries + 1 < TRIES:
                return None
            return FigureError(figure.path, f"reads what changes while it is measured: {', '.join(sorted(inputs))}")
        if error := outcome.get("error"):
            return FigureError(figure.path, error["message"], error["line"], error["details"], inputs)
        record = Record(
            name=figure.name,
            seed=task.seed,
            device=task.device,
            keys=task.keys,
            measured=outcome["measured"],
            plot=outcome["plot"],
            verdicts=tuple(Verdict(**{**v, "read": tuple(v["read"])}) for v in outcome["verdicts"]),
            inputs=dict(sorted(inputs.items())),
            versions=(task.known.versions if task.known else {}) | outcome["versions"],
            made=task.known.made if task.known else datetime.now(UTC).isoformat(timespec="microseconds"),
            seconds=task.known.seconds if task.known else outcome["seconds"],
        )
        try:
            store.save(record)
        except StoreError as error:
            return FigureError(figure.path, f"was measured, but {error}")
        return record
    finally:
        _end(job)


def _end(job: _Running) -> None:
    """End a figure's process, with all that it started."""
    pid = job.process.pid
    if job.process.is_alive() and not hasattr(os, "killpg"):
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)
    if hasattr(os, "killpg") and pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    if job.process.is_alive():
        job.process.kill()
    job.process.join(5)
    job.connection.close()
    job.lock.release()


def _exit(process: BaseProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep the child from importing the caller's main module, be it mkdocs or pytest: it needs neither."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _one_thread_from_the_start() -> Iterator[None]:
    """The fork server reads these variables when it loads torch, which is at the first start."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
