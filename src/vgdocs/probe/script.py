"""A training script, unchanged, with probes on what it trains: `vgdocs diagnose train.py`.

Nothing is attached until an optimizer was built and a module is called after that: by then the model, the optimizer and
the scaler are there, and the first forward pass still lies ahead.
"""

from __future__ import annotations

import runpy
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter

from vgdocs.probe.finding import SITE
from vgdocs.probe.found import Attached, alive, models_of, names_in_use
from vgdocs.probe.report import Watched

NO_LOADER = (
    "--epochs counts passes through a DataLoader, and none is in use: the script runs to its own end. --steps N ends "
    "it after N steps, Ctrl-C at once"
)
NO_STEP = (
    "nothing to diagnose: no optimizer of torch.optim made a step in this process. A loop that moves the weights by "
    "other means can be watched from inside, by `with Probe(model)` around it"
)
NEVER_STEPPED = "nothing to diagnose: an optimizer was built and its model called, but optimizer.step() never was"
ENDED_EARLY = "nothing to diagnose: the script ended before an optimizer of torch.optim made a step"
NO_MODULE = "nothing to diagnose: what the script's optimizers hold lies in no module"
EAGER = "torch.compile was left out, because inside a compiled model nothing can be seen"


class Finished(BaseException):
    """The script has run as long as it was asked to; not an Exception, so that no handler of the script's takes it."""


@dataclass
class Run:
    """How a script's run ended: what was watched, what is to be told beside it, and the exit code that it asked for."""

    watched: list[Watched] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    code: int = 0

    @property
    def empty(self) -> bool:
        return not any(one.verdict for one in self.watched)

    def text(self, site: str | None = SITE) -> str:
        """The verdict on each model, and the notes."""
        parts = [one.text(site) for one in self.watched]
        return "\n\n".join([*parts, *(f"Note: {note}." for note in self.notes)])


def run(
    script: Path,
    arguments: Sequence[str] = (),
    *,
    epochs: int | None = None,
    steps: int | None = None,
    every: int | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> Run:
    """Run a script as `python script arguments` would, and watch what it trains.

    `steps` ends it before any one optimizer makes a step more than that. An epoch is a whole pass through a DataLoader
    in which an optimizer stepped; `epochs` ends the run before the first step of the pass after that many. Either way,
    what the script does between its last step and the next is done. `tell` is called with what should be known while
    the script runs.

    An exception's traceback is printed, from the script's own first line on, and becomes the exit code, as do Ctrl-C
    and `sys.exit`.
    """
    watching = _Watching(epochs, steps, every, tell)
    settings = {"Script": " ".join([str(script), *arguments])}
    script = script.absolute()  # as in `__file__`
    code = 0
    error: BaseException | None = None
    with watching, _as_if_started(script, arguments):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Finished as finished:
            error = finished
        except BaseException as raised:
            error = raised
            code = _tell_error(raised, script)
        watching.end(error)
    if watching.passes:
        settings["Epochs seen"] = f"{watching.passes:,}"
    return Run(watching.watched, watching.notes(code), settings, code)


@contextmanager
def _as_if_started(script: Path, arguments: Sequence[str]) -> Iterator[None]:
    """`sys.argv` and the first folder of `sys.path` as they are for a script."""
    before = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(script), *arguments], str(script.resolve().parent)
    try:
        yield
    finally:
        sys.argv, sys.path[0] = before


def _tell_error(error: BaseException, script: Path) -> int:
    """Print what Python would, and return the exit code that it would end with."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _is_last(iterator: Any) -> bool:
    """Whether a loader's iterator has handed out its last batch; of streams nobody knows."""
    try:
        return bool(iterator._num_yielded >= len(iterator))
    except (TypeError, NotImplementedError):
        return False


