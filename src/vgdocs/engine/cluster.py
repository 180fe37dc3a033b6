"""Figures measured on a cluster of Dask's, whose scheduler gives each to a worker and brings its outcome home.

A worker takes figures if it would measure what this machine measures: the project's folder lies there at the same
path, with the same scripts and data, beside the same source of this package and the same versions of Python and the
libraries that the scripts import. What else a measurement turns out to rest on is compared when its outcome is home.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import pickle
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, get_worker

from vgdocs.engine import observe
from vgdocs.engine.figure import SettingError
from vgdocs.engine.numbers import count
from vgdocs.engine.record import versions

LOCAL = "local"
REST = 2.0  # seconds that a worker which doesn't fit keeps a figure, lest it asks for one after the other
UNSEEN = "127.0.0.1:0"  # Dask's own pages, on any free port and for this machine alone
TIMEOUT = 10.0  # seconds in which a scheduler answers
NAMED = 3  # of the differences between two machines, in a message

Surroundings = dict[str, str]


def surroundings(folder: Path, libraries: Iterable[str]) -> Surroundings:
    """What figures are measured with on this machine: versions, and the digest of each file, by name."""
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    for base in (folder, observe.PACKAGE):
        for path in sorted(base.rglob("*")):
            if path.is_file() and path.suffix != ".pyc" and (base == folder or path.suffix == ".py"):
                name = f"{base.name}/{path.relative_to(base).as_posix()}"
                found[name] = observe.digest(path.read_bytes())[:12]
    return found


def _libraries(here: Surroundings) -> list[str]:
    return [name for name in here if "/" not in name and name != "python"]


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What is another there than here, in words; empty if nothing is."""
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    told = [f"{name} is {there.get(name, 'missing')}, and here {here.get(name, 'missing')}" for name in names[:NAMED]]
    return "; ".join([*told, *([f"and {len(names) - NAMED} more"] if names[NAMED:] else [])])


@contextmanager
def connect(
    address: str, folder: Path, scripts: Iterable[str], jobs: int | None, tell: Callable[[str], object]
) -> Iterator[Executor]:
    """An executor on the cluster whose scheduler is at an address, or on one of this machine's own processes.

    `folder` holds the figures' scripts, of which `scripts` are the texts to be measured, and their data; `jobs` is the
    number of processes of a `local` cluster. Raises SettingError if no scheduler answers, or no worker fits.
    """
    here = surroundings(folder, versions(scripts).keys() - {"python"})
    with ExitStack() as stack:
        scheduler: Any = address
        if address == LOCAL:
            local = LocalCluster(n_workers=jobs, threads_per_worker=1 if jobs else None, dashboard_address=UNSEEN)
            scheduler = stack.enter_context(local)
        try:
            client = stack.enter_context(Client(scheduler, timeout=TIMEOUT, set_as_default=False))
        except (OSError, ValueError) as error:
            raise SettingError(f"no scheduler of Dask's answers at {address}: {error}") from None
        executor = _Cluster(client, here, folder, tell)
        executor.look()
        yield executor


@dataclass
class _Cluster(Executor):
    """Hands calls to workers that fit, and to others only if none of those is left."""

    client: Client
    here: Surroundings
    folder: Path
    tell: Callable[[str], object]
    fit: set[str] = field(default_factory=set)  # the addresses of workers
    refused: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Compare the workers that are there now; raises SettingError if there are some and none fits."""
        found = self.client.run(surroundings, self.folder, _libraries(self.here), on_error="return")
        for worker, there in found.items():
            failed = isinstance(there, BaseException)
            self.judge(worker, f"vgdocs can't be loaded: {there}" if failed else differences(self.here, there))
        if self.refused and not self.fit:
            raise SettingError("no worker measures what this machine does")
        threads = sum(threads for worker, threads in self.client.nthreads().items() if worker in self.fit)
        self.tell(f"figures run on {count(len(self.fit), 'worker')}, {threads} at a time" if found else "no worker yet")

    def judge(self, worker: str, why: str) -> None:
        if not why:
            self.fit.add(worker)
            return
        self.fit.discard(worker)
        if worker not in self.refused:
            self.refused.add(worker)
            self.tell(f"the worker {worker} is refused: {why}")

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        outer: Future[Any] = Future()
        self._hand_out(pickle.dumps((function, arguments)), outer)
        return outer

    def _hand_out(self, call: bytes, outer: Future[Any]) -> None:
        # where all fit, the scheduler is as free as it can be: to move figures, to wait for workers that come
        only = {"workers": sorted(self.fit), "allow_other_workers": True} if self.refused and self.fit else {}
        inner = self.client.get_executor(pure=False, **only).submit(_there, self.here, self.folder, call)

        def done(inner: Future[Any]) -> None:
            if outer.cancelled():
                return
            if inner.cancelled():
                outer.cancel()
                outer.set_running_or_notify_cancel()
            elif error := inner.exception():
                outer.set_exception(error)
            else:
                worker, why, outcome = inner.result()
                self.judge(worker, why)
                if why:
                    self._hand_out(call, outer)
                elif outer.set_running_or_notify_cancel():
                    outer.set_result(outcome)

        inner.add_done_callback(done)
        outer.add_done_callback(lambda outer: outer.cancelled() and inner.cancel())


def _there(here: Surroundings, folder: Path, call: bytes) -> tuple[str, str, Any]:
    """On a worker: its address, why it doesn't fit, and if it does the outcome of a call."""
    worker = get_worker()
    key = worker.get_current_task()

    def over() -> bool:
        """Whether nobody waits for the outcome: the call was cancelled, or the caller is gone."""
        task = worker.state.tasks.get(key)
        return task is None or task.state != "executing"

    why = differences(here, surroundings(folder, _libraries(here)))
    if why:
        until = time.monotonic() + REST
        while time.monotonic() < until and not over():
            time.sleep(0.1)
        return worker.address, why, None
    multiprocessing.current_process().daemon = False  # Dask's are, and a daemon may start no process; ours ends with it
    function, arguments = pickle.loads(call)
    return worker.address, "", function(*arguments, over)
