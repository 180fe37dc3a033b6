"""Makes records: each figure in a process of its own, as many at a time as there are cores, or on another executor.

Here figures are looked up, handed out and collected. Who runs them is one of `concurrent.futures`' executors: this
machine's threads, each of which attends one figure's process, or those of a cluster (`cluster`).
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from filelock import BaseFileLock, Timeout

from vgdocs.engine import observe
from vgdocs.engine.figure import Figure, FigureError, SettingError
from vgdocs.engine.process import attend, preload, start_method
from vgdocs.engine.record import Keys, Record, Verdict, make_keys
from vgdocs.engine.store import Store, StoreError
from vgdocs.engine.worker import Job

TIME_LIMIT = 600.0  # seconds a figure may take before it counts as hanging; VGDOCS_TIME_LIMIT overrides
POLL = 0.2  # seconds between looks at a figure that another build is measuring
TRIES = 3  # at a figure that is killed, or of which something that it reads changes while it is measured

Outcome = Record | FigureError
Progress = Callable[[str, Outcome, int, int], None]


@dataclass(frozen=True)
class Task:
    """A figure to measure with a seed, its own if none is given."""

    figure: Figure
    seed: int | None = None
    device: str = "cpu"

    @property
    def keys(self) -> Keys:
        return make_keys(self.figure, self.seed, self.device)


@dataclass
class _Stale:
    """A task that has no record yet, by its place among the tasks."""

    index: int
    task: Task
    keys: Keys
    known: Record | None = None  # an older measurement that stands; it only needs drawing and judging
    lock: BaseFileLock | None = None  # held while it is measured here
    waited_since: float | None = None  # while another build measures it
    tries: int = 0

    @property
    def seed(self) -> int:
        return self.task.figure.seed if self.task.seed is None else self.task.seed

    def error(self, message: str) -> FigureError:
        return FigureError(self.task.figure.path, message)


class _Here(ThreadPoolExecutor):
    """This machine: a thread for each figure that runs at a time. They stop at once when the block is left."""

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)
        self.over = Event()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        return super().submit(function, *arguments, self.over.is_set)

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.shutdown(cancel_futures=True)


def longest_first(names: Iterable[str], seconds: Mapping[str, float]) -> list[tuple[float, str]]:
    """Names with the seconds that they take; one of which that isn't known counts as an average one."""
    average = sum(seconds.values()) / len(seconds) if seconds else 1.0
    return sorted(((seconds.get(name, average), name) for name in names), key=lambda timed: (-timed[0], timed[1]))


def share(names: Iterable[str], index: int, count: int, seconds: Mapping[str, float]) -> list[str]:
    """The share of machine `index` of `count` (from 1): the same on whichever it is made, and about equally long.

    The figure that takes longest goes first, always to the machine with the least to do.
    """
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for taken, name in longest_first(names, seconds):
        least = loads.index(min(loads))
        shares[least].append(name)
        loads[least] += taken
    return shares[index - 1]


