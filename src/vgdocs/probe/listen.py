"""Hears of calls that no hook tells of: a backward pass, and the step of a scaler."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

Told = Callable[..., Any]


class Listener:
    """Tells of each call of a function, before and after it; at rest the function is as it was."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._told: list[tuple[Told, Told]] = []
        self._original: Callable[..., Any] | None = None  # while there is something else in its place
        self._substitute: Callable[..., Any] | None = None

    def add(self, before: Told, after: Told) -> Callable[[], None]:
        """Calls both with the function's arguments, `after` only where it didn't raise; returns what ends it."""
        if self._original is None:
            self._original = getattr(self._owner, self._name)
            self._substitute = self._telling(self._original)
            setattr(self._owner, self._name, self._substitute)
        entry = (before, after)
        self._told.append(entry)

        def remove() -> None:
            self._told.remove(entry)
            if not self._told and getattr(self._owner, self._name) is self._substitute:  # else another's is around it
                setattr(self._owner, self._name, self._original)
                self._original = self._substitute = None

        return remove

    def _telling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            told = list(self._told)
            for before, _ in told:
                before(*args, **kwargs)
            result = original(*args, **kwargs)
            for _, after in told:
                after(*args, **kwargs)
            return result

        return call


BACKWARD = Listener(torch.autograd, "backward")
SCALER = Listener(torch.amp.GradScaler, "step")
