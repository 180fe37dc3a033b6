"""Six networks with something wrong look different to a probe, each in its own way.

Sixteen hidden layers on handwritten digits, one step of Adam, or ten at thirty times the rate, watched by the site's
own probe. The readings: the gradient with respect to the outputs of the linear layers, first over last; the signal, the
root mean square of these outputs, last over first; the size of an update beside that of its weights, median over the
layers; the share of dead units, which are zero on the whole batch; and the share of saturated outputs, where the
activation's slope is below a twentieth of its largest. Medians over five networks of each kind.

Healthy: ReLU with He's weights (He et al. 2015, section 2.2). The others differ in what their names say; the network of
sigmoids has PyTorch's weights as well, and that of large ones is of tanh, with four times the scale that 1/n gives.
"""

import statistics

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import derive_seeds, digits
from vgdocs.probe import Probe

SEED = 0
REPLICAS = 5  # networks of each kind
DEPTH, WIDTH, BATCH = 16, 64, 256
RATE, TIMID_RATE = 1e-3, 1e-7  # Adam's learning rate
RASH_RATE, RASH_STEPS = 0.03, 10  # what kills units
SWEEP = {"reason": "ten steps too large are taken to kill units, and no claim compares how networks train"}
NAMES = {
    "healthy": "healthy",
    "sigmoid": "sigmoid",
    "default": "ReLU, PyTorch's default",
    "batchnorm": "batch norm, no skips",
    "gain": "tanh, weights × 4",
    "rash": "ten steps at rate × 30",
    "timid": "rate ÷ 10,000",
}

TOLERANCE = {"dead.rash": 0.2, "gradient": 0.05}
WIDER = {
    "gradient.sigmoid": (4.0, "fifteen factors multiply their spread"),
    "gradient.default": (4.0, "fifteen factors multiply their spread"),
    "gradient.healthy": (2.0, "fifteen factors multiply their spread"),
    "gradient.gain": (2.0, "fifteen factors multiply their spread"),
    "dead.healthy": (2.0, "a few units of a thousand"),
}


def build(kind: str) -> nn.Sequential:
    """Sixteen hidden layers and a readout, weights as the kind wants them, biases zero except in PyTorch's default."""
    activation = {"sigmoid": nn.Sigmoid, "gain": nn.Tanh}.get(kind, nn.ReLU)
    layers: list[nn.Module] = []
    for fan_in in [64] + [WIDTH] * (DEPTH - 1):
        layers += [nn.Linear(fan_in, WIDTH), activation()]
        if kind == "batchnorm":
            layers.insert(-1, nn.BatchNorm1d(WIDTH))
        if kind not in ("sigmoid", "default"):
            linear = next(layer for layer in reversed(layers) if isinstance(layer, nn.Linear))
            sigma_w2 = 16 if kind == "gain" else 2  # fan-in x variance of a weight
            nn.init.normal_(linear.weight, std=(sigma_w2 / fan_in) ** 0.5)
            nn.init.zeros_(linear.bias)
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def read_off(kind: str, seed: int) -> dict[str, float]:
    """One step with a probe attached, and what it says."""
    torch.manual_seed(seed)
    x, y = (part[:BATCH] for part in digits()[:2])
    model = build(kind)
    if kind == "rash":
        rash = torch.optim.Adam(model.parameters(), RASH_RATE)
        for _ in range(RASH_STEPS):
            rash.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            rash.step()
    optimizer = torch.optim.Adam(model.parameters(), TIMID_RATE if kind == "timid" else RATE)
    optimizer.zero_grad()
    with Probe(model, optimizer) as probe:
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    rows = [row for row in probe.record.rows if row["kind"] != "BatchNorm1d"]
    linear = [row for row in rows if row["kind"] == "Linear"][:-1]
    active = [row for row in rows if row["kind"] != "Linear"]
    updates = sorted(row["update_ratio"] for row in linear)
    return {
        "gradient": linear[0]["activation_gradient"] / linear[-1]["activation_gradient"],
        "signal": linear[-1]["signal"] / linear[0]["signal"],
        "update": updates[len(updates) // 2],
        "dead": sum(row["dead"] or 0 for row in active) / len(active),
        "saturated": sum(row["saturated"] or 0 for row in active) / len(active),
    }


def measure(seed: int = SEED) -> dict:
    read = {kind: [read_off(kind, s) for s in derive_seeds(seed, REPLICAS)] for kind in NAMES}

    def median(kind: str, reading: str) -> float:
        return statistics.median(one[reading] for one in read[kind])

    cited = {
        "gradient": ["healthy", "sigmoid", "default", "batchnorm", "gain"],
        "signal": ["default"],
        "update": ["healthy", "timid"],
        "dead": ["healthy", "default", "rash"],
        "saturated": ["gain"],
    }
    return {
        "kinds": list(NAMES.values()),
        "readings": {reading: [median(kind, reading) for kind in NAMES] for reading in cited},
        **{reading: {kind: median(kind, reading) for kind in kinds} for reading, kinds in cited.items()},
    }


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.6, 0.4])
    for reading, name in (
        ("gradient", "gradient, first layer over last"),
        ("signal", "signal, last layer over first"),
        ("update", "update over weights"),
    ):
        fig.add_scatter(x=m["kinds"], y=m["readings"][reading], name=name, mode="markers", row=1, col=1)
    for reading, name in (("dead", "dead units"), ("saturated", "saturated outputs")):
        fig.add_bar(x=m["kinds"], y=m["readings"][reading], name=name, row=2, col=1)
    fig.update_yaxes(title="ratio", type="log", row=1, col=1)
    fig.update_yaxes(title="share", range=[0, 1], row=2, col=1)
    fig.update_xaxes(title="network", row=2, col=1)
    return fig