def run(
    tasks: Iterable[Task],
    store: Store,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    time_limit: float | None = None,
    seconds: Mapping[str, float] | None = None,
    started: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Bring the record of each task up to date; every one is tried, whatever happens to the others.

    Without an `executor` they run on this machine, `jobs` at a time, and no two builds measure the same; an executor
    is given all at once. Those of which `seconds` says that they take longest begin. `started()` is called if one is
    stale, and `progress(name, outcome, done, total)` as each of those finishes. A claim that fails is no error here: it
    stands in the record's verdicts. Raises SettingError for a VGDOCS_JOBS, VGDOCS_TIME_LIMIT or VGDOCS_START that
    makes no sense.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _positive("VGDOCS_TIME_LIMIT", time_limit or TIME_LIMIT, float, "seconds")
    jobs = jobs or _positive("VGDOCS_JOBS", cores, int, "a whole number of figures at a time")
    start_method()
    tasks = list(tasks)
    outcomes: dict[int, Outcome] = {}
    stale: dict[str, list[_Stale]] = {}
    for index, task in enumerate(tasks):
        keys = task.keys
        known = store.find(task.figure.name, keys)
        if known and known.keys == keys:
            outcomes[index] = known
        else:
            stale.setdefault(task.figure.name, []).append(_Stale(index, task, keys))
    if stale and started:
        started()
    waiting = deque(one for _, name in longest_first(stale, seconds or {}) for one in stale[name])
    preloaded = preload(one.task.figure.text for one in waiting)
    fresh, total = len(outcomes), len(waiting)
    several = len({task.seed for task in tasks}) > 1
    running: dict[Future[dict[str, Any]], _Stale] = {}

    def finish(one: _Stale, outcome: Outcome) -> None:
        outcomes[one.index] = outcome
        if progress:
            name = one.task.figure.name
            progress(f"{name}, seed {one.seed}" if several else name, outcome, len(outcomes) - fresh, total)

    with ExitStack() as stack:
        stack.callback(_abandon, running)
        here = executor is None
        pool = executor or stack.enter_context(_Here(jobs))
        while waiting or running:
            for _ in range(len(waiting)):
                if here and len(running) >= jobs:
                    break
                one = waiting.popleft()
                begun = _begin(store, one, limit, locked=here)
                if begun is None:
                    waiting.append(one)
                elif isinstance(begun, Job):
                    running[pool.submit(attend, begun, limit, preloaded)] = one
                else:
                    finish(one, begun)
            if waiting and not running:
                time.sleep(POLL)
            for future in wait(running, POLL, FIRST_COMPLETED).done:
                one = running.pop(future)
                outcome = _collect(one, future, store)
                if one.lock:
                    one.lock.release()
                if outcome is None:
                    waiting.append(one)
                else:
                    finish(one, outcome)
    return [outcomes[index] for index in range(len(tasks))]


def _abandon(running: Mapping[Future[Any], _Stale]) -> None:
    for future, one in running.items():
        future.cancel()
        if one.lock:
            one.lock.release()


def _begin(store: Store, one: _Stale, limit: float, locked: bool) -> Job | Outcome | None:
    """What is to be run, or the outcome if nothing is; None while another build measures it."""
    figure = one.task.figure
    if locked:
        try:
            one.lock = store.lock(f"{figure.name}-{one.seed}")
            one.lock.acquire(timeout=0)
        except Timeout:
            one.lock = None
            one.waited_since = one.waited_since or time.monotonic()
            if time.monotonic() > one.waited_since + 2 * limit:
                return one.error("is being measured by another build, without end")
            return None
        except (StoreError, OSError) as error:
            one.lock = None
            return one.error(f"can't be measured: the store isn't writable: {error}")
    # another build may have measured it while this one waited for the lock
    one.known = store.find(figure.name, one.keys)
    if one.known and one.known.keys == one.keys:
        if one.lock:
            one.lock.release()
        return one.known
    return Job(
        path=str(figure.path),
        text=figure.text,
        root=str(store.root),
        seed=one.seed,
        device=one.task.device,
        measured=one.known.measured if one.known else None,
    )


def _collect(one: _Stale, future: Future[dict[str, Any]], store: Store) -> Outcome | None:
    """The outcome of a figure that was run; None if it is to be run again: it was killed, or its sources changed."""
    figure, known = one.task.figure, one.known
    try:
        outcome = future.result()
    except SettingError:
        raise
    except Exception as failure:  # of the executor: whatever becomes of a figure is told by its outcome
        return one.error(f"can't be measured: {type(failure).__name__}: {failure}")
    # what was drawn and judged anew was measured from what it was known to read
    inputs = (known.inputs if known else {}) | outcome["inputs"]
    held = observe.hold(inputs, store.root)
    if not held or outcome.get("killed"):
        one.tries += 1
        if one.tries < TRIES:
            return None
    if not held:
        return one.error(f"reads what changes while it is measured: {', '.join(sorted(inputs))}")
    if error := outcome.get("error"):
        return FigureError(figure.path, error["message"], error["line"], error["details"], inputs)
    record = Record(
        name=figure.name,
        seed=one.seed,
        device=one.task.device,
        keys=one.keys,
        measured=outcome["measured"],
        plot=outcome["plot"],
        verdicts=tuple(Verdict(**verdict) for verdict in outcome["verdicts"]),
        inputs=dict(sorted(inputs.items())),
        versions=(known.versions if known else {}) | outcome["versions"],
        made=known.made if known else datetime.now(UTC).isoformat(timespec="microseconds"),
        seconds=known.seconds if known else outcome["seconds"],
    )
    if not record.is_of_these_versions:
        made_with = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        return one.error(f"was measured where other versions are installed than here: {made_with}")
    try:
        store.save(record)
    except StoreError as error:
        return one.error(f"was measured, but {error}")
    return record


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
