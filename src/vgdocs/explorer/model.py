"""The explorer's model: how a gradient fares in deep square networks at initialisation, for many settings at once.

L layers of `width` units take `batch` inputs x ~ N(0, 1), in float64 and without biases. The loss is sum(h_L * v) with
a fixed v ~ N(0, 1), so that its own gradient doesn't depend on the weights. With h_0 = x, layer l is

    none        h_l = phi(z_l),  z_l = norm(W_l h_{l-1})
    residual    h_l = h_{l-1} + V_l phi(norm(W_l h_{l-1}))
    scaled      the same with its branch multiplied by 1/sqrt(L)
    prenorm     h_l = h_{l-1} + V_l phi(W_l norm(h_{l-1}))

W and V are i.i.d. Gaussian or orthogonal, at one scale sigma_w2 = fan-in x (variance of a weight). The gradient is
taken with respect to z_l where there is no skip, and to h_l where there is. The *rate* is the factor on its norm per
layer going backward, from the least-squares slope of the norms' logarithm over the layers ceil(L/6) to L - 2; the
*ratio* is the first layer's norm over the last layer's.

Each seed draws x, v and then W_1, (V_1,) W_2, ... at unit scale from one generator, so that all settings of a family
share its draws, a deeper network continues a shallower one, and a matrix product serves many settings at once.

Sources of the predictions: Schoenholz et al. 2017 (arXiv 1611.01232) for plain networks, Yang & Schoenholz 2017 (arXiv
1712.08969) for residual ones, Yang et al. 2019 (arXiv 1902.08129) for batch normalisation.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from vgdocs import theory
from vgdocs.experiments import SIGMA_W2, derive_seeds

SEED = 0
SEEDS = tuple(derive_seeds(SEED, 9))
EPS = 1e-12  # added to a variance before it divides: next to nothing, so that a norm undoes any scale
FEWEST_LAYERS = 4  # so that two layers lie in the rate's window
CHUNK = 6  # networks of one forward pass: what autograd keeps of them grows with it

ACTIVATIONS = tuple(theory.ACTIVATIONS)
HOMOGENEOUS = ("linear", "relu", "leaky_relu")  # phi(c z) = c phi(z) for every c > 0
FAMILIES = ("gaussian", "orthogonal")
NORMS = ("none", "batch", "layer", "rms")
SKIPS = ("none", "residual", "scaled", "prenorm")
INITS = {name: ("gaussian", sigma_w2) for name, sigma_w2 in SIGMA_W2.items()} | {"orthogonal": ("orthogonal", 1.0)}


@dataclass(frozen=True)
class Setting:
    """One network of the model above; raises ValueError, with the values there are, for any that isn't one."""

    activation: str
    family: str = "gaussian"
    sigma_w2: float = 1.0
    norm: str = "none"
    skip: str = "none"
    depth: int = 50
    width: int = 128
    batch: int = 64

    def __post_init__(self) -> None:
        for name, known in [("activation", ACTIVATIONS), ("family", FAMILIES), ("norm", NORMS), ("skip", SKIPS)]:
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")
        if not 0 < self.sigma_w2 < math.inf:
            raise ValueError(f"sigma_w2 is finite and above 0, not {self.sigma_w2}")
        for name, least in [("depth", FEWEST_LAYERS), ("width", 2), ("batch", 2)]:
            if getattr(self, name) < least:
                raise ValueError(f"the {name} is at least {least}, not {getattr(self, name)}")

    @classmethod
    def named(cls, activation: str, init: str, gain: float = 1.0, **others: Any) -> "Setting":
        """The setting of a named initialisation, whose sigma_w is multiplied by `gain`."""
        if init not in INITS:
            raise ValueError(f"unknown init {init!r}; known: {', '.join(INITS)}")
        if not 0 < gain < math.inf:
            raise ValueError(f"the gain is finite and above 0, not {gain}")
        family, sigma_w2 = INITS[init]
        return cls(activation, family, sigma_w2 * gain**2, **others)

    @property
    def window(self) -> tuple[int, int]:
        """First and last layer whose norms give the rate, counted from 1."""
        return math.ceil(self.depth / 6), self.depth - 2


