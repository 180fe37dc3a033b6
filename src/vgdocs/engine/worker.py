"""A figure's own process: runs the script's text, measures, draws, has it judged, reports.

This module is imported anew in each process, so that under `mkdocs serve` an edited vgdocs module counts at once.
"""

from __future__ import annotations

import base64
import copy
import inspect
import io
import json
import linecache
import math
import os
import signal
import sys
import threading
import time
import traceback
import types
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vgdocs.engine import observe
from vgdocs.engine.claims import ASKED, compiled, judge, line_of
from vgdocs.engine.figure import FigureError
from vgdocs.engine.record import ContractError, check_measured, check_plot, has_half_a_character, versions

SIGNIFICANT_DIGITS = 6  # of a plotted point: more than a screen can show, a third of the bytes


@dataclass(frozen=True)
class Job:
    """One script to run; with `measured` given, only its drawing and claims are."""

    path: str
    text: str
    root: str  # the project's folder
    seed: int
    device: str
    measured: dict[str, Any] | None


def work(job: Job, connection: Connection, parent: Connection) -> None:
    """Run one job and send its outcome as JSON: measured, plot, verdicts and seconds, or an error; and its inputs.

    `parent` is the reading end of a pipe in which nothing is ever written: it ends with the process that waits for
    the outcome, and this one, with all that the script started, ends then too.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, which can be ended as a whole
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    printed = io.StringIO()
    watch = observe.Watch(Path(job.root))
    for name in [name for name in sys.modules if name.partition(".")[0] == "vgdocs"]:
        del sys.modules[name]  # a script that imports one is then seen to read it
    try:
        if job.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it CUDA's matrix products aren't deterministic
        with redirect_stdout(printed), watch:
            outcome = _run(job)
        if text := printed.getvalue():
            raise ContractError(f"prints; a figure returns what it measures. It printed:\n{text[:2000].rstrip()}")
        outcome["versions"] = versions([job.text, *observe.sources(watch.inputs, watch.root)])
        outcome["inputs"] = watch.inputs
        message = json.dumps(outcome, allow_nan=False, ensure_ascii=False).encode()
    except BaseException as error:  # SystemExit too: whatever ends the script is told to its author
        told = {"error": _explain(error, job.path), "inputs": watch.inputs}
        # half a character, as in "\ud800", can't be written; what is told about it has to be
        message = json.dumps(told, ensure_ascii=False).encode(errors="replace")
    connection.send_bytes(message)
    connection.close()


def load(path: str, text: str) -> types.ModuleType:
    """Execute a script's text as a module of its file's name."""
    module = types.ModuleType(Path(path).stem)
    module.__file__ = path
    # tracebacks quote the lines that ran, even if the file has changed since
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    sys.modules[module.__name__] = module
    code, vars(module)[ASKED] = compiled(path, text)
    exec(code, module.__dict__)
    return module


def _run(job: Job) -> dict[str, Any]:
    module = load(job.path, job.text)
    # whoever doesn't use it needn't wait a second for it
    if "torch" in sys.modules or "torch" in job.text or job.device != "cpu":
        _use_one_thread(job.device)
    seconds = 0.0
    measured = job.measured
    if measured is None:
        takes_device = "device" in inspect.signature(module.measure).parameters
        arguments = {"device": job.device} if takes_device else {}
        start = time.process_time()
        measured = module.measure(job.seed, **arguments)
        seconds = time.process_time() - start
        if type(measured) is not dict:
            raise ContractError(f"measure() returned a {type(measured).__name__}, not a dict")
        check_measured(measured)
    # a copy: whatever drawing does to what it is given, the record holds what was measured
    plot = _plain_plot(module.draw(copy.deepcopy(measured)))
    verdicts = [asdict(verdict) for verdict in judge(module, measured)]
    return {"measured": measured, "plot": plot, "verdicts": verdicts, "seconds": round(seconds, 6)}


def _plain_plot(figure: Any) -> dict[str, Any]:
    """A plot as the JSON that a page carries: no template, and no more digits than can be seen."""
    if not hasattr(figure, "to_plotly_json"):
        raise ContractError(f"draw() returned a {type(figure).__name__}, not a plotly Figure")
    plot = json.loads(figure.to_json())
    plot["layout"].pop("template", None)
    kept = {"data": _plain(plot["data"]), "layout": _plain(plot["layout"])}
    check_plot(kept)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, str) and has_half_a_character(value):
        raise ContractError(f"draw() writes half a character, {value!r}, which can't be put into a page")
    if isinstance(value, dict) and "bdata" in value:  # how plotly packs an array: the page's table needs its points
        value = _unpacked(value)
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _unpacked(packed: dict[str, Any]) -> Any:
    import numpy

    array = numpy.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])
    shape = [int(size) for size in packed.get("shape", "").split(",") if size] or [-1]
    return array.reshape(shape).tolist()


def _use_one_thread(device: str) -> None:
    """One thread a figure: accuracies move with the number of threads, and many figures run at once."""
    try:
        import torch
    except ModuleNotFoundError:
        if device == "cpu":
            return  # the script speaks of torch, and doesn't use it
        raise ContractError(f"can't be measured on {device}: PyTorch isn't installed") from None
    if device != "cpu" and not torch.cuda.is_available():
        raise ContractError(f"can't be measured on {device}: PyTorch {torch.__version__} finds none on this machine")
    torch.set_num_threads(1)
    # use_deterministic_algorithms says the same, but loads torch's compiler
    torch.set_deterministic_debug_mode("warn")


def _explain(error: BaseException, path: str) -> dict[str, Any]:
    message, line, details = str(error), None, ""
    if isinstance(error, FigureError):
        message, line = error.message, error.line
    elif isinstance(error, SystemExit):
        message, line = "calls exit()", line_of(error, path)
    elif not isinstance(error, ContractError):
        message, line = f"raises {type(error).__name__}: {error}", line_of(error, path)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
        details = "".join(traceback.format_list(frames[-6:]) + traceback.format_exception_only(error))
    return {"message": message, "line": line, "details": details}


def _end_with(parent: Connection) -> None:
    """Wait for the parent's end, and let nothing of this process outlive it."""
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
