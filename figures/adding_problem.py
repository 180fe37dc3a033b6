"""LSTM and GRU add numbers up to 49 steps apart, though at first {lstm.reach_before:.0e} of the gradient gets there.

The adding problem (Hochreiter & Schmidhuber 1997, section 5.4, in a later variant: values in [0, 1], and the marks not
both in the first half): each step shows a random value and a marker; the target is the sum of the two marked values,
one in each half of the sequence. Always answering 1 has an error of 1/6. All biases are PyTorch's defaults, so that the
LSTM's gates start half open. That gated networks learn it takes one learning rate to show; that plain ones don't, in
twice the steps a GRU takes, is swept. Reach is the gradient of the output with respect to the first five inputs over
that of the last five: a vanishing gradient at initialisation says how learning starts, here from short distances, and
not where it ends.
"""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import OPTIMISERS, band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 3  # networks of each kind
STEPS = 50  # length of a sequence
HIDDEN = 32  # units
BATCH = 32  # sequences a training step
TESTED = 500  # sequences that the error is measured on
EVERY = 50  # training steps between two points of a curve
CLIP = 1.0  # largest norm of the gradient
RUNS = {"gru": (nn.GRU, 1e-2, 500), "lstm": (nn.LSTM, 2e-2, 1500)}  # learning rate of Adam, training steps
SWEEP = {"rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "momentum": [0.001, 0.003, 0.01, 0.03, 0.1]}, "steps": 1000}
WIDER = {
    "gru.worst_error lstm.worst_error": (40.0, "how small an error becomes in the end differs that much"),
    "lstm.reach_before": (300.0, "a product of 49 random factors"),
}
TOLERANCE = {"gru.worst_error": 0.8, "lstm.worst_error": 0.5, "rnn.best_error": 0.05, "lstm.reach_after": 0.2}


class Adder(nn.Module):
    """A recurrent network whose last state is read out linearly."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent, self.readout = kind(2, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.recurrent(x)[0][-1])[:, 0]  # (batch,)


def sequences(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Values with markers, (T, n, 2), and the sums of the marked values, (n,)."""
    values, markers = torch.rand(STEPS, n, generator=generator), torch.zeros(STEPS, n)
    for half in torch.arange(STEPS).chunk(2):
        markers[half[torch.randint(len(half), (n,), generator=generator)], torch.arange(n)] = 1
    return torch.stack([values, markers], dim=2), (values * markers).sum(0)


def gradient_back(net: Adder, x: Tensor) -> list[float]:
    """Norms of the output's gradient with respect to the input t steps back over that 0 steps back, for each t."""
    inputs = [x_t.requires_grad_() for x_t in x.unbind()]
    norms = norms_of_gradients(net(torch.stack(inputs)).sum(), inputs)[::-1]
    return [norm / norms[0] for norm in norms]


def train_adder(kind: type[nn.RNNBase], lr: float, steps: int, seed: int) -> dict[str, list[float]]:
    """Train one network by Adam; its test errors every EVERY steps, and its gradients before and after."""
    torch.manual_seed(seed)  # nn.GRU and nn.LSTM draw their weights from the global generator
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


def plain_networks(rates: list[float], optimiser: str, seed: int) -> list[list[list[float]]]:
    """Train REPLICAS tanh networks at each rate, all at once; their test errors, (rates, replicas, points).

    PyTorch's default weights, with one bias vector in place of two.
    """
    g, n = torch.Generator().manual_seed(seed), len(rates) * REPLICAS
    shapes = [(n, 2, HIDDEN), (n, HIDDEN, HIDDEN), (n, 1, HIDDEN), (n, HIDDEN, 1), (n, 1, 1)]
    weights = [((2 * torch.rand(s, generator=g) - 1) / HIDDEN**0.5).requires_grad_() for s in shapes]
    inwards, across, bias, outwards, offset = weights

    def errors(x: Tensor, y: Tensor) -> Tensor:
        from_input = (x.view(1, -1, 2) @ inwards + bias).view(n, STEPS, -1, HIDDEN)
        h = torch.zeros(n, x.shape[1], HIDDEN)
        for z in from_input.unbind(1):
            h = torch.tanh(torch.baddbmm(z, h, across))
        return ((h @ outwards + offset)[..., 0] - y).square().mean(1)  # (n,)

    rate = torch.tensor(rates).repeat_interleave(REPLICAS).view(n, 1, 1)
    steps = [torch.zeros_like(w) for w in weights]  # the optimiser's at rate 1, scaled by each network's rate
    update = OPTIMISERS[optimiser](steps, lr=1.0)
    x_test, y_test = sequences(TESTED, g)
    curve = []
    for step in range(1, SWEEP["steps"] + 1):
        gradients = torch.autograd.grad(errors(*sequences(BATCH, g)).sum(), weights)
        norm = torch.stack([d.flatten(1).norm(dim=1) for d in gradients]).norm(dim=0)  # (n,)
        shrink = (CLIP / (norm + 1e-6)).clamp(max=1).view(n, 1, 1)
        with torch.no_grad():
            for one, d in zip(steps, gradients, strict=True):
                one.zero_()
                one.grad = shrink * d
            update.step()
            for w, one in zip(weights, steps, strict=True):
                w += rate * one
            if step % EVERY == 0:
                curve.append(errors(x_test, y_test))
    return torch.stack(curve, 1).view(len(rates), REPLICAS, -1).tolist()


def measure(seed: int = SEED) -> dict:
    """Errors over training, and gradients over distance before and after it."""
    m: dict = {}
    for name, (kind, lr, steps) in RUNS.items():
        runs = [train_adder(kind, lr, steps, s) for s in derive_seeds(seed, REPLICAS)]
        m[name] = band(runs)
        m[name]["worst_error"] = m[name]["errors"]["hi"][-1]
        for when in ("before", "after"):
            m[name]["reaches_" + when] = [sum(run[when][-5:]) / sum(run[when][:5]) for run in runs]
    for when in ("before", "after"):
        m["lstm"]["reach_" + when] = band(m["lstm"]["reaches_" + when])["median"]
    settings = [at for name, rates in SWEEP["rates"].items() for at in plain_networks(rates, name, seed)]
    best = min(settings, key=lambda curves: band([curve[-1] for curve in curves])["median"])
    m["rnn"] = {"errors": band(best), "best_error": min(curve[-1] for curves in settings for curve in curves)}
    return m


def draw(m: dict) -> go.Figure:
    """Above the error over training, below how far the gradient reaches."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    names = [("rnn", "RNN, best of ten rates", "vanishing"), ("gru", "GRU", None), ("lstm", "LSTM", "healthy")]
    for name, label, role in names:
        steps = [EVERY * (i + 1) for i in range(len(m[name]["errors"]["median"]))]
        fig.add_traces(band_traces(steps, m[name]["errors"], label, role), rows=1, cols=1)
    guess = {"x": steps, "y": [1 / 6] * len(steps), "name": "always answer 1"}
    fig.add_scatter(**guess, mode="lines", meta="reference", row=1, col=1)
    for name, when, role in [("lstm", "before", "vanishing"), ("gru", "after", None), ("lstm", "after", "healthy")]:
        traces = band_traces(range(STEPS), m[name][when], f"{name.upper()} {when} training", role)
        fig.add_traces(traces, rows=2, cols=1)
    fig.update_xaxes(title="training step", row=1, col=1).update_yaxes(title="test error", row=1, col=1)
    fig.update_xaxes(title="steps back", row=2, col=1)
    return fig.update_yaxes(title="‖∂output/∂x‖, relative", row=2, col=1).update_yaxes(type="log")


def claim_gated_networks_learn_it(m):
    """Started with PyTorch's default biases, no GRU ends above an error of {gru.worst_error:.4f} and no LSTM above
    {lstm.worst_error:.4f}."""
    assert 1e-4 < m["gru"]["worst_error"] < 0.02
    assert 1e-4 < m["lstm"]["worst_error"] < 0.02


def claim_rnn_does_not(m):
    """Of thirty RNNs at five rates of Adam and five of SGD with momentum, none has an error below
    {rnn.best_error:.3f} after 1000 steps; always answering 1 has 1/6."""
    assert 0.12 < m["rnn"]["best_error"] < 0.185
    assert min(m["rnn"]["errors"]["lo"]) > 0.12


def claim_training_finds_the_reach(m):
    """Before training {lstm.reach_before:.0e} of an LSTM's gradient reaches the first inputs, after it all of it
    ({lstm.reach_after:.2f})."""
    assert 1e-11 < m["lstm"]["reach_before"] < 1e-7
    assert 0.7 < m["lstm"]["reach_after"] < 1.45
    assert all(reach < 1e-5 for reach in m["lstm"]["reaches_before"] + m["gru"]["reaches_before"])
    assert all(0.4 < reach < 2.5 for reach in m["lstm"]["reaches_after"] + m["gru"]["reaches_after"])