@dataclass(frozen=True)
class Measurement:
    """What PyTorch measured of one setting: one row a seed, one column a layer."""

    setting: Setting
    seeds: tuple[int, ...]
    gradient: Tensor  # (seeds, depth) norms of dL/dz_l or dL/dh_l
    forward: Tensor  # (seeds, depth) root mean squares of h_l

    @property
    def rates(self) -> list[float]:
        """One rate a seed; nan where a norm in the window is 0 or not finite."""
        rates: list[float] = _log_rates(self.gradient.log(), self.setting).exp().tolist()
        return [rate if 0 < rate < math.inf else math.nan for rate in rates]

    @property
    def ratios(self) -> list[float]:
        """First over last layer's norm, one a seed: 0 or inf where it is beyond float64, nan where it is undefined."""
        ratios: list[float] = (self.gradient[:, 0] / self.gradient[:, -1]).tolist()
        return ratios

    @property
    def rate(self) -> float:
        """Median over the seeds."""
        return median(self.rates)

    @property
    def ratio(self) -> float:
        """Median over the seeds."""
        return median(self.ratios)

    @property
    def norms(self) -> list[float]:
        """Median norm of each layer's gradient."""
        return [median(column) for column in self.gradient.T.tolist()]

    @property
    def forward_sizes(self) -> list[float]:
        """Median root mean square of each layer's outputs."""
        return [median(column) for column in self.forward.T.tolist()]

    @property
    def trouble(self) -> str:
        """What keeps a rate from being taken, in words: an underflow, an overflow or a nan; empty if nothing does."""
        tests = {"underflows to 0": lambda x: x == 0, "overflows to inf": torch.isinf, "is nan": torch.isnan}
        for layer in range(self.setting.depth, 0, -1):
            for name, test in tests.items():
                if found := int(test(self.gradient[:, layer - 1]).sum()):
                    return f"the gradient {name} at layer {layer}, for {found} of {len(self.seeds)} seeds"
        return ""


def median(values: Sequence[float]) -> float:
    """The median, which is nan as soon as one value is."""
    return math.nan if any(math.isnan(value) for value in values) else statistics.median(values)