def claim_the_gradient_tells_vanishing_from_exploding(m):
    """The first layer's gradient is {gradient.healthy:.1f} times the last one's in the healthy network,
    {gradient.sigmoid:.0e} with sigmoids and PyTorch's weights, {gradient.default:.0e} with PyTorch's default weights,
    {gradient.batchnorm:.0f} with batch normalisation and {gradient.gain:.0f} with large weights.
    """
    assert 0.5 < m["gradient"]["healthy"] < 1.7
    assert 4e-14 < m["gradient"]["sigmoid"] < 4e-13
    assert 4e-7 < m["gradient"]["default"] < 4e-6
    assert 12.5 < m["gradient"]["batchnorm"] < 22
    assert 400 < m["gradient"]["gain"] < 1100


def claim_the_signal_hides_it(m):
    """With PyTorch's default weights {signal.default:.2f} of the signal is left at the top, where it looks alive while
    the gradient is lost.
    """
    assert 0.115 < m["signal"]["default"] < 0.17


def claim_dead_units_take_a_threshold(m):
    """On the whole batch {dead.healthy:.0%} of the units are silent in the healthy network, {dead.default:.0%} with
    PyTorch's default weights, and {dead.rash:.0%} after ten steps at thirty times the learning rate.
    """
    assert 0.09 < m["dead"]["healthy"] < 0.25
    assert 0.3 < m["dead"]["default"] < 0.5
    assert 0.55 < m["dead"]["rash"] < 0.9


def claim_saturation_shows(m):
    """With weights four times too large {saturated.gain:.0%} of tanh's outputs lie where it is flat, its slope below a
    twentieth.
    """
    assert 0.45 < m["saturated"]["gain"] < 0.65


def claim_the_update_shows_the_learning_rate(m):
    """An update is {update.healthy:.0e} of the weights at a usual learning rate and {update.timid:.0e} at a
    ten-thousandth of it, and no other reading differs.
    """
    assert 0.0035 < m["update"]["healthy"] < 0.006
    assert 3.5e-7 < m["update"]["timid"] < 6e-7
    timid, healthy = m["kinds"].index(NAMES["timid"]), m["kinds"].index(NAMES["healthy"])
    for reading in ("gradient", "signal", "dead", "saturated"):
        assert m["readings"][reading][timid] == m["readings"][reading][healthy]
