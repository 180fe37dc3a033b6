"""Frobenius norms that neither underflow nor overflow where their tensor hasn't, and that don't wait for the device."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor

from vgdocs.probe.layers import local, wide

IMMEDIATE = {"cpu"}  # devices whose results can be looked at without waiting for them
LEAST, MOST = 1e-12, 1e12  # float32's own norm, which is three times as fast there, is right between the two


class Norms:
    """Norms of tensors that come again and again, each known by a key.

    Squares of what is below LEAST are no normal numbers in float32, which makes them slow besides wrong. So what was
    outside last time is taken in float64 at once.
    """

    def __init__(self) -> None:
        self._outside: dict[Hashable, float] = {}

    def one(self, key: Hashable, values: Tensor) -> Tensor:
        """The norm of a tensor, ()."""
        values = _entries(values)
        if not _is_quick(values):
            return _wide(values)
        if key not in self._outside:
            quick: Tensor = torch.linalg.vector_norm(values)
            if LEAST < float(quick) < MOST:
                return quick
        norm = _wide(values)
        self._note(key, float(norm))
        return norm

    def many(self, name: str, tensors: Mapping[int, Tensor]) -> list[tuple[tuple[int, ...], Tensor]]:
        """The norms of many, a vector for each device and type of numbers, with the numbers of the tensors in it."""
        groups: dict[tuple[torch.device, torch.dtype], dict[int, Tensor]] = {}
        for i, tensor in tensors.items():
            values = _entries(tensor)
            groups.setdefault((values.device, values.dtype), {})[i] = values
        return [(tuple(group), self._vector(name, group)) for group in groups.values()]

    def total(self, name: str, tensors: Mapping[int, Tensor]) -> Tensor:
        """The norm of many together, (); of those that are far smaller than others only where there are no others."""
        usual = {i: tensor for i, tensor in tensors.items() if not self._outside.get((name, i), 1.0) < LEAST}
        found = [vector.norm() for _, vector in self.many(name, usual or tensors)]
        return torch.stack([norm.to(found[0]) for norm in found]).norm() if found else torch.zeros(())

    def _vector(self, name: str, group: dict[int, Tensor]) -> Tensor:
        first = next(iter(group.values()))
        if first.is_complex() or (first.device.type in IMMEDIATE and first.dtype is not torch.float32):
            return torch.stack([_wide(values) for values in group.values()])
        if first.device.type not in IMMEDIATE:
            return torch.stack(torch._foreach_norm(list(group.values()), 2, wide(first.device)))
        usual = [i for i in group if (name, i) not in self._outside]
        quick = torch.stack(torch._foreach_norm([group[i] for i in usual])).tolist() if usual else []
        found = dict(zip(usual, quick, strict=True))
        for i, values in group.items():
            if not LEAST < found.get(i, 0.0) < MOST:
                found[i] = float(_wide(values))
                self._note((name, i), found[i])
        return torch.tensor([found[i] for i in group], dtype=torch.float64)

    def _note(self, key: Hashable, norm: float) -> None:
        if LEAST < norm < MOST:
            self._outside.pop(key, None)
        else:
            self._outside[key] = norm


def by_time(values: Tensor, dimension: int) -> Tensor:
    """The norm of what belongs to each time step, (T,)."""
    others = [d for d in range(values.dim()) if d != dimension]
    norms: Tensor = torch.linalg.vector_norm(values, dim=others, dtype=wide(values.device))
    return norms


def _entries(values: Tensor) -> Tensor:
    """What is here of a tensor that is spread over processes, and of a sparse one what isn't 0."""
    return local(values.coalesce().values() if values.is_sparse else values)


def _is_quick(values: Tensor) -> bool:
    return values.dtype is torch.float32 and values.device.type in IMMEDIATE


def _wide(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dtype=None if values.is_complex() else wide(values.device))
    return norm
