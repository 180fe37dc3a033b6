"""Six layers of signs get a gradient of 0 and reach {accuracy.exact:.2f}; with a lent slope {accuracy.clipped:.2f}.

The sign of z has slope 0 wherever it has one, so that no gradient passes it and only the layer above the last sign
learns. A straight-through estimator keeps the sign in the forward pass and puts the slope of another function in its
place in the backward pass: 1, that of the identity (Bengio, Léonard & Courville 2013), or 1 for |z| < 1 and otherwise
0, that of hard tanh (Hubara et al. 2016). The control for "only the last layer learns" is the network in which only
that one is trained; tanh shows what units with a slope of their own reach.

Classifiers of 8 x 8 digits with 6 hidden layers of 64 units, weights N(0, 1/64), no biases at the start. And, of 20
such layers of 256 at the start, the estimated gradient: with weights of variance sigma_w2/n each layer's z have
variance sigma_w2, and it should change per layer by sqrt(sigma_w2) through the identity, and by
sqrt(sigma_w2 P(|z| < 1)) where it is clipped.
"""

import math
from functools import partial

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs import theory
from vgdocs.experiments import band, band_traces, best, derive_seeds, digits, sweep, weight
from vgdocs.gradients import norms_of_gradients, rate

SEED = 0
REPLICAS = 3  # networks of each kind, at each learning rate
DEPTH = 6  # hidden layers of those that train
WIDTH = 64
START = {"replicas": 10, "depth": 20, "width": 256, "batch": 64}  # of those before training
SCALES = {"pytorch": 1 / 3, "lecun": 1.0}  # sigma_w2
SWEEP = {
    "rates": {"adam": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]},
    "epochs": 8,
}
SOFT = {"identity": theory.linear, "clipped": F.hardtanh}  # what lends its slope
KINDS = {
    "exact": ("exact gradient", "vanishing"),
    "last": ("last layer alone", "reference"),
    "identity": ("straight through", None),
    "clipped": ("clipped", "healthy"),
    "tanh": ("tanh units", None),
}
TOLERANCE = {"accuracy": 0.1}


def through(z: Tensor, soft: theory.Activation) -> Tensor:
    """The sign of z, with the slope of `soft`."""
    return soft(z) + (z.sign() - soft(z)).detach()


class Units(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, z: Tensor) -> Tensor:
        if self.kind == "tanh":
            return z.tanh()
        return through(z, SOFT[self.kind]) if self.kind in SOFT else z.sign()


class Frozen(nn.Sequential):
    """Layers that get no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


def build(kind: str, seed: int) -> nn.Sequential:
    generator, layers = torch.Generator().manual_seed(seed), []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH)
        linear.weight.data = weight(WIDTH, WIDTH, "lecun", generator, torch.float32)
        nn.init.zeros_(linear.bias)
        layers += [linear, Units(kind)]
    torch.manual_seed(seed)  # PyTorch's own initialisation takes no generator
    return nn.Sequential((Frozen if kind == "last" else nn.Sequential)(*layers), nn.Linear(WIDTH, 10))


def largest_gradient(kind: str, seed: int) -> float:
    """Of all entries of the gradients with respect to the hidden layers' weights and biases, the largest."""
    x, y, _, _ = digits()
    model = build(kind, seed)
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model[0].parameters()))
    return max(float(g.abs().max()) for g in gradients)


def at_start(kind: str, sigma_w2: float, seed: int) -> list[float]:
    """Norms of the estimated gradient with respect to each layer's z, of a random loss on the last, over the last's."""
    generator = torch.Generator().manual_seed(seed)
    h, zs = torch.randn(START["batch"], START["width"], generator=generator, dtype=torch.float64).sign(), []
    for _ in range(START["depth"]):
        zs.append(h @ weight(START["width"], START["width"], sigma_w2, generator).T.requires_grad_())
        h = through(zs[-1], SOFT[kind])
    v = torch.randn(h.shape, generator=generator, dtype=h.dtype)
    norms = norms_of_gradients((zs[-1] * v).sum(), zs)
    return [norm / norms[-1] for norm in norms]


