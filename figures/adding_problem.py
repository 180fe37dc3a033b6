"""LSTM and GRU learn to add numbers 49 steps apart, though at first {lstm.reach_before:.0e} of the gradient gets there.

The adding problem (Hochreiter & Schmidhuber 1997, section 5.4, in the variant with values in [0, 1]): each step shows a
random value and a marker; the target is the sum of the two marked values, one in each half of the sequence. Always
answering 1 has an error of 1/6. All biases are PyTorch's defaults, so that the LSTM's gates start half open.
Reach is the gradient of the output with respect to the first five inputs over that of the last five: a vanishing
gradient at initialisation says how learning starts, here from short distances, and not where it ends.
"""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 3  # networks of each kind
STEPS = 50  # length of a sequence
HIDDEN = 32  # units
BATCH = 32  # sequences a training step
TESTED = 2000  # sequences that the error is measured on
EVERY = 50  # training steps between two points of a curve
RUNS = {  # name: kind, learning rate of Adam, training steps
    "rnn": (nn.RNN, 1e-3, 1000),  # at 1e-2 it does no better
    "gru": (nn.GRU, 1e-2, 500),
    "lstm": (nn.LSTM, 2e-2, 1500),
}
CLIP = 1.0  # largest norm of the gradient
WIDER = {
    "gru.worst_error": (40.0, "how small an error becomes in the end differs that much"),
    "lstm.worst_error": (40.0, "how small an error becomes in the end differs that much"),
    "lstm.reach_before": (300.0, "a product of 49 random factors"),
}
TOLERANCE = {"gru.worst_error": 0.5, "lstm.worst_error": 0.5, "rnn.best_error": 0.05, "lstm.reach_after": 0.2}


class Adder(nn.Module):
    """A recurrent network whose last state is read out linearly."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent, self.readout = kind(2, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.recurrent(x)[0][-1])[:, 0]  # (batch,)


def sequences(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Values with markers, (T, n, 2), and the sums of the marked values, (n,)."""
    values, markers = torch.rand(STEPS, n, generator=generator), torch.zeros(STEPS, n)
    half = STEPS // 2
    for start in (0, half):
        markers[torch.randint(start, start + half, (n,), generator=generator), torch.arange(n)] = 1
    return torch.stack([values, markers], dim=2), (values * markers).sum(0)


def gradient_back(net: Adder, x: torch.Tensor) -> list[float]:
    """Norms of the gradient of the output with respect to the inputs, 0 to STEPS - 1 steps back."""
    inputs = [x_t.requires_grad_() for x_t in x.unbind()]
    return norms_of_gradients(net(torch.stack(inputs)).sum(), inputs)[::-1]


def run(kind: type[nn.RNNBase], lr: float, steps: int, seed: int) -> dict:
    """Train one network; its test errors every EVERY steps, and its gradients before and after."""
    torch.manual_seed(seed)  # nn.RNN and its kin draw their weights from the global generator
    generator = torch.Generator().manual_seed(seed)
    net, (x_test, y_test) = Adder(kind), sequences(TESTED, generator)
    before, errors = gradient_back(net, x_test), []
    adam = torch.optim.Adam(net.parameters(), lr=lr)
    for step in range(1, steps + 1):
        x, y = sequences(BATCH, generator)
        adam.zero_grad()
        (net(x) - y).square().mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        adam.step()
        if step % EVERY == 0:
            with torch.no_grad():
                errors.append(float((net(x_test) - y_test).square().mean()))
    return {"errors": errors, "before": before, "after": gradient_back(net, x_test)}


def measure(seed: int = SEED) -> dict:
    """Errors over training, and gradients over distance before and after it."""
    m = {}
    for name, (kind, lr, steps) in RUNS.items():
        runs = [run(kind, lr, steps, s) for s in derive_seeds(seed, REPLICAS)]
        m[name] = {"errors": band([r["errors"] for r in runs])}
        for when in ("before", "after"):
            m[name][when] = band([[norm / r[when][0] for norm in r[when]] for r in runs])
            m[name]["reaches_" + when] = [sum(r[when][-5:]) / sum(r[when][:5]) for r in runs]
    m["rnn"]["best_error"] = m["rnn"]["errors"]["lo"][-1]
    for name in ("gru", "lstm"):
        m[name]["worst_error"] = m[name]["errors"]["hi"][-1]
    for when in ("before", "after"):
        m["lstm"]["reach_" + when] = band(m["lstm"]["reaches_" + when])["median"]
    return m


def draw(m: dict) -> go.Figure:
    """Above the error over training, below how far the gradient reaches."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    roles = {"rnn": "vanishing", "lstm": "healthy"}
    for name in RUNS:
        steps = [EVERY * (i + 1) for i in range(len(m[name]["errors"]["median"]))]
        for trace in band_traces(steps, m[name]["errors"], name.upper(), meta=roles.get(name)):
            fig.add_trace(trace, row=1, col=1)
    fig.add_scatter(
        x=steps, y=[1 / 6] * len(steps), name="always answer 1", mode="lines", meta="reference", row=1, col=1
    )
    for name, when, role in [("lstm", "before", None), ("rnn", "after", "vanishing"), ("lstm", "after", "healthy")]:
        for trace in band_traces(list(range(STEPS)), m[name][when], f"{name.upper()} {when} training", meta=role):
            fig.add_trace(trace, row=2, col=1)
    fig.update_yaxes(type="log", exponentformat="power")
    fig.update_xaxes(title="training step", row=1, col=1)
    fig.update_yaxes(title="test error", row=1, col=1)
    fig.update_xaxes(title="steps back", row=2, col=1)
    fig.update_yaxes(title="‖∂output/∂x‖, relative", row=2, col=1)
    return fig


def claim_gated_networks_learn_it(m):
    """Started with PyTorch's default biases, no GRU ends above an error of {gru.worst_error:.4f} and no LSTM above
    {lstm.worst_error:.4f}."""
    for name in ("gru", "lstm"):
        assert 1e-4 < m[name]["worst_error"] < 0.02


def claim_rnn_does_not(m):
    """No RNN ends below an error of {rnn.best_error:.3f}; always answering 1 has 1/6."""
    assert 0.14 < m["rnn"]["best_error"] < 0.2


def claim_training_finds_the_reach(m):
    """Before training {lstm.reach_before:.0e} of an LSTM's gradient reaches the first inputs, after it all of it
    ({lstm.reach_after:.2f}); in an RNN it still vanishes."""
    assert 1e-11 < m["lstm"]["reach_before"] < 1e-7
    assert 0.7 < m["lstm"]["reach_after"] < 1.45
    assert all(reach < 1e-5 for reach in m["lstm"]["reaches_before"] + m["gru"]["reaches_before"])
    assert all(0.4 < reach < 2.5 for reach in m["lstm"]["reaches_after"] + m["gru"]["reaches_after"])
    assert all(reach < 0.01 for reach in m["rnn"]["reaches_after"])