class _Watching:
    """While it is entered, probes are put on whatever the optimizers that are built hold."""

    def __init__(self, epochs: int | None, steps: int | None, every: int | None, tell: Callable[[str], None]) -> None:
        self._epochs, self._steps, self._tell = epochs, steps, tell
        self._every = every
        self._undo = ExitStack()
        self._waiting: list[weakref.ref[torch.optim.Optimizer]] | None = None  # for the next call of a module
        self._attached: list[Attached] = []
        self._taken = 0  # steps of all optimizers
        self._taken_by: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()
        self._begun: dict[int, int] = {}  # steps before the last pass through each dataset
        self._whole: set[int] = set()  # datasets whose last pass has reached its end
        self._compiled = False
        self._failed: list[str] = []
        self.watched: list[Watched] = []
        self.passes = 0

    def __enter__(self) -> _Watching:
        self._replace(torch.optim.Optimizer, "__init__", self._building)
        self._replace(_BaseDataLoaderIter, "__next__", self._loading)
        self._replace(torch, "compile", self._compiling)
        self._undo.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        self._undo.callback(register_optimizer_step_post_hook(self._after_step).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def end(self, error: BaseException | None) -> None:
        """Take the probes off, and keep what they saw; a step that an exception cut short is not part of it."""
        self._leave(self._attached, cut_short=error is not None)
        for of in list(self._whole):
            self._end_pass(of)

    def notes(self, code: int) -> list[str]:
        """What is to be told of a script that ended with this exit code."""
        notes = list(dict.fromkeys(self._failed))
        if not self._taken:
            notes.append(ENDED_EARLY if code else NEVER_STEPPED if self.watched else NO_STEP)
        elif not self.watched and not notes:
            notes.append(NO_MODULE)
        if self._compiled:
            notes.append(EAGER)
        return notes

    def _replace(self, owner: Any, name: str, by: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        setattr(owner, name, wraps(original)(by(original)))
        self._undo.callback(setattr, owner, name, original)

    def _building(self, original: Any) -> Any:
        def build(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            if self._waiting is None:
                self._waiting = []
                self._await_call()
            self._waiting.append(weakref.ref(optimizer))

        return build

    def _await_call(self) -> None:
        """Attach at the next call of a module: at that of the outermost one, and before any hook of it is looked up."""
        original = nn.Module.__call__

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            nn.Module.__call__ = original  # type: ignore[method-assign]
            try:
                self._attach()
            except Exception as error:  # ours, for which the script must not pay
                self._failed.append(f"the probe could not be attached ({type(error).__name__}: {error})")
            return original(module, *args, **kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        self._undo.callback(setattr, nn.Module, "__call__", original)

    def _attach(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        modules, scalers = alive(nn.Module), alive(torch.amp.GradScaler)
        optimizers = [optimizer for waiter in waiting if (optimizer := waiter()) is not None]
        scaler = scalers[-1] if scalers else None
        for found in models_of(optimizers, modules, names_in_use()):
            parameters = found.parameters
            self._leave([a for a in self._attached if a.found.parameters & parameters])  # a new phase of the training
            try:
                self._attached.append(Attached(found, scaler, self._every))
            except ValueError as error:
                self._failed.append(f"{found.name} was not watched: {error}")

    def _leave(self, attached: Sequence[Attached], cut_short: bool = False) -> None:
        for one in list(attached):
            self._attached.remove(one)
            self.watched.append(one.end(cut_short))

    def _loading(self, original: Any) -> Any:
        def load(iterator: Any) -> Any:
            of = id(iterator._dataset)
            if iterator._num_yielded == 0:  # a new pass; by then the loop has made the last step of the one before
                self._end_pass(of)
                self._begun[of] = self._taken
            try:
                batch = original(iterator)
            except StopIteration:
                self._whole.add(of)
                raise
            if _is_last(iterator):  # a loop that knows how many there are needn't ask for one more
                self._whole.add(of)
            return batch

        return load

    def _end_pass(self, of: int) -> None:
        self.passes += of in self._whole and self._taken > self._begun[of]
        self._whole.discard(of)

    def _compiling(self, original: Any) -> Any:
        def compile(*args: Any, **kwargs: Any) -> Any:
            if not self._compiled:
                self._compiled = True
                torch.compiler.set_stance("force_eager")
                self._undo.callback(torch.compiler.set_stance, "default")
            return original(*args, **kwargs)

        return compile

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._epochs is not None and self.passes >= self._epochs:
            raise Finished
        if self._steps is not None and self._taken_by.get(optimizer, 0) >= self._steps:
            raise Finished
        if self._epochs is not None and not self._taken and not self._begun:
            self._tell(NO_LOADER)

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._taken += 1
        self._taken_by[optimizer] = self._taken_by.get(optimizer, 0) + 1