def in_theory(kind: str, sigma_w2: float) -> float:
    """The factor per layer: a sign has variance 1, so that z has sigma_w2 at any depth."""
    return math.sqrt(theory.chi(SOFT[kind], sigma_w2, sigma_w2))


def measure(seed: int = SEED) -> dict:
    """Rates of both estimators before training, and accuracies after it, at the best rate of each kind."""
    seeds = derive_seeds(seed, START["replicas"])
    m: dict = {"profile": {}, "rate": {}, "swept": {}, "accuracy": {}}
    for kind in SOFT:
        profiles = {name: [at_start(kind, scale, s) for s in seeds] for name, scale in SCALES.items()}
        m["profile"][kind] = {name: band(found) for name, found in profiles.items()}
        m["rate"][kind] = {name: band([rate(norms) for norms in found]) for name, found in profiles.items()}
    for kind in KINDS:
        m["swept"][kind] = sweep(partial(build, kind), digits(), seeds=seeds[:REPLICAS], **SWEEP)
        m["accuracy"][kind] = best(m["swept"][kind])
    m["largest"] = max(largest_gradient("exact", s) for s in seeds[:REPLICAS])
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    layers = list(range(1, START["depth"] + 1))
    for kind in SOFT:
        for name, scale in SCALES.items():
            fig.add_traces(band_traces(layers, m["profile"][kind][name], *KINDS[kind]), rows=1, cols=1)
            line = [in_theory(kind, scale) ** (START["depth"] - layer) for layer in layers]
            fig.add_scatter(x=layers, y=line, name="theory", mode="lines", meta="theory", row=1, col=1)
    for kind, (name, role) in KINDS.items():
        swept = m["swept"][kind]["adam"]
        fig.add_traces(band_traces(swept["rates"], swept, name, role), rows=2, cols=1)
    fig.update_xaxes(title="layer", row=1, col=1)
    fig.update_yaxes(title="estimated ‖∂L/∂z‖, relative", type="log", row=1, col=1)
    fig.update_xaxes(title="learning rate of Adam", type="log", row=2, col=1)
    return fig.update_yaxes(title="accuracy on test images", range=[0, 1], row=2, col=1)


def claim_the_gradient_is_zero(m):
    """Of all weights and biases below the last sign none has another gradient than {largest:.0f}."""
    assert m["largest"] == 0


def claim_only_the_last_layer_learns(m):
    """With the exact gradient the network reaches {accuracy.exact:.2f} at the best of ten learning rates; with the
    hidden layers frozen {accuracy.last:.2f}, and so at each rate."""
    assert m["swept"]["exact"] == m["swept"]["last"]
    assert m["accuracy"]["exact"] == m["accuracy"]["last"]
    for kind in ("exact", "last"):
        assert 0.15 < m["accuracy"][kind]["lo"] <= m["accuracy"][kind]["median"] <= m["accuracy"][kind]["hi"] < 0.6


def claim_an_estimator_trains_it(m):
    """Straight through the identity it reaches {accuracy.identity:.2f}, clipped {accuracy.clipped:.2f}, and tanh
    {accuracy.tanh:.2f}."""
    accuracy = m["accuracy"]
    for kind, lo in (("identity", 0.7), ("clipped", 0.85), ("tanh", 0.92)):
        assert lo < accuracy[kind]["lo"] <= accuracy[kind]["median"] <= accuracy[kind]["hi"] <= 1
    assert accuracy["identity"]["hi"] < accuracy["clipped"]["lo"]
    assert accuracy["clipped"]["median"] < accuracy["tanh"]["median"]


def claim_the_estimate_has_a_rate_of_its_own(m):
    """The identity's estimate changes per layer by {rate.identity.lecun:.2f} at weights of variance 1/n and by
    {rate.identity.pytorch:.2f} at PyTorch's, the clipped one by {rate.clipped.lecun:.2f} and
    {rate.clipped.pytorch:.2f}, as in theory."""
    for kind in SOFT:
        for name, scale in SCALES.items():
            for end in ("lo", "median", "hi"):
                assert math.isclose(m["rate"][kind][name][end], in_theory(kind, scale), rel_tol=0.02)
