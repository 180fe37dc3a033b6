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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vgdocs import theory
from vgdocs.experiments import SIGMA_W2, derive_seeds

SEED = 0
SEEDS = tuple(derive_seeds(SEED, 9))
EPS = 1e-12  # added to a variance before it divides: next to nothing, so that a norm undoes any scale
FEWEST_LAYERS = 4  # so that two layers lie in the rate's window
CHUNK = 8  # settings side by side: as many as stay in a core's cache

ACTIVATIONS = tuple(theory.ACTIVATIONS)
HOMOGENEOUS = ("linear", "relu", "leaky_relu")  # phi(c z) = c phi(z) for every c > 0
FAMILIES = ("gaussian", "orthogonal")
NORMS = ("none", "batch", "layer", "rms")
SKIPS = ("none", "residual", "scaled", "prenorm")
INITS = {
    **{name: ("gaussian", sigma_w2) for name, sigma_w2 in SIGMA_W2.items()},
    "orthogonal": ("orthogonal", 1.0),
}  # name -> family, sigma_w2

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, section 2


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
    def branch(self) -> float:
        """What a residual branch's last weights are multiplied by: sigma_w, and 1/sqrt(L) if it is scaled."""
        sigma_w: float = self.sigma_w2**0.5
        return sigma_w / self.depth**0.5 if self.skip == "scaled" else sigma_w

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
        rates: list[float] = _log_rates(self.gradient.log(), *self.setting.window).exp().tolist()
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
    def trouble(self) -> str:
        """What keeps a rate from being taken, in words: an underflow, an overflow or a nan; empty if nothing does."""
        for layer in reversed(range(self.setting.depth)):
            norms = self.gradient[:, layer]
            for name, found in [
                ("underflows to 0", norms == 0),
                ("overflows to inf", norms.isinf()),
                ("is nan", norms.isnan()),
            ]:
                if found.any():
                    return f"the gradient {name} at layer {layer + 1}, for {int(found.sum())} of {len(norms)} seeds"
        return ""

    @property
    def norms(self) -> list[float]:
        """Median norm of each layer's gradient."""
        return [median(column) for column in self.gradient.T.tolist()]

    @property
    def forward_sizes(self) -> list[float]:
        """Median root mean square of each layer's outputs."""
        return [median(column) for column in self.forward.T.tolist()]


def median(values: Sequence[float]) -> float:
    """The median, which is nan as soon as one value is."""
    return math.nan if any(math.isnan(value) for value in values) else statistics.median(values)


