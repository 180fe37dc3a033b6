"""A weight decay of 0.1 takes 20 ReLU layers of He's scale to a gradient ratio of {ratio.strong:.0e} in {steps} steps.

Without a loss, gradient descent with momentum mu and an L2 penalty multiplies a weight by exp(-eta lambda / (1 - mu))
per step, roughly (the theory shown is the exact recursion of one weight). A layer's rate is in proportion to its
weights, so the gradient at the first of L layers falls by the (L-1)-th power of that, beside the last one's:

    variance ~ exp(-2 s),    ratio ~ exp(-(L-1) s),    s = eta lambda t / (1 - mu).

The loss resists as long as its gradient reaches the weights. Controls: no decay; a milder one; half the rate; the same
decay in three layers; Adam with the penalty in its gradient against AdamW, which shrinks weights beside the step
(Loshchilov & Hutter 2019). Classifiers of 8 x 8 digits, 32 units in a layer, batches of 64; biases decay as well, as
they do by default.
"""

import copy
import math
from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import Stack, band, band_traces, derive_seeds, digits
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 3  # networks of each kind
DEPTH, SHALLOW = 20, 3  # hidden layers
PIXELS, WIDTH = 64, 32
BATCH = 64  # images
STEPS = 400
EVERY = 50  # steps between two looks
MOMENTUM = 0.9
DECAYS = {"none": 0.0, "mild": 1e-2, "strong": 1e-1}
RATE = 0.01  # of gradient descent
ADAM_RATE, ADAM_DECAY = 1e-3, 1e-2
TOLERANCE = {"variance": 0.1, "ratio": 1.0}
WIDER = {
    "ratio.strong ratio.slower": (1e7, "nineteen factors, each of which falls tenfold or a hundredfold"),
    "ratio.none ratio.mild ratio.adam ratio.adamw": (3.0, "a product over nineteen layers while they train"),
}
SWEEP = {"reason": "it follows the scale of weights and gradients while networks train, and ranks no two trainings"}


class Plain(nn.Module):
    """ReLU layers at He's scale and a linear readout."""

    def __init__(self, depth: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = [PIXELS] + [WIDTH] * depth
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.readout = nn.Linear(WIDTH, 10)

    def pre_activations(self, x: Tensor) -> list[Tensor]:
        zs: list[Tensor] = []
        for layer in self.layers:
            zs.append(layer(zs[-1].relu() if zs else x))
        return zs

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.pre_activations(x)[-1].relu())


@torch.no_grad()
def update(p: Tensor, state: dict, kind: str, step: int, rates: Tensor, decays: Tensor) -> None:
    """One step of SGD with momentum, of Adam with an L2 penalty or of AdamW, each network at its own rate and decay."""
    eta, decay = (setting.view(-1, *[1] * (p.dim() - 1)) for setting in (rates, decays))
    g = p.grad if kind == "adamw" else p.grad + decay * p
    m = state.setdefault("m", torch.zeros_like(p))
    if kind == "sgd":
        p.sub_(eta * m.mul_(MOMENTUM).add_(g))
        return
    v = state.setdefault("v", torch.zeros_like(p))
    m.lerp_(g, 0.1)
    v.lerp_(g.square(), 0.001)
    if kind == "adamw":
        p.mul_(1 - eta * decay)
    p.sub_(eta * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))


def look(network: Plain, x: Tensor, seed: int) -> dict[str, float]:
    """Fan-in times the variance of the weights behind the first layer, and the gradient's ratio, first over last."""
    exact = copy.deepcopy(network).double()
    zs = exact.pre_activations(x.double())
    v = torch.randn(zs[-1].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    norms = norms_of_gradients((zs[-1].relu() * v).sum(), zs)
    squares = [float(layer.weight.detach().square().mean()) for layer in exact.layers[1:]]
    return {
        "variance": WIDTH * sum(squares) / len(squares),
        "ratio": max(norms[0] / norms[-1], 1e-300) if norms[-1] else 1e-300,
    }


def follow(kind: str, settings: dict, depth: int, seeds: list[int], data: tuple) -> dict:
    """Train networks side by side; for each setting (rate, decay) what `look` finds along the way."""
    stack = Stack([Plain(depth, s) for _ in settings for s in seeds])
    rates, decays = torch.tensor([setting for setting in settings.values() for _ in seeds]).T
    generator = torch.Generator().manual_seed(seeds[0])
    states: list[dict] = [{} for _ in stack.parameters()]
    looks = [[look(network, data[0][:BATCH], seeds[0]) for network in stack.networks]]
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(data[0]), (BATCH,), generator=generator)
        loss = torch.vmap(F.cross_entropy, (0, None))(stack(data[0][rows]), data[1][rows])
        stack.zero_grad()
        loss.sum().backward()
        for p, state in zip(stack.parameters(), states, strict=True):
            update(p, state, kind, step, rates, decays)
        if step % EVERY == 0:
            looks.append([look(network, data[0][:BATCH], seeds[0]) for network in stack.networks])
    found = {}
    for i, name in enumerate(settings):
        mine = range(i * len(seeds), (i + 1) * len(seeds))
        found[name] = band([{key: [at[j][key] for at in looks] for key in looks[0][j]} for j in mine])
    return found