def measure(settings: Sequence[Setting], seeds: Sequence[int] = SEEDS, device: str = "cpu") -> list[Measurement]:
    """Measure every setting on every seed, in the order of `settings`.

    Settings that differ in nothing but sigma_w2 and (unless the skip is scaled) depth share a forward pass.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device here")
    passes = _passes(settings)
    found = {one: torch.empty(2, len(seeds), one.depth, dtype=torch.float64) for one in settings}
    for row, seed in enumerate(seeds):
        for networks in passes:
            for one, gradient, forward in _backpropagate(networks, seed, device):
                found[one][0, row], found[one][1, row] = gradient, forward
    return [Measurement(one, tuple(seeds), *found[one]) for one in settings]


def _passes(settings: Sequence[Setting]) -> list[list[list[Setting]]]:
    """The settings that share a forward pass: networks that differ in sigma_w2 alone, each in all its depths."""
    stacks: dict[Setting, dict[float, list[Setting]]] = {}
    for one in settings:
        kind = replace(one, sigma_w2=1.0, depth=one.depth if one.skip == "scaled" else FEWEST_LAYERS)
        stacks.setdefault(kind, {}).setdefault(one.sigma_w2, []).append(one)
    return [list(stack.values())[i : i + CHUNK] for stack in stacks.values() for i in range(0, len(stack), CHUNK)]


def _backpropagate(networks: list[list[Setting]], seed: int, device: str) -> Iterator[tuple[Setting, Tensor, Tensor]]:
    """Norms of the gradient and sizes of h_l, (depth,) each, for n networks that differ in sigma_w2 alone.

    A network is cut off at each depth that a setting asks for.
    """
    one = networks[0][0]
    depths = {setting.depth for network in networks for setting in network}
    draws, phi = _draws(seed, one.family, one.width, one.batch, device), theory.ACTIVATIONS[one.activation]
    sigma = torch.tensor([[[network[0].sigma_w2]] for network in networks], dtype=torch.float64, device=device).sqrt()
    branch = sigma / one.depth**0.5 if one.skip == "scaled" else sigma
    h = draws.x.expand(len(networks), -1, -1).requires_grad_()  # (n, batch, width)
    outputs, watched = [], []
    for layer in range(max(depths)):
        if one.skip == "none":
            z = _normalise(sigma * h @ draws.weight(layer).T, one.norm)
            h = phi(z)
        else:
            W, V = draws.weight(2 * layer), draws.weight(2 * layer + 1)
            prenorm = one.skip == "prenorm"
            z = sigma * _normalise(h, one.norm) @ W.T if prenorm else _normalise(sigma * h @ W.T, one.norm)
            h = z = h + branch * phi(z) @ V.T
        outputs.append(h)
        watched.append(z)
    sizes = torch.stack([_norm(h.detach()) for h in outputs], 1) / (one.batch * one.width) ** 0.5  # (n, deepest)
    for depth in depths:
        v = draws.v.expand_as(h)
        gradients = torch.autograd.grad(outputs[depth - 1], watched[:depth], v, retain_graph=True)
        norms = torch.stack([_norm(g) for g in gradients], 1)  # (n, depth)
        for network, norm, size in zip(networks, norms, sizes, strict=True):
            yield from ((setting, norm, size[:depth]) for setting in network if setting.depth == depth)


def _normalise(u: Tensor, norm: str) -> Tensor:
    """Without a learned scale and shift: over a unit's batch, or over an input's units."""
    if norm == "batch":
        return torch.nn.functional.layer_norm(u.mT, u.shape[-2:-1], eps=EPS).mT
    if norm == "layer":
        return torch.nn.functional.layer_norm(u, u.shape[-1:], eps=EPS)
    return torch.nn.functional.rms_norm(u, u.shape[-1:], eps=EPS) if norm == "rms" else u


def _norm(x: Tensor) -> Tensor:
    """Frobenius norm over the last two dimensions; right also where the squares would under- or overflow."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=(-2, -1))
    if not ((norms > 1e-140) & (norms < 1e140)).all():
        size = x.abs().amax((-2, -1), keepdim=True)
        scale = torch.where((size > 0) & (size < math.inf), size, 1.0)
        norms = scale[..., 0, 0] * torch.linalg.vector_norm(x / scale, dim=(-2, -1))
    return norms


class _Draws:
    """What one seed draws: x and v, (batch, width), then unit weights, (width, width), as they are asked for."""

    def __init__(self, seed: int, family: str, width: int, batch: int, device: str) -> None:
        self.generator = torch.Generator().manual_seed(seed)  # the CPU's, whatever the device: the same everywhere
        self.family, self.width, self.device = family, width, device
        self.x, self.v = self._normal(batch).to(device), self._normal(batch).to(device)
        self._weights: list[Tensor] = []

    def weight(self, number: int) -> Tensor:
        """The weights drawn as number 0, 1, ...: W_1, (V_1,) W_2, ..."""
        while len(self._weights) <= number:
            if self.family == "orthogonal":
                W = torch.empty(self.width, self.width, dtype=torch.float64)
                torch.nn.init.orthogonal_(W, generator=self.generator)
            else:
                W = self._normal(self.width) / self.width**0.5
            self._weights.append(W.to(self.device))
        return self._weights[number]

    def _normal(self, rows: int) -> Tensor:
        return torch.randn(rows, self.width, generator=self.generator, dtype=torch.float64)


_draws = lru_cache(maxsize=2)(_Draws)