def measure(
    settings: Sequence[Setting],
    seeds: Sequence[int] = SEEDS,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[Measurement]:
    """Measure every setting on every seed, in the order of `settings`.

    Settings that differ in nothing but activation, sigma_w2 and (unless the skip is scaled) depth share their matrix
    products. `progress` is called with how many settings a finished chunk held.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device here")
    groups = list(_groups(settings))
    gradients, forwards = [], []
    for group in groups:
        deepest = max(group[0])
        gradients.append(torch.empty(len(group), len(group[0]), len(seeds), deepest, dtype=torch.float64))
        forwards.append(torch.empty(len(group), len(seeds), deepest, dtype=torch.float64))
    for s, seed in enumerate(seeds):
        for group, gradient, forward in zip(groups, gradients, forwards, strict=True):
            networks = [next(iter(network.values())) for network in group]
            depths = sorted(group[0], reverse=True)
            one = networks[0]
            draws = _draws(seed, one.family, one.width, one.batch, device)
            for start in range(0, len(group), CHUNK):
                rows = slice(start, start + CHUNK)
                stack = _Stack(networks[rows], depths, draws)
                forward[rows, s] = stack.forward().cpu()
                gradient[rows, :, s] = stack.backward().cpu()
                if progress:
                    progress(len(networks[rows]) * len(depths))
    results = {
        network[depth]: Measurement(network[depth], tuple(seeds), g[i, :, :depth], f[:, :depth])
        for group, gradient, forward in zip(groups, gradients, forwards, strict=True)
        for network, g, f in zip(group, gradient, forward, strict=True)
        for i, depth in enumerate(sorted(network, reverse=True))
    }
    return [results[setting] for setting in settings]


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
    log_s, log_b = math.log(setting.sigma_w2), 2 * math.log(setting.branch)
    log_p, steps = 0.0, []  # of h, and the log of each layer's factor on the squared norm, from layer 1 up
    for _ in range(setting.depth):
        if setting.norm == "none" or setting.skip == "none":
            log_q = log_s + log_p if setting.norm == "none" else 0.0
        else:
            log_q = log_s if setting.skip == "prenorm" else 0.0
        size, slope = _log_moments(setting.activation, log_q, setting.norm == "batch")
        if setting.skip == "none":
            steps.append(log_s + slope if setting.norm == "none" else slope - size)
            log_p = size
            continue
        factor = log_b + slope
        if setting.norm == "none":
            factor += log_s
        else:
            factor += (log_s if setting.skip == "prenorm" else 0.0) - log_p
        steps.append(_log1pexp(factor))
        log_p += _log1pexp(log_b + size - log_p)
    # Layer l's own factor lies between z_l and z_l+1, but between h_l-1 and h_l where there is a skip.
    between = steps[:-1] if setting.skip == "none" else steps[1:]
    profile = [0.0]
    for step in reversed(between):
        profile.append(profile[-1] + step / 2 / math.log(10))
    profile.reverse()
    first, last = setting.window
    norms = torch.tensor(profile, dtype=torch.float64)[None] * math.log(10)
    return Prediction(float(_log_rates(norms, first, last).exp()), profile)


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


def _log_rates(log_norms: Tensor, first: int, last: int) -> Tensor:
    """Minus the least-squares slope over the layers `first` to `last`, counted from 1, of each row of (n, depth)."""
    layers = torch.arange(first, last + 1, dtype=torch.float64)
    layers -= layers.mean()
    covariances = (log_norms[:, first - 1 : last] * layers).sum(1)
    slopes: Tensor = covariances / layers.square().sum()
    return -slopes


def _groups(settings: Iterable[Setting]) -> Iterator[list[dict[int, Setting]]]:
    """Settings that can be computed together: a list of networks, each {depth: setting}, all with the same depths."""
    networks: dict[Any, dict[int, Setting]] = {}
    for setting in settings:
        depth = setting.depth if setting.skip == "scaled" else 0
        networks.setdefault(replace(setting, depth=depth or 10**9).__repr__(), {})[setting.depth] = setting
    groups: dict[Any, list[dict[int, Setting]]] = {}
    for network in networks.values():
        one = next(iter(network.values()))
        key = (one.family, one.norm, one.skip, one.width, one.batch, *sorted(network))
        groups.setdefault(key, []).append(network)
    for group in groups.values():
        yield sorted(group, key=lambda nets: ACTIVATIONS.index(next(iter(nets.values())).activation))


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


class _Stack:
    """Networks side by side, sorted by activation, that share a seed's draws: forward, then backward from each depth.

    The backward pass is written out because autograd would keep, and fetch again, several times as much; a test holds
    it to autograd.
    """

    def __init__(self, settings: list[Setting], depths: list[int], draws: _Draws) -> None:
        self.norm, self.skip = settings[0].norm, settings[0].skip
        self.depths, self.draws = depths, draws
        device = draws.device
        names = [setting.activation for setting in settings]
        starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
        self.parts = [
            (names[start], slice(start, end)) for start, end in zip(starts, [*starts[1:], len(names)], strict=True)
        ]
        sigma = [setting.sigma_w2**0.5 for setting in settings]
        branch = [setting.branch for setting in settings]
        self.sigma = torch.tensor(sigma, dtype=torch.float64, device=device)[:, None, None]  # (n, 1, 1)
        self.branch = torch.tensor(branch, dtype=torch.float64, device=device)[:, None, None]
        shape = (len(settings), *draws.x.shape)  # (n, batch, width)
        self.shape = shape
        self.slopes = _buffer("slopes", (depths[0], *shape), device)
        self.normed = _buffer("normed", (depths[0], *shape), device) if self.norm != "none" else None
        self.inverse: list[Tensor] = []  # each layer's 1 / deviation

    def forward(self) -> Tensor:
        """Root mean square of h_l, (n, depth)."""
        h = self.draws.x.expand(self.shape)
        sizes = []
        for layer in range(self.depths[0]):
            if self.skip == "none":
                z = self._normalise(layer, self._times(self.sigma * h, layer))
                h = self._activate(layer, z)
            elif self.skip == "prenorm":
                z = self._times(self.sigma * self._normalise(layer, h), 2 * layer)
                h = h + self._times(self.branch * self._activate(layer, z), 2 * layer + 1)
            else:
                z = self._normalise(layer, self._times(self.sigma * h, 2 * layer))
                h = h + self._times(self.branch * self._activate(layer, z), 2 * layer + 1)
            sizes.append(_norm(h) / (h.shape[1] * h.shape[2]) ** 0.5)
        return torch.stack(sizes, 1)

    def backward(self) -> Tensor:
        """Norms of the gradient, (n, depths, deepest); a shallower network's unused layers are nan."""
        deepest = self.depths[0]
        norms = torch.full((len(self.depths), self.shape[0], deepest), math.nan, dtype=torch.float64)
        # Every depth's gradient goes back through the same layers, each starting where its network ends.
        gradients = torch.empty(len(self.depths), *self.shape, dtype=torch.float64, device=self.draws.device)
        gradients.copy_(self.draws.v)
        for layer in reversed(range(deepest)):
            begun = sum(depth > layer for depth in self.depths)
            g = gradients[:begun]
            if self.skip == "none":
                g *= self.slopes[layer]
                norms[:begun, :, layer] = _norm(g)
                if layer:
                    g.copy_(self._times_transposed(self.sigma * self._normalise_back(layer, g), layer))
                continue
            norms[:begun, :, layer] = _norm(g)
            if layer:
                at_z = self._times_transposed(self.branch * g, 2 * layer + 1).mul_(self.slopes[layer])
                if self.skip == "prenorm":
                    g += self._normalise_back(layer, self._times_transposed(self.sigma * at_z, 2 * layer))
                else:
                    g += self._times_transposed(self.sigma * self._normalise_back(layer, at_z), 2 * layer)
        return norms.transpose(0, 1)

    def _times(self, h: Tensor, matrix: int) -> Tensor:
        return (h.view(-1, h.shape[-1]) @ self.draws.weight(matrix).T).view(h.shape)

    def _times_transposed(self, g: Tensor, matrix: int) -> Tensor:
        return (g.view(-1, g.shape[-1]) @ self.draws.weight(matrix)).view(g.shape)

    def _activate(self, layer: int, z: Tensor) -> Tensor:
        for name, part in self.parts:
            PHI[name](z[part], self.slopes[layer, part])
        return z

    def _normalise(self, layer: int, u: Tensor) -> Tensor:
        if self.normed is None:
            return u
        over = -2 if self.norm == "batch" else -1
        normed = self.normed[layer]
        if self.norm == "rms":
            inverse = (u.square().mean(over, keepdim=True) + EPS).rsqrt()
            torch.mul(u, inverse, out=normed)
        else:
            torch.sub(u, u.mean(over, keepdim=True), out=normed)
            inverse = (normed.square().mean(over, keepdim=True) + EPS).rsqrt()
            normed *= inverse
        self.inverse.append(inverse)
        # A copy, because what follows works in place.
        return normed.clone()

    def _normalise_back(self, layer: int, g: Tensor) -> Tensor:
        """From the gradient at a norm's output to the one at its input, for (depths, n, batch, width)."""
        if self.normed is None:
            return g
        over = -2 if self.norm == "batch" else -1
        normed, inverse = self.normed[layer], self.inverse[layer]
        back = g - normed * (g * normed).mean(over, keepdim=True)
        if self.norm != "rms":
            back -= g.mean(over, keepdim=True)
        return back.mul_(inverse)


_BUFFERS: dict[tuple[str, str], Tensor] = {}


def _buffer(name: str, shape: tuple[int, ...], device: str) -> Tensor:
    """Memory that one stack after the other writes to: fresh pages would cost more than what is computed on them."""
    size = math.prod(shape)
    if (name, device) not in _BUFFERS or _BUFFERS[name, device].numel() < size:
        _BUFFERS[name, device] = torch.empty(size, dtype=torch.float64, device=device)
    return _BUFFERS[name, device][:size].view(shape)


def _norm(x: Tensor) -> Tensor:
    """Frobenius norm over the last two dimensions; right also where the squares would under- or overflow."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=(-2, -1))
    beyond = ~((norms > 1e-140) & (norms < 1e140))
    if beyond.any():
        size = x.abs().amax((-2, -1))
        scale = torch.where((size > 0) & (size < math.inf), size, 1.0)
        norms = torch.where(beyond, scale * torch.linalg.vector_norm(x / scale[..., None, None], dim=(-2, -1)), norms)
    return norms


# The script that `snippet` fills in. It is data, because the page fills in the same pieces: `{{name}}` stands for an
# entry of FILLINGS or for a number of the setting.
SNIPPET = """\
import math

import torch
import torch.nn.functional as F

torch.manual_seed({{seed}})
torch.set_default_dtype(torch.float64)  # float32 underflows where a gradient vanishes
WIDTH, BATCH, DEPTH = {{width}}, {{batch}}, {{depth}}
SIGMA_W = {{sigma_w2}}**0.5  # fan-in x weight variance, and its root


def weight():
    return {{family}}


def norm(z):
    return {{norm}}


def phi(z):
    return {{activation}}


x, v = torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)
h, watched = x.requires_grad_(), []
for _ in range(DEPTH):
{{skip}}