def measure(seed: int = SEED) -> dict:
    """The scale of weights and gradients along the way, of every kind of network and optimiser."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)
    by_decay = {name: (RATE, decay) for name, decay in DECAYS.items()}
    slower = {"slower": (RATE / 2, DECAYS["strong"])}
    runs = follow("sgd", by_decay | slower, DEPTH, seeds, data)
    runs |= follow("sgd", {"shallow": (RATE, DECAYS["strong"])}, SHALLOW, seeds, data)
    for kind in ("adam", "adamw"):
        runs |= follow(kind, {kind: (ADAM_RATE, ADAM_DECAY)}, DEPTH, seeds, data)
    m: dict = {"steps": STEPS, "runs": runs, "variance": {}, "ratio": {}}
    for name, run in runs.items():
        for key in ("variance", "ratio"):
            m[key][name] = run[key]["median"][-1]
    return m


def decayed(rate: float, decay: float, steps: int = STEPS) -> list[float]:
    """A weight that starts at 1 and feels nothing but the decay, at every look."""
    w, velocity, seen = 1.0, 0.0, [1.0]
    for step in range(1, steps + 1):
        velocity = MOMENTUM * velocity + decay * w
        w -= rate * velocity
        if step % EVERY == 0:
            seen.append(w)
    return seen


def draw(m: dict) -> go.Figure:
    """The scale of the weights and the gradient's ratio over the steps, with theory for the strongest decay."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    steps = list(range(0, STEPS + 1, EVERY))
    shown = {
        "none": ("no decay", "healthy"),
        "mild": ("decay 0.01", None),
        "strong": ("decay 0.1", "vanishing"),
        "shallow": ("decay 0.1, three layers", None),
    }
    for name, (label, role) in shown.items():
        for row, key in enumerate(("variance", "ratio"), 1):
            fig.add_traces(band_traces(steps, m["runs"][name][key], label, role), rows=row, cols=1)
    left = decayed(RATE, DECAYS["strong"])
    theory = {"mode": "lines", "name": "decay 0.1, theory without a loss", "meta": "theory", "x": steps}
    fig.add_scatter(**theory, y=[2 * w**2 for w in left], row=1, col=1)
    fig.add_scatter(**theory, y=[w ** (DEPTH - 1) for w in left], row=2, col=1)
    fig.update_yaxes(type="log")
    fig.update_yaxes(title="fan-in × variance", row=1, col=1)
    fig.update_yaxes(title="gradient of z,<br>first over last", row=2, col=1)
    return fig.update_xaxes(title="step", row=2, col=1)


def claim_decay_takes_the_scale(m):
    """At a decay of 0.1 the weights' variance times the fan-in falls from 2 to {variance.strong:.0e} in {steps}
    steps, and the gradient's ratio to {ratio.strong:.0e}, as theory without a loss has it; at half the rate to
    {variance.slower:.2f} and {ratio.slower:.0e}."""
    assert m["steps"] == STEPS
    for name, rate in (("strong", RATE), ("slower", RATE / 2)):
        left = decayed(rate, DECAYS["strong"])[-1]
        assert math.isclose(m["variance"][name], 2 * left**2, rel_tol=0.25)
        assert abs(math.log10(m["ratio"][name]) - (DEPTH - 1) * math.log10(left)) < 6


def claim_without_it_the_scale_stays(m):
    """Without decay they stay at {variance.none:.1f} and {ratio.none:.1f}."""
    assert 1.6 < m["variance"]["none"] < 2.6
    assert 0.95 < m["ratio"]["none"] < 7.0


def claim_the_loss_resists_a_milder_decay(m):
    """At a decay of 0.01 the variance is {variance.mild:.1f} and the ratio {ratio.mild:.1f}, far above what the
    variance alone would give."""
    assert 0.75 < m["variance"]["mild"] < 1.35
    assert 0.65 < m["ratio"]["mild"] < 4.0
    assert m["ratio"]["mild"] > 100 * (m["variance"]["mild"] / 2) ** ((DEPTH - 1) / 2)


def claim_three_layers_hold_out(m):
    """In three layers the strong decay stops at a variance of {variance.shallow:.2f} and a ratio of
    {ratio.shallow:.2f}."""
    assert 0.13 < m["variance"]["shallow"] < 0.27
    assert 0.38 < m["ratio"]["shallow"] < 0.8
    *_, before, _, last = m["runs"]["shallow"]["variance"]["median"]  # a hundred steps apart
    assert 0.92 * before < last < 1.08 * before


def claim_where_the_penalty_stands_matters(m):
    """With a decay of 0.01 in its gradient Adam takes the variance to {variance.adam:.2f}, AdamW to
    {variance.adamw:.2f}, whose decay shrinks a weight by less than a hundredth in this time; the ratios are
    {ratio.adam:.0f} and {ratio.adamw:.0f}."""
    assert 0.45 < m["variance"]["adam"] < 0.95
    assert 1.6 < m["variance"]["adamw"] < 2.6
    assert 2.2 < m["ratio"]["adam"] < 15
    assert 4.0 < m["ratio"]["adamw"] < 27
