"""Over fifty steps of noise an LSTM with forget bias 3 learns digits to {lstm_3.accuracy:.2f}, bias 1 far later.

Handwritten digits, read row by row (8 steps of 8 pixels), then 50 steps of standard normal noise, then the answer. What
the rows say has to survive the noise going forward, and the gradient going backward. The forget gate's bias is all that
differs between the LSTMs: at the start the gates are about sigmoid(bias), and sigmoid(bias)^50 is 2e-7 for bias 1 and
0.09 for bias 3 (Gers et al. 2000 for the gate; Jozefowicz et al. 2015 for a bias of 1). A bias that fits the
range to be bridged, not the one that has become the custom, is what Tallec & Ollivier (2018) recommend.
"""

from functools import partial

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vgdocs.experiments import Data, Stack, band, band_traces, bars, best, derive_seeds, digits, sweep, train

SEED = 0
NOISE = 50  # steps of noise after the 8 rows
HIDDEN = 24  # units
BIASES = {"lstm_1": 1, "lstm_3": 3}  # on the forget gate
SWEEP = {
    "rates": {"adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "momentum": [0.003, 0.01, 0.03, 0.1, 0.3]},
    "epochs": 8,
    "batch_size": 32,
    "clip": 1.0,  # largest norm of the gradient
}
LONG = {"epochs": 32, "lr": 1e-3}  # for bias 1, by Adam
REPLICAS = {"adam": 3, "momentum": 1}  # networks at each rate: the second is the slower everywhere
TOLERANCE = {"lstm_1": 0.5, "lstm_3": 0.6, "long": 0.6}
WIDER = {
    "lstm_1.accuracy.lo": (2.2, "trained from a few random starts"),
    "lstm_1.accuracy.hi": (4.0, "with one seed in ten it has begun"),
    "lstm_3.accuracy lstm_3.accuracy.hi": (2.0, "trained from a few random starts"),
    "lstm_3.accuracy.lo long.lo": (3.2, "one of three may be late"),
    "lstm_1.momentum lstm_3.momentum long long.hi": (2.0, "trained from a few random starts"),
}


class Reader(nn.Module):
    """An LSTM that reads the rows and the noise and classifies its last state, written out to be stacked."""

    def __init__(self, bias: float, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        shapes = [(8, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,), (HIDDEN, 10), (10,)]
        draws = [(2 * torch.rand(shape, generator=g) - 1) * HIDDEN**-0.5 for shape in shapes]  # PyTorch's default
        self.inwards, self.across, self.bias, self.outwards, self.offset = map(nn.Parameter, draws)
        self.bias.data[HIDDEN : 2 * HIDDEN] = bias  # gates in the order i, f, g, o

    def forward(self, x: Tensor) -> Tensor:
        from_input = (x.view(len(x), -1, 8) @ self.inwards + self.bias).unbind(1)  # T times (batch, 4 hidden)
        h = c = x.new_zeros(len(x), HIDDEN)
        for z in from_input:
            i, f, g, o = (z + h @ self.across).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h @ self.outwards + self.offset  # (batch, 10)


def digits_and_noise(seed: int) -> Data:
    """The digits, each with NOISE rows of noise of its own appended: x is (n, 64 + 8 NOISE)."""
    g = torch.Generator().manual_seed(seed)
    x_train, y_train, x_test, y_test = digits()
    x_train, x_test = (torch.cat([x, torch.randn(len(x), 8 * NOISE, generator=g)], 1) for x in (x_train, x_test))
    return x_train, y_train, x_test, y_test


def measure(seed: int = SEED) -> dict:
    """Test accuracies of both LSTMs at every rate."""
    data, seeds = digits_and_noise(seed), derive_seeds(seed, max(REPLICAS.values()))
    m: dict = {}
    for name, bias in BIASES.items():
        swept = {}
        for optimiser, rates in SWEEP["rates"].items():
            settings = SWEEP | {"rates": {optimiser: rates}, "seeds": seeds[: REPLICAS[optimiser]]}
            swept |= sweep(partial(Reader, bias), data, **settings)
        adam, momentum = (best({optimiser: swept[optimiser]}) for optimiser in REPLICAS)
        m[name] = {"swept": swept, "accuracy": adam, "momentum": momentum["median"]}
    settings = {"batch_size": SWEEP["batch_size"], "clip": SWEEP["clip"], **LONG}
    slow = Stack([Reader(BIASES["lstm_1"], s) for s in seeds])
    m["long"] = band(train(slow, data, generator=torch.Generator().manual_seed(seed), **settings)["test_accuracy"])
    return m


def draw(m: dict) -> go.Figure:
    """Accuracy over the learning rate."""
    fig = go.Figure()
    for name, bias in BIASES.items():
        adam, momentum = m[name]["swept"]["adam"], m[name]["swept"]["momentum"]
        label, role = f"LSTM, bias {bias}", "healthy" if bias == 3 else None
        fig.add_traces(band_traces(adam["rates"], adam, f"{label}, Adam", role))
        dotted = {"mode": "lines+markers", "line": {"dash": "dot"}, "meta": role}
        fig.add_scatter(x=momentum["rates"], y=momentum["median"], name=f"{label}, momentum", **dotted)
    label = f"LSTM, bias 1, Adam, {LONG['epochs']} epochs"
    fig.add_scatter(x=[LONG["lr"]], **bars(m["long"]), name=label, mode="markers")
    ends = [min(SWEEP["rates"]["adam"]), max(SWEEP["rates"]["momentum"])]
    fig.add_scatter(x=ends, y=[0.1, 0.1], name="chance", mode="lines", meta="reference")
    return fig.update_xaxes(title="learning rate", type="log").update_yaxes(title="test accuracy", range=[0, 1])


def claim_bias_three_learns(m):
    """With forget bias 3 an LSTM reaches {lstm_3.accuracy:.2f} in eight epochs at the best of five rates of Adam."""
    reached = m["lstm_3"]["accuracy"]
    assert 0.14 < reached["lo"] <= reached["median"] <= reached["hi"] <= 1
    assert 0.33 < reached["median"] < 0.85


def claim_bias_one_hardly_begins(m):
    """With forget bias 1 it reaches {lstm_1.accuracy:.2f} at the best of them, chance being 0.10 (with one seed in ten
    it has begun to learn), and by SGD with momentum {lstm_1.momentum:.2f}, where bias 3 has {lstm_3.momentum:.2f}."""
    reached = m["lstm_1"]["accuracy"]
    assert 0.05 < reached["lo"] <= reached["median"] <= reached["hi"] < 0.45
    assert 0.08 < reached["median"] < min(0.35, m["lstm_3"]["accuracy"]["median"] - 0.15)
    assert 0.08 < m["lstm_1"]["momentum"] < 0.2
    assert 0.2 < m["lstm_3"]["momentum"] < 0.62


def claim_it_only_takes_longer(m):
    """In four times the epochs, at a rate of 0.001, bias 1 has begun as well: it reaches {long:.2f}."""
    assert 0.065 < m["long"]["lo"] <= m["long"]["median"] <= m["long"]["hi"] < 0.8
    assert m["long"]["median"] > m["lstm_1"]["accuracy"]["median"] + 0.05
