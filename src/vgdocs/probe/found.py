"""Which module an optimizer trains: found by the parameters that it holds; and a probe on it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import nn

from vgdocs.probe.diagnosis import diagnose
from vgdocs.probe.report import Watched
from vgdocs.probe.watch import Probe, held_by

T = TypeVar("T")

WRAPPERS = {"OptimizedModule", "DistributedDataParallel", "DataParallel"}  # what is inside says the same, by its names


@dataclass(frozen=True)
class Found:
    """A model to watch, by the name it has in the code, and what steps it.

    `optimizer` is None where several optimizers hold parts of one module that can't be told apart: then the model is
    watched alone. `holders` are all that step it.
    """

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    holders: tuple[torch.optim.Optimizer, ...]

    @property
    def parameters(self) -> set[int]:
        return _ids(self.model.parameters())


class Attached:
    """A probe on a model that was found, until `end`."""

    def __init__(self, found: Found, scaler: torch.amp.GradScaler | None, every: int | None) -> None:
        self.found = found
        self.probe = Probe(found.model, found.optimizer, scaler if found.optimizer else None, every)
        self.probe.__enter__()

    def watched(self) -> Watched:
        """What was seen so far."""
        record = self.probe.record
        names = tuple(type(optimizer).__name__ for optimizer in self.found.holders)
        return Watched(self.found.name, names, record, diagnose(record) if len(record) else None)

    def end(self, cut_short: bool) -> Watched:
        """Take the probe off; a step that its optimizer didn't end, or that was cut short, isn't part of the record."""
        unfinished = cut_short or self.found.optimizer is not None
        self.probe.__exit__(RuntimeError if unfinished else None, None, None)
        return self.watched()


def alive(kind: type[T]) -> list[T]:
    """All objects of a kind that are in use; asked by their type, for a proxy may do anything when asked itself."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), kind)]


def models_of(
    optimizers: Sequence[torch.optim.Optimizer], modules: Iterable[nn.Module], names: dict[int, str] | None = None
) -> list[Found]:
    """The models that optimizers step, each with the optimizer that steps it; `names` says what modules are called.

    A model is the outermost module in which a parameter of the optimizer's lies, or several beside each other if
    one doesn't hold all. Where several optimizers share it, as in a GAN that is one module, each gets the smallest part
    that holds all its parameters; where these overlap, the whole is watched once, without an optimizer.
    An optimizer whose parameters lie in no module is left out.
    """
    held = {optimizer: held_by(optimizer) for optimizer in optimizers}
    everything = set[int]().union(*held.values())
    holding = [m for m in modules if type(m).__name__ not in WRAPPERS and everything & _ids(m.parameters())]
    inside = {id(part) for m in holding for part in m.modules() if part is not m}
    outermost = [m for m in holding if id(m) not in inside]
    names = names or {}
    wholes = {optimizer: _cover(outermost, own) for optimizer, own in held.items()}
    found: list[Found] = []
    left = [optimizer for optimizer in optimizers if wholes[optimizer]]
    while left:
        group = _sharing(left, wholes)
        left = [optimizer for optimizer in left if optimizer not in group]
        parts = {o: wholes[o] if len(group) == 1 else [_smallest(m, held[o]) for m in wholes[o]] for o in group}
        seen = [_ids(p for m in parts[o] for p in m.parameters()) for o in group]
        if len(set[int]().union(*seen)) == sum(map(len, seen)):
            found += [Found(*_together(parts[o], names), o, (o,)) for o in group]
        else:
            shared = list({id(m): m for o in group for m in wholes[o]}.values())
            found.append(Found(*_together(shared, names), None, tuple(group)))
    return found


def _ids(parameters: Iterable[Any]) -> set[int]:
    return {id(parameter) for parameter in parameters}


def _cover(modules: Sequence[nn.Module], held: set[int]) -> list[nn.Module]:
    """The fewest modules that hold as many of these parameters as any do; of two that hold as many, the smaller one."""

    def rank(module: nn.Module) -> tuple[int, int]:
        own = _ids(module.parameters())
        return -len(own & held), len(own)

    chosen = []
    for module in sorted(modules, key=rank):
        own = _ids(module.parameters())
        if own & held:
            chosen.append(module)
            held = held - own
    return [module for module in modules if module in chosen]


def _sharing(
    optimizers: Sequence[torch.optim.Optimizer], wholes: dict[torch.optim.Optimizer, list[nn.Module]]
) -> list[torch.optim.Optimizer]:
    """The first optimizer, and those that share a module with it."""
    group = [optimizers[0]]
    for optimizer in group:  # grows meanwhile
        mine = {id(module) for module in wholes[optimizer]}
        group += [o for o in optimizers if o not in group and mine & {id(module) for module in wholes[o]}]
    return group


def _smallest(module: nn.Module, held: set[int]) -> nn.Module:
    """The smallest part that holds the parameters that the whole does."""
    wanted = held & _ids(module.parameters())
    while part := next((m for m in module.children() if wanted <= _ids(m.parameters())), None):
        module = part
    return module


def _together(modules: Sequence[nn.Module], names: dict[int, str]) -> tuple[str, nn.Module]:
    """Modules as one, with a name to tell a reader."""
    called = [names.get(id(module), "") for module in modules]
    if len(modules) == 1:
        kind = type(modules[0]).__name__
        return (f"{called[0]} ({kind})" if called[0] not in ("", kind) else kind), modules[0]
    both = nn.Module()
    for i, (name, module) in enumerate(zip(called, modules, strict=True)):
        both.add_module(name if name and not hasattr(both, name) else f"{type(module).__name__}{i}", module)
    return " and ".join(name for name, _ in both.named_children()), both


def names_in_use() -> dict[int, str]:
    """What modules are called in the code that is running, by id; the name in the outermost function counts."""
    found: dict[int, str] = {}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("vgdocs", "torch"):
            for name, value in list(frame.f_locals.items()):
                if issubclass(type(value), nn.Module) and name != "self":
                    found[id(value)] = name
        frame = frame.f_back
    return found