def _log_rates(log_norms: Tensor, setting: Setting) -> Tensor:
    """Minus the least-squares slope over the layers of the setting's window, of each row of (n, depth)."""
    first, last = setting.window
    layers = torch.arange(first, last + 1, dtype=torch.float64)
    layers -= layers.mean()
    rates: Tensor = -(log_norms[:, first - 1 : last] * layers).sum(1) / layers.square().sum()
    return rates


@dataclass(frozen=True)
class Prediction:
    """What mean-field theory says of a setting."""

    rate: float  # read off the same layers as the measured one
    profile: list[float]  # decimal logarithms of the norms of layers 1 to L, relative to the last layer's


def predict(setting: Setting) -> Prediction:
    """The gradient in wide networks and large batches, for weights of either family.

    A variance per unit, q for pre-activations and p for h, is followed from p_0 = 1 upward; with z ~ N(0, q), a layer
    then puts these factors on the squared norm of the gradient, going backward:

        none        sigma_w2 E[phi'(z)²]                           q_l = sigma_w2 E[phi(z)²] of the layer below
        none, norm  E[phi'(z)²] / E[phi(z)²]                       q = 1
        residual    1 + b² sigma_w2 E[phi'(z)²]                    q_l = sigma_w2 p_l-1
        its norm    1 + b² E[phi'(z)²] / p_l-1                     q = 1
        prenorm     1 + b² sigma_w2 E[phi'(z)²] / p_l-1            q = sigma_w2

    and p grows by b² E[phi(z)²] a block, where b² is sigma_w2, or sigma_w2 / L if the branch is scaled. Batch
    normalisation also takes the mean away, which puts Var[phi(z)] in the place of E[phi(z)²].
    Schoenholz et al. 2017; Yang & Schoenholz 2017; Yang et al. 2019, section 3. The rows with a norm and a skip follow
    by the same argument, with a norm's derivative 1/sqrt(its input's variance).
    """
    normed, skips = setting.norm != "none", setting.skip != "none"
    log_s = math.log(setting.sigma_w2)
    log_b = log_s - math.log(setting.depth) if setting.skip == "scaled" else log_s
    log_w = 0.0 if normed and setting.skip != "prenorm" else log_s  # a norm behind W divides its scale out
    log_p, steps = 0.0, []  # of h, and the log of each layer's factor on the squared norm, from layer 1 up
    for _ in range(setting.depth):
        log_q = log_w if normed else log_w + log_p
        size, slope = _log_moments(setting.activation, log_q, setting.norm == "batch")
        if skips:
            steps.append(_log1pexp(log_b + log_w + slope - (log_p if normed else 0.0)))
            log_p += _log1pexp(log_b + size - log_p)
        else:
            steps.append(slope - size if normed else log_w + slope)
            log_p = size
    # Layer l's own factor lies between z_l and z_l+1, but between h_l-1 and h_l where there is a skip.
    between = steps[1:] if skips else steps[:-1]
    logs = [0.0, *accumulate(step / 2 for step in reversed(between))][::-1]
    rate = _log_rates(torch.tensor([logs], dtype=torch.float64), setting).exp().item()
    return Prediction(rate, [log / math.log(10) for log in logs])


def _log1pexp(x: float) -> float:
    """log(1 + exp(x)), also where exp(x) would overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@lru_cache(maxsize=100_000)
def _log_moments(activation: str, log_q: float, centred: bool) -> tuple[float, float]:
    """Logarithms of E[phi(z)²], or of Var[phi(z)], and of E[phi'(z)²] with z ~ N(0, q)."""
    phi = theory.ACTIVATIONS[activation]
    # Beyond these variances an activation is what it is at them, but for its scale.
    log_inside = 0.0 if activation in HOMOGENEOUS else min(max(log_q, math.log(1e-24)), math.log(theory.LARGEST_Q))
    q = math.exp(log_inside)
    size = theory.gaussian_mean(lambda x: phi(x) ** 2, q)
    if centred:
        size -= theory.gaussian_mean(phi, q) ** 2
    return math.log(size) + log_q - log_inside, math.log(theory.chi(phi, q, 1.0))
