"""Forty plain ReLU layers fit {plain:.2f} of the training digits, and {mirrored:.2f} if their weights keep directions.

Networks of width 32 without biases, each kind trained on the digits by Adam and by gradient descent at five learning
rates for six epochs in batches of 64. Plotted is the share of the *training* digits they get right, so that this is
not overfitting.

No kind's gradient vanishes: compared is the norm of the gradient with respect to the first hidden layer's
pre-activations with the last one's. What the first kind loses is the geometry. In 40 layers the activations of any two
images become nearly parallel (their cosine is taken over all pairs of 100), so that little tells them apart.

He et al. 2016 (deep residual learning), section 4.1, saw training errors rise with depth in plain nets with batch norm,
hold vanishing gradients unlikely there, and suspect that convergence is slow. It is slow here: the last run of the
first kind has five times the epochs.
"""

import math
from functools import partial
from statistics import geometric_mean

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import Stack, band, band_traces, bars, best, derive_seeds, digits, sweep, train, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks trained, of each kind at each learning rate
MEASURED = 40  # networks measured before training
DEEP, SHALLOW = 40, 5  # hidden layers
WIDTH = 32
IMAGES = 100  # over which gradients and cosines are taken
SWEEP = {"rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [3e-3, 1e-2, 3e-2, 1e-1, 3e-1]}, "epochs": 6}
LONG = {"epochs": 30, "lr": 3e-4}  # at the rate of Adam that does best in six

KINDS = {
    "plain": f"He, {DEEP} layers",  # h = W relu(h), Gaussian weights of variance 2 / WIDTH
    "mirrored": "mirrored",  # W = [[V, -V], [-V, V]], V orthogonal, only rotates: Balduzzi et al. 2017, "looks linear"
    "orthogonal": "tanh, orthogonal",  # h = W tanh(h), W orthogonal: Saxe et al. 2014
    "residual": "skips",  # h + W relu(h) / sqrt(DEEP), He's weights
    "shallow": f"He, {SHALLOW} layers",  # as the first
}
TOLERANCE = {"plain": 0.6, "long": 0.4, "mirrored": 0.1, "orthogonal": 0.1, "residual": 0.1, "ratio.long": 0.9}
WIDER = {
    "plain plain.hi": (2.0, "it has hardly begun to learn, chance being 0.1"),
    "plain.lo": (3.0, "it has hardly begun to learn, chance being 0.1"),
    "long": (1.8, "in the middle of its training"),
    "long.lo": (2.2, "in the middle of its training"),
    "ratio.plain": (3.0, "a product over layers that are narrower than the network is deep"),
    "ratio.long": (4.0, "the same, while it trains"),
}


class Net(nn.Module):
    """Hidden layers skip * h + branch * W phi(h), between a first and a last matrix."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        g, depth = torch.Generator().manual_seed(seed), SHALLOW if kind == "shallow" else DEEP
        self.skip, self.branch = (1.0, 1 / math.sqrt(depth)) if kind == "residual" else (0.0, 1.0)
        self.phi = torch.tanh if kind == "orthogonal" else torch.relu
        sizes = [(WIDTH, 64)] + [(WIDTH, WIDTH)] * (depth - 1) + [(10, WIDTH)]
        self.weights = nn.ParameterList(first_weights(kind, *size, g) for size in sizes)

    def states(self, x: Tensor) -> list[Tensor]:
        """Pre-activations of every hidden layer, or the trunk after every block: (batch, width) each."""
        first, *hidden, _ = self.weights
        h = [x @ first.T]
        for W in hidden:
            h.append(self.skip * h[-1] + self.branch * self.phi(h[-1]) @ W.T)
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.phi(self.states(x)[-1]) @ self.weights[-1].T


def first_weights(kind: str, out: int, fan_in: int, g: torch.Generator) -> Tensor:
    """One matrix as it is before training; the last one, to the ten classes, is Gaussian in any kind."""
    if kind not in ("mirrored", "orthogonal"):
        return weight(out, fan_in, "he", g, torch.float32)
    units = WIDTH // 2 if kind == "mirrored" else WIDTH
    size = [units if n == WIDTH else n for n in (out, fan_in)]  # pixels and classes have no mirror image
    V = weight(*size, 1.0, g, torch.float32) if out == 10 else nn.init.orthogonal_(torch.empty(size), generator=g)
    if size[1] < fan_in:
        V = torch.cat([V, -V], dim=1)
    return torch.cat([V, -V]) if size[0] < out else V


def gradient_ratio(net: Net, x: Tensor, y: Tensor) -> float:
    """The loss's gradient with respect to the first hidden layer's pre-activations over the last one's, norms."""
    states = net.states(x)
    loss = F.cross_entropy(net.phi(states[-1]) @ net.weights[-1].T, y)
    return ratio(norms_of_gradients(loss, states))


@torch.no_grad()
def cosine(net: Net, x: Tensor) -> float:
    """Mean cosine of the last hidden layer's activations over all pairs of images."""
    h = F.normalize(net.phi(net.states(x)[-1]))
    return float((h @ h.T).sum() - len(x)) / (len(x) * (len(x) - 1))


def measure(seed: int = SEED) -> dict:
    """Training fit over learning rates, and the gradient's ratio and the images' cosine before training."""
    data, seeds = digits(), derive_seeds(seed, MEASURED)
    x, y = data[0][:IMAGES], data[1][:IMAGES]
    m: dict = {"swept": {}, "ratio": {}, "cosine": {}}
    for kind in KINDS:
        build = partial(Net, kind)
        m["swept"][kind] = sweep(build, data, seeds=seeds[:REPLICAS], score="train_accuracy", **SWEEP)
        m[kind] = best(m["swept"][kind])
        nets = [build(s).double() for s in seeds]
        m["ratio"][kind] = band([gradient_ratio(net, x.double(), y) for net in nets])["median"]
        m["cosine"][kind] = band([cosine(net, x.double()) for net in nets])["median"]

    nets, ratios = [Net("plain", s) for s in seeds[:REPLICAS]], []

    def look(*_: object) -> None:
        ratios.append([gradient_ratio(net, x, y) for net in nets])

    trained = train(Stack(nets), data, generator=torch.Generator().manual_seed(seeds[0]), on_epoch=look, **LONG)
    m["long"] = band(trained["train_accuracy"])
    m["ratio"]["long"] = band([geometric_mean(of_net) for of_net in zip(*ratios, strict=True)])["median"]
    return m


def draw(m: dict) -> go.Figure:
    """The training fit against the learning rate, by Adam above and by gradient descent below."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    for row, (optimiser, label) in enumerate({"adam": "Adam", "sgd": "gradient descent"}.items(), start=1):
        for kind, name in KINDS.items():
            swept = m["swept"][kind][optimiser]
            fig.add_traces(band_traces(swept["rates"], swept, name), rows=row, cols=1)
        fig.update_xaxes(title=f"learning rate of {label}", type="log", dtick=1, row=row, col=1)
    name = f"He, {DEEP} layers, {LONG['epochs']} epochs"
    fig.add_scatter(x=[LONG["lr"]], **bars(m["long"]), name=name, mode="markers", meta="reference", row=1, col=1)
    return fig.update_yaxes(title="training digits fitted", range=[0, 1.05])


def claim_forty_gaussian_layers_fit_worse(m):
    """In six epochs, at the best of ten learning rates, plain ReLU networks with He's weights fit {plain:.2f} of the
    training digits with 40 layers and {shallow:.2f} with 5."""
    assert 0.1 <= m["plain"]["lo"] <= m["plain"]["median"] <= m["plain"]["hi"] < 0.55
    assert 0.14 < m["plain"]["median"] < 0.5
    assert 0.93 < m["shallow"]["lo"] <= m["shallow"]["median"] <= m["shallow"]["hi"] <= 1


def claim_it_is_slow(m):
    """In five times the epochs they get to {long:.2f}, the gradient at the first layer being {ratio.long:.2f} times
    that at the last meanwhile."""
    assert 0.4 < m["long"]["lo"] <= m["long"]["median"] <= m["long"]["hi"] < 0.97
    assert m["long"]["median"] > max(0.5, m["plain"]["hi"] + 0.15)
    assert 1.2 < m["ratio"]["long"] < 12


def claim_weights_that_keep_directions_fit_without_skips(m):
    """In the same six epochs 40 layers fit {mirrored:.2f} with mirrored weights and {orthogonal:.2f} with tanh and
    orthogonal ones, without a skip; with skips they fit {residual:.2f}."""
    for kind in ("mirrored", "orthogonal", "residual"):
        assert 0.85 < m[kind]["lo"] <= m[kind]["median"] <= m[kind]["hi"] <= 1


def claim_no_gradient_vanishes(m):
    """Before training the first layer's gradient is {ratio.plain:.2f} times the last one's with He's weights,
    {ratio.mirrored:.2f} with mirrored ones, {ratio.orthogonal:.2f} with orthogonal ones and {ratio.residual:.2f} with
    skips; in 5 layers it is {ratio.shallow:.2f}."""
    assert abs(m["ratio"]["mirrored"] - 1) < 1e-4
    bounds = {"plain": (0.22, 0.95), "orthogonal": (0.11, 0.19), "residual": (1.4, 2.2), "shallow": (0.75, 1.3)}
    for kind, (low, high) in bounds.items():
        assert low < m["ratio"][kind] < high


def claim_what_differs_is_the_geometry(m):
    """Before training the activations of two images have a cosine of {cosine.plain:.3f} after forty layers with He's
    weights, of {cosine.shallow:.2f} after five; of {cosine.mirrored:.2f} with mirrored weights, {cosine.orthogonal:.2f}
    with orthogonal ones and {cosine.residual:.2f} with skips."""
    assert 0.98 < m["cosine"]["plain"] <= 1
    bounds = {"shallow": (0.72, 0.9), "mirrored": (0.5, 0.7), "orthogonal": (0.35, 0.52), "residual": (0.55, 0.75)}
    for kind, (low, high) in bounds.items():
        assert low < m["cosine"][kind] < high