gradients = torch.autograd.grad((h * v).sum(), watched)
sizes = [g.abs().max() for g in gradients]  # taken out of the norm, whose squares could underflow or overflow
norms = torch.stack([size * (g / size).norm() for g, size in zip(gradients, sizes)])

layers = torch.arange(math.ceil(DEPTH / 6), DEPTH - 1)  # counted from 1: ceil(L/6) to L - 2
t = layers - layers.double().mean()
rate = torch.exp(-(t * norms.log()[layers - 1]).sum() / (t * t).sum())
print(f"rate  {rate.item():.10g} per layer going backward")
print(f"ratio {(norms[0] / norms[-1]).item():.10g} first layer over last")
"""
FILLINGS = {
    "activation": {
        "linear": "z",
        "sigmoid": "torch.sigmoid(z)",
        "tanh": "torch.tanh(z)",
        "relu": "torch.relu(z)",
        "leaky_relu": "F.leaky_relu(z)",
        "elu": "F.elu(z)",
        "selu": "F.selu(z)",
        "gelu": "F.gelu(z)",
        "silu": "F.silu(z)",
    },
    "family": {
        "gaussian": "torch.randn(WIDTH, WIDTH) / WIDTH**0.5",
        "orthogonal": "torch.nn.init.orthogonal_(torch.empty(WIDTH, WIDTH))",
    },
    "norm": {
        "none": "z",
        "batch": "F.batch_norm(z, None, None, training=True, eps=1e-12)",
        "layer": "F.layer_norm(z, (WIDTH,), eps=1e-12)",
        "rms": "F.rms_norm(z, (WIDTH,), eps=1e-12)",
    },
    "skip": {
        "none": """\
    z = norm(SIGMA_W * h @ weight().T)
    h = phi(z)
    watched.append(z)""",
        "residual": """\
    h = h + SIGMA_W * phi(norm(SIGMA_W * h @ weight().T)) @ weight().T
    watched.append(h)""",
        "scaled": """\
    h = h + SIGMA_W / DEPTH**0.5 * phi(norm(SIGMA_W * h @ weight().T)) @ weight().T
    watched.append(h)""",
        "prenorm": """\
    h = h + SIGMA_W * phi(SIGMA_W * norm(h) @ weight().T) @ weight().T
    watched.append(h)""",
    },
}


def snippet(setting: Setting, seed: int = SEEDS[0]) -> str:
    """A plain PyTorch script that measures this setting for one seed and prints its rate and its ratio."""
    fillings = {name: pieces[getattr(setting, name)] for name, pieces in FILLINGS.items()}
    for name in ("width", "batch", "depth"):
        fillings[name] = str(getattr(setting, name))
    sigma_w2 = setting.sigma_w2
    fillings["sigma_w2"] = str(int(sigma_w2)) if sigma_w2 == int(sigma_w2) else repr(sigma_w2)
    fillings["seed"] = str(seed)
    script = SNIPPET
    for name, text in fillings.items():
        script = script.replace(f"{{{{{name}}}}}", text)
    return script


# Each writes phi(z) over z, and phi'(z) into `slope`.


def _linear(z: Tensor, slope: Tensor) -> None:
    slope.fill_(1.0)


def _sigmoid(z: Tensor, slope: Tensor) -> None:
    torch.sigmoid(z, out=z)
    torch.addcmul(z, z, z, value=-1.0, out=slope)


def _tanh(z: Tensor, slope: Tensor) -> None:
    torch.tanh(z, out=z)
    slope.copy_(z).square_().neg_().add_(1.0)


def _relu(z: Tensor, slope: Tensor) -> None:
    torch.gt(z, 0.0, out=slope)
    z *= slope


def _leaky_relu(z: Tensor, slope: Tensor) -> None:
    torch.gt(z, 0.0, out=slope)
    slope.mul_(0.99).add_(0.01)
    z *= slope


def _elu(z: Tensor, slope: Tensor) -> None:
    torch.nn.functional.elu_(z)
    torch.clamp(z, max=0.0, out=slope)
    slope += 1.0


def _selu(z: Tensor, slope: Tensor) -> None:
    torch.selu_(z)
    torch.add(z, SELU_SCALE * SELU_ALPHA, out=slope)
    slope.masked_fill_(z > 0, SELU_SCALE)


def _gelu(z: Tensor, slope: Tensor) -> None:
    below = torch.erf(z * 0.5**0.5).add_(1.0).mul_(0.5)
    density = torch.exp(-0.5 * z * z).mul_((2 * math.pi) ** -0.5)
    torch.addcmul(below, z, density, out=slope)
    z *= below


def _silu(z: Tensor, slope: Tensor) -> None:
    s = torch.sigmoid(z)
    z *= s
    torch.addcmul(s, z, 1.0 - s, out=slope)


PHI: dict[str, Callable[[Tensor, Tensor], None]] = {
    "linear": _linear,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
}
