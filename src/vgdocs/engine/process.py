"""A figure's own process, from outside: it is started, awaited and ended, with all that it started.

Processes are forked from a server that has torch and plotly loaded, but never vgdocs, so that an edited module counts
at once; where there is no such server, each is started anew. A process is watched by its sentinel: one that dies
without a word is reported, not awaited. What a figure starts ends with it, and it ends with the process that awaits it.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from vgdocs.engine.figure import SettingError
from vgdocs.engine.worker import Job, work

# what takes seconds to load is loaded once, not in each figure, if one of the scripts has a word that calls for it
PRELOAD = {
    "torch": "torch|vgdocs",
    "torch._dynamo": "optim|experiments",  # torch's optimisers load it
    "sklearn.datasets": "sklearn|experiments",
    "sklearn.model_selection": "sklearn|experiments",
    "plotly.basedatatypes": "plotly",  # what graph_objects, which is lazy, loads with the first figure
}
DRESS = {  # a variable without a value is taken away
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": None,  # with Dask's a worker gives memory back at each tensor's end: a third more time
}
POLL = 0.2  # seconds between looks at whether an outcome is still wanted
# held while a process starts or is asked for its end: multiprocessing asks the others too, and not safely so
STARTING = threading.Lock()


def preload(scripts: Iterable[str]) -> tuple[str, ...]:
    """The modules that the fork server is to load for these texts of scripts."""
    text = "\n".join(scripts)
    return tuple(module for module, words in PRELOAD.items() if re.search(words, text))


def attend(job: Job, limit: float, preloaded: Sequence[str] = (), over: Callable[[], bool] = bool) -> dict[str, Any]:
    """Run one job in a process of its own, and hand back what it reports, or an error: see `worker.work`.

    It may take `limit` seconds; once `over` says that nobody waits for the outcome, it is stopped. Whether the process
    was killed from outside is told as `killed`: another try may well succeed.
    """
    context = start_method()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, sender, _alive()[0]), daemon=True)
    with _dressed_up():
        context.set_forkserver_preload(list(preloaded))
        process.start()
    sender.close()
    deadline = time.monotonic() + limit
    try:
        while not (ready := wait([receiver, process.sentinel], POLL)):
            if over():
                return _error("was stopped: nobody waits for it")
            if time.monotonic() > deadline:
                return _error(f"hangs: stopped after {limit:g} s")
        if receiver in ready or receiver.poll():
            with contextlib.suppress(EOFError, OSError):  # nothing was sent, or only a part
                outcome: dict[str, Any] = json.loads(receiver.recv_bytes())
                return outcome
        with STARTING:
            process.join(5)
            code = process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        killed = how.endswith("SIGKILL")
        hint = ", as systems do when memory runs short" if killed else ""
        return _error(f"died without a word: {how}{hint}") | {"killed": killed}
    finally:
        _end(process)
        receiver.close()


def warm_up() -> None:
    """Load what takes seconds, in the background, before there is a figure to measure; `mkdocs serve` has the time."""
    context = start_method()
    if context.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        context.set_forkserver_preload(list(PRELOAD))
        with _dressed_up():
            forkserver.ensure_running()


def start_method() -> Any:
    """The way in which processes start: from a fork server where there is one; VGDOCS_START names another."""
    there = multiprocessing.get_all_start_methods()
    methods = [method for method in ("forkserver", "spawn") if method in there]
    method = os.environ.get("VGDOCS_START") or methods[0]
    if method not in methods:
        raise SettingError(f"VGDOCS_START is {method!r}: on this system figures start by {' or '.join(methods)}")
    if "forkserver" not in methods:
        multiprocessing.set_start_method(method, force=True)  # a child takes its caller's default for its own
    return multiprocessing.get_context(method)


@cache
def _alive() -> tuple[Connection, Connection]:
    """A pipe in which nothing is written, and which ends with this process."""
    return multiprocessing.Pipe(duplex=False)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "line": None, "details": ""}, "inputs": {}}


def _end(process: BaseProcess) -> None:
    """End a figure's process, with all that it started."""
    pid = process.pid
    with STARTING:
        if process.is_alive() and not hasattr(os, "killpg"):
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)
        if hasattr(os, "killpg") and pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        if process.is_alive():
            process.kill()
        process.join(5)


@contextlib.contextmanager
def _dressed_up() -> Iterator[None]:
    """The environment in which a process starts; one at a time.

    The caller's main module is hidden, be it mkdocs or pytest: the child would import it, and needs neither. The
    variables are read when Python and torch are loaded, by the fork server at the first start.
    """
    with STARTING:
        main, before = sys.modules["__main__"], {name: os.environ.pop(name) for name in DRESS if name in os.environ}
        sys.modules["__main__"] = types.ModuleType("__main__")
        os.environ.update({name: value for name, value in DRESS.items() if value})
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            for name in DRESS:
                os.environ.pop(name, None)
            os.environ.update(before)
