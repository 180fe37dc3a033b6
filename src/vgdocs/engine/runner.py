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
STARTING = threading.Lock()  # held while a process starts

Progress = Callable[[str, "Record | FigureError", int, int], None]


@dataclass
class _Task:
    """One figure to bring up to date."""

    figure: Figure
    seed: int
    device: str
    keys: Keys
    known: Record | None = None  # an older measurement that stands; it only needs drawing and judging
    waited_since: float | None = None  # while another build measures it
    tries: int = 0


@dataclass
class _Running:
    task: _Task
    process: BaseProcess
    connection: Connection
    lock: BaseFileLock
    deadline: float


def share(names: Iterable[str], index: int, count: int, seconds: Mapping[str, float]) -> list[str]:
    """The share of machine `index` of `count` (from 1): the same on whichever it is made, and about equally long.

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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _positive("VGDOCS_TIME_LIMIT", time_limit or TIME_LIMIT, float, "seconds")
    jobs = jobs or _positive("VGDOCS_JOBS", cores, int, "a whole number of figures at a time")
    context = _context()
    outcomes: dict[str, Record | FigureError] = {}
    waiting: deque[_Task] = deque()
    for figure in sorted(figures, key=lambda figure: "rates" not in figure.sweep):  # no core waits for a sweep at last
        keys = make_keys(figure, seed, device)
        known = store.find(figure.name, keys)
        if known and known.keys == keys:
            outcomes[figure.name] = known
        else:
            waiting.append(_Task(figure, figure.seed if seed is None else seed, device, keys))

    text = "\n".join(task.figure.text for task in waiting)
    context.set_forkserver_preload([module for module, words in PRELOAD.items() if re.search(words, text)])
    fresh, total = len(outcomes), len(waiting)
    running: list[_Running] = []

    def finish(task: _Task, outcome: Record | FigureError) -> None:
        outcomes[task.figure.name] = outcome
        if progress:
            progress(task.figure.name, outcome, len(outcomes) - fresh, total)

    try:
        while waiting or running:
            for _ in range(len(waiting)):
                if len(running) >= jobs:
                    break
                task = waiting.popleft()
                begun = _begin(context, store, task, limit)
                if begun is None:
                    waiting.append(task)
                elif isinstance(begun, _Running):
                    running.append(begun)
                else:
                    finish(task, begun)
            ready = wait([r.connection for r in running] + [r.process.sentinel for r in running], POLL)
            for job in list(running):
                if job.connection in ready or job.process.sentinel in ready or time.monotonic() > job.deadline:
                    running.remove(job)
                    outcome = _collect(job, store, limit)
                    if outcome is None:
                        waiting.append(job.task)
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
        with _dressed_up():
            forkserver.ensure_running()


def _context() -> Any:
    """The way in which processes start: from a fork server where there is one; VGDOCS_START names another."""
    there = multiprocessing.get_all_start_methods()
    methods = [method for method in ("forkserver", "spawn") if method in there]
    method = os.environ.get("VGDOCS_START") or methods[0]
    if method not in methods:
        raise SettingError(f"VGDOCS_START is {method!r}: on this system figures start by {' or '.join(methods)}")
    if "forkserver" not in methods:
        multiprocessing.set_start_method(method, force=True)  # a child takes its caller's default for its own
    return multiprocessing.get_context(method)


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


@cache
def _alive() -> tuple[Connection, Connection]:
    """A pipe in which nothing is written, and which ends with this process."""
    return multiprocessing.Pipe(duplex=False)


def _begin(context: Any, store: Store, task: _Task, limit: float) -> _Running | Record | FigureError | None:
    """A figure's process, or its outcome if there is nothing to start; None while another build measures it."""
    figure = task.figure
    try:
        lock = store.lock(figure.name)
        lock.acquire(timeout=0)
    except Timeout:
        task.waited_since = task.waited_since or time.monotonic()
        if time.monotonic() > task.waited_since + 2 * limit:
            return FigureError(figure.path, "is being measured by another build, without end")
        return None
    except (StoreError, OSError) as error:
        return FigureError(figure.path, f"can't be measured: the store isn't writable: {error}")
    # another build may have measured it while this one waited for the lock
    task.known = store.find(figure.name, task.keys)
    if task.known and task.known.keys == task.keys:
        lock.release()
        return task.known
    receiver, sender = context.Pipe(duplex=False)
    job = worker.Job(
        path=str(figure.path),
        text=figure.text,
        root=str(store.root),
        seed=task.seed,
        device=task.device,
        measured=task.known.measured if task.known else None,
    )
    process = context.Process(target=worker.work, args=(job, sender, _alive()[0]), name=figure.name, daemon=True)
    with _dressed_up():
        process.start()
    sender.close()
    return _Running(task, process, receiver, lock, time.monotonic() + limit)


def _collect(job: _Running, store: Store, limit: float) -> Record | FigureError | None:
    """The outcome of a process that reported, died or ran out of time; None if its sources changed meanwhile."""
    task, figure, known = job.task, job.task.figure, job.task.known
    outcome = None
    try:
        if job.connection.poll():
            with contextlib.suppress(EOFError, OSError):  # nothing was sent, or only a part
                outcome = json.loads(job.connection.recv_bytes())
        elif time.monotonic() > job.deadline:
            return FigureError(figure.path, f"hangs: stopped after {limit:g} s")
        if outcome is None:
            job.process.join(5)
            code = job.process.exitcode
            how = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            return FigureError(figure.path, f"died without a word: {how}")
        # what was drawn and judged anew was measured from what it was known to read
        inputs = (known.inputs if known else {}) | outcome["inputs"]
        if not observe.hold(inputs, store.root):
            task.tries += 1
            if task.tries < TRIES:
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
            verdicts=tuple(Verdict(**verdict) for verdict in outcome["verdicts"]),
            inputs=dict(sorted(inputs.items())),
            versions=(known.versions if known else {}) | outcome["versions"],
            made=known.made if known else datetime.now(UTC).isoformat(timespec="microseconds"),
            seconds=known.seconds if known else outcome["seconds"],
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


@contextlib.contextmanager
def _dressed_up() -> Iterator[None]:
    """The environment in which a process starts; one at a time.

    The caller's main module is hidden, be it mkdocs or pytest: the child would import it, and needs neither. The
    variables are read when torch is loaded, by the fork server at the first start.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    with STARTING:
        main, before = sys.modules["__main__"], {name: os.environ.get(name) for name in names}
        sys.modules["__main__"] = types.ModuleType("__main__")
        os.environ.update(dict.fromkeys(names, "1"))
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
