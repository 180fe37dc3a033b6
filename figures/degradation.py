"""Forty plain ReLU layers fit {plain:.2f} of the training digits, and {mirrored:.2f} if their weights keep directions.

Networks of width 32 without biases, each kind trained on the digits by Adam and by gradient descent at five learning
rates for six epochs in batches of 64. Plotted is the share of the *training* digits they get right, so that this is
not overfitting.

    He           h = W relu(h), Gaussian weights of variance 2 / 32; in 40 layers and in 5
    mirrored     the same with [[V, -V], [-V, V]], V orthogonal: at the start each layer only rotates (Balduzzi et al.
                 2017, "looks linear")
    tanh         h = W tanh(h), W orthogonal (Saxe et al. 2014)
    skips        h + W relu(h) / sqrt(40), He's weights

No kind's gradient vanishes: compared is the norm of the gradient with respect to the first hidden layer's
pre-activations with the last one's. What the first kind loses is the geometry. In 40 layers the activations of any two
images become nearly parallel (their cosine is taken over all pairs of 100), so that little tells them apart.

He et al. 2016 (deep residual learning), section 4.1, saw training errors rise with depth in plain nets with batch norm,
hold vanishing gradients unlikely there, and suspect that convergence is slow. It is slow here: the last run of the
first kind has five times the epochs.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import (
    Stack,
    band,
    band_traces,
    best,
    derive_seeds,
    digits,
    sweep,
    train,
    weight,
)
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks trained, of each kind at each learning rate
MEASURED = 40  # networks measured before training
DEEP, SHALLOW = 40, 5  # hidden layers
WIDTH = 32
IMAGES = 100  # over which gradients and cosines are taken
SWEEP = {
    "rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [3e-3, 1e-2, 3e-2, 1e-1, 3e-1]},
    "epochs": 6,
}
LONG = {"epochs": 30, "lr": 3e-4}  # at the rate of Adam that does best in six

KINDS = {
    "plain": f"He, {DEEP} layers",
    "mirrored": "mirrored",
    "orthogonal": "tanh, orthogonal",
    "residual": "skips",
    "shallow": f"He, {SHALLOW} layers",
}
TOLERANCE = {"plain": 0.6, "long": 0.4, "mirrored": 0.1, "orthogonal": 0.1, "residual": 0.1, "ratio.long": 0.9}
WIDER = {
    "plain": (2.0, "it has hardly begun to learn, chance being 0.1"),
    "plain.lo": (3.0, "it has hardly begun to learn, chance being 0.1"),
    "plain.hi": (2.0, "it has hardly begun to learn, chance being 0.1"),
    "long": (1.8, "in the middle of its training"),
    "long.lo": (2.2, "in the middle of its training"),
    "ratio.plain": (3.0, "a product over layers that are narrower than the network is deep"),
    "ratio.long": (4.0, "the same, while it trains"),
}


class Net(nn.Module):
    """Hidden layers skip * h + branch * W phi(h), between a first and a last matrix."""

    def __init__(self, kind: str, g: torch.Generator) -> None:
        super().__init__()
        depth = SHALLOW if kind == "shallow" else DEEP
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
    if kind == "orthogonal":
        return (
            weight(out, fan_in, 1.0, g, torch.float32)
            if out == 10
            else nn.init.orthogonal_(torch.empty(out, fan_in), generator=g)
        )
    if out == 10:
        V = weight(out, fan_in // 2, 1.0, g, torch.float32)
        return torch.cat([V, -V], dim=1)
    V = nn.init.orthogonal_(torch.empty(out // 2, fan_in if fan_in == 64 else fan_in // 2), generator=g)
    return torch.cat([V, -V]) if fan_in == 64 else torch.cat([torch.cat([V, -V], dim=1), torch.cat([-V, V], dim=1)])


def build(kind: str, seed: int) -> Net:
    return Net(kind, torch.Generator().manual_seed(seed))


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
        m["swept"][kind] = sweep(
            lambda s, kind=kind: build(kind, s), data, seeds=seeds[:REPLICAS], score="train_accuracy", **SWEEP
        )
        m[kind] = best(m["swept"][kind])
        nets = [build(kind, s).double() for s in seeds]
        m["ratio"][kind] = band([gradient_ratio(net, x.double(), y) for net in nets])["median"]
        m["cosine"][kind] = band([cosine(net, x.double()) for net in nets])["median"]

    stack, logs = Stack([build("plain", s) for s in seeds[:REPLICAS]]), []

    def look(*_: object) -> None:
        logs.append([math.log(gradient_ratio(net, x, y)) for net in stack.networks])

    generator = torch.Generator().manual_seed(seeds[0])
    trained = train(stack, data, generator=generator, on_epoch=look, **LONG)
    m["long"] = band(trained["train_accuracy"])
    m["ratio"]["long"] = math.exp(band([sum(log) / len(logs) for log in zip(*logs, strict=True)])["median"])
    return m


def draw(m: dict) -> go.Figure:
    """The training fit against the learning rate, by Adam above and by gradient descent below."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    for row, optimiser in enumerate(SWEEP["rates"], start=1):
        for kind, name in KINDS.items():
            swept = m["swept"][kind][optimiser]
            for trace in band_traces(swept["rates"], swept, name):
                fig.add_trace(trace.update(showlegend=row == 1 and trace.showlegend is None), row=row, col=1)
        title = {"adam": "learning rate of Adam", "sgd": "learning rate of gradient descent"}[optimiser]
        fig.update_xaxes(title=title, type="log", exponentformat="power", dtick=1, row=row, col=1)
        fig.update_yaxes(title="training digits fitted", range=[0, 1.05], row=row, col=1)
    fig.add_scatter(
        x=[LONG["lr"]],
        y=[m["long"]["median"]],
        error_y={
            "array": [m["long"]["hi"] - m["long"]["median"]],
            "arrayminus": [m["long"]["median"] - m["long"]["lo"]],
        },
        name=f"He, {DEEP} layers, {LONG['epochs']} epochs",
        mode="markers",
        meta={"role": "reference"},
        row=1,
        col=1,
    )
    return fig


def claim_forty_gaussian_layers_fit_worse(m):
    """In six epochs, at the best of ten learning rates, plain ReLU networks with He's weights fit {plain:.2f} of the
    training digits with 40 layers and {shallow:.2f} with 5."""
    assert 0.1 <= m["plain"]["lo"] <= m["plain"]["median"] <= m["plain"]["hi"] < 0.5
    assert 0.14 < m["plain"]["median"] < 0.4
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
    assert 0.22 < m["ratio"]["plain"] < 0.95
    assert abs(m["ratio"]["mirrored"] - 1) < 1e-4
    assert 0.11 < m["ratio"]["orthogonal"] < 0.19
    assert 1.4 < m["ratio"]["residual"] < 2.2
    assert 0.75 < m["ratio"]["shallow"] < 1.3


def claim_what_differs_is_the_geometry(m):
    """Before training the activations of two images have a cosine of {cosine.plain:.3f} after forty layers with He's
    weights, of {cosine.shallow:.2f} after five; of {cosine.mirrored:.2f} with mirrored weights, {cosine.orthogonal:.2f}
    with orthogonal ones and {cosine.residual:.2f} with skips."""
    assert 0.98 < m["cosine"]["plain"] <= 1
    assert 0.72 < m["cosine"]["shallow"] < 0.9
    assert 0.5 < m["cosine"]["mirrored"] < 0.7
    assert 0.35 < m["cosine"]["orthogonal"] < 0.52
    assert 0.55 < m["cosine"]["residual"] < 0.75
