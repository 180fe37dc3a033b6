"""Measures of a gradient: norms per layer, the rate at which they fall or grow, and Jacobians."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def norms_of_gradients(loss: Tensor, tensors: Sequence[Tensor], retain_graph: bool = False) -> list[float]:
    """Frobenius norms of dloss/dtensor, in the order of `tensors`.

    The tensors may be parameters or intermediate results, such as each layer's pre-activations. Norms are
    taken in float64, so that the norm does not underflow where the gradient has not. Use a loss whose own
    gradient does not depend on the weights, `(h * v).sum()` with a fixed random v; mean(h**2) is not one.

    Raises RuntimeError (from autograd) if the loss is not a scalar or does not depend on one of the tensors.
    """
    gradients = torch.autograd.grad(loss, list(tensors), retain_graph=retain_graph)
    return [float(torch.linalg.vector_norm(g.to(torch.float64))) for g in gradients]


def _check(norms: Sequence[float]) -> None:
    for norm in norms:
        if not 0 < norm < math.inf:
            raise ValueError(f"a norm is {norm}: only finite norms above 0 have a rate or a ratio")


def rate(norms: Sequence[float], first: int | None = None, last: int | None = None) -> float:
    """Factor on the norm per layer going backward: below 1 the gradient shrinks on its way back, above 1 it grows.

    One network's rate doesn't tell a geometric fall from a power law: compare windows, or depths.

    `norms` runs from the first layer to the last. The rate is exp(-slope) of the least-squares line through
    the logarithms of the norms of layers `first` to `last`, counted from 1 and both included (default: all).

    Raises ValueError for fewer than two layers, a window outside the network, or a norm there that is 0,
    negative or not finite.
    """
    first = 1 if first is None else first
    last = len(norms) if last is None else last
    if not 1 <= first < last <= len(norms):
        raise ValueError(f"layers {first} to {last} are no window in a network of {len(norms)} layers")
    window = norms[first - 1 : last]
    _check(window)
    logs = [math.log(norm) for norm in window]
    middle, mean = (len(logs) - 1) / 2, sum(logs) / len(logs)
    covariance = sum((i - middle) * (y - mean) for i, y in enumerate(logs))
    return math.exp(-covariance / sum((i - middle) ** 2 for i in range(len(logs))))


def ratio(norms: Sequence[float]) -> float:
    """First layer's norm over the last layer's: what is left of the gradient after the whole way back.

    Raises ValueError if there is no norm, or if one of the two is 0, negative or not finite.
    """
    if not norms:
        raise ValueError("no norms")
    _check([norms[0], norms[-1]])
    return norms[0] / norms[-1]


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Jacobian df/dx as a matrix, (elements of f(x), elements of x): both are flattened."""
    full: Tensor = torch.func.jacrev(f)(x.detach())
    return full.reshape(-1, x.numel())


def jacobian_singular_values(f: Callable[[Tensor], Tensor], x: Tensor) -> list[float]:
    """Singular values of df/dx, largest first: the factors that its transpose puts on a gradient going back through f.

    The gradient's part along a left singular vector is multiplied by that vector's singular value.
    """
    return [float(s) for s in torch.linalg.svdvals(jacobian(f, x))]
