"""By default a GRU forgets like an RNN; an update-gate bias of 5 saves {gru_5.left:.2f} of the gradient over 99 steps.

h_t = (1 - z_t) n_t + z_t h_{t-1}, with the update gate z_t = sigmoid(... + b): PyTorch's convention, in which z near 1
*keeps* the state (Cho et al. 2014, section 2.3; others, Chung et al. 2014 among them, exchange z and 1 - z).
The direct path from h_{t-1} to h_t multiplies the gradient by z_t, about sigmoid(b) per step. PyTorch starts with
b near 0, so z near 1/2. As z approaches 1 nothing but the direct path is left, and the factor approaches 1 from below:
a GRU mixes the old state and the new one, it doesn't add them as an LSTM does.
"""

import math

import plotly.graph_objects as go
import torch
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 11  # networks behind each band
STEPS = 100  # time steps, so 99 steps back
HIDDEN = 64  # units
BATCH = 16  # sequences of one standard normal number per step
GATES = {bias: 1 / (1 + math.exp(-bias)) for bias in (1, 3, 5)}  # sigmoid(bias), of the update gate
NETS = {"rnn": (nn.RNN, None), "lstm": (nn.LSTM, None), "gru": (nn.GRU, None)}  # None: PyTorch's default bias
NETS |= {f"gru_{bias}": (nn.GRU, bias) for bias in GATES}


def gradients_back(kind: type[nn.RNNBase], bias: float | None, seed: int) -> dict:
    """Norms of dL/dx, the gradient with respect to the inputs, 0 to STEPS - 1 steps back, relative to the last input's.

    The rate is the factor on the norm per step back.
    """
    torch.manual_seed(seed)  # nn.RNN and its kin draw their weights from the global generator
    net = kind(1, HIDDEN).double()
    if bias is not None:
        with torch.no_grad():  # the gates lie in the order r, z, n; PyTorch adds both biases
            net.bias_ih_l0[HIDDEN : 2 * HIDDEN] = bias
            net.bias_hh_l0[HIDDEN : 2 * HIDDEN] = 0
    x = [torch.randn(BATCH, 1, dtype=torch.float64, requires_grad=True) for _ in range(STEPS)]
    h = net(torch.stack(x))[0]  # (T, batch, hidden)
    v = torch.randn(BATCH, HIDDEN, dtype=torch.float64)
    norms = norms_of_gradients((h[-1] * v).sum(), x)[::-1]
    return {"gradient": [norm / norms[0] for norm in norms], "rate": (norms[-1] / norms[0]) ** (1 / (STEPS - 1))}


def measure(seed: int = SEED) -> dict:
    """Each network's gradients, their rate per step and what is left of them after 99 steps."""
    m = {name: band([gradients_back(*net, s) for s in derive_seeds(seed, REPLICAS)]) for name, net in NETS.items()}
    return {name: bands | {"left": bands["gradient"]["median"][-1]} for name, bands in m.items()}


def draw(m: dict) -> go.Figure:
    fig, back = go.Figure(), list(range(STEPS))
    roles = {"rnn": "vanishing", "gru_5": "healthy"}
    for name in NETS:
        label = name.upper().replace("_", ", bias ")
        fig.add_traces(band_traces(back, m[name]["gradient"], label, meta=roles.get(name)))
    for gate in GATES.values():
        fig.add_scatter(x=back, y=[gate**k for k in back], name="σ(bias)ᵏ", mode="lines", meta="theory")
    return fig.update_xaxes(title="steps back").update_yaxes(title="‖∂L/∂x‖, relative to the last input's", type="log")


def claim_default_is_no_better_than_an_rnn(m):
    """At PyTorch's defaults an RNN passes back {rnn.rate:.2f} of the gradient per step, an LSTM {lstm.rate:.2f} and a
    GRU {gru.rate:.2f}, which leaves {gru.left:.0e} of it after 99 steps."""
    for name in ("rnn", "lstm", "gru"):
        rate = m[name]["rate"]
        assert 0.5 < rate["lo"] <= rate["median"] <= rate["hi"] < 0.7


def claim_bias_sets_the_rate(m):
    """With a bias of 1, 3 or 5 on the update gate the rate is {gru_1.rate:.2f}, {gru_3.rate:.3f} or {gru_5.rate:.4f}:
    from 3 on within 1.5% of the gate itself, sigmoid(bias). At none does the gradient of a typical GRU grow."""
    assert 0.75 < m["gru_1"]["rate"]["lo"] <= m["gru_1"]["rate"]["median"] <= m["gru_1"]["rate"]["hi"] < 0.85
    for b in (3, 5):
        for key, bound in {"median": 0.015, "lo": 0.03, "hi": 0.03}.items():
            assert abs(m[f"gru_{b}"]["rate"][key] / GATES[b] - 1) < bound
    assert m["gru_5"]["rate"]["median"] < 1


def claim_what_is_left(m):
    """Of the gradient 99 steps back, {gru_5.left:.2f} is left in a GRU with bias 5, {gru_3.left:.3f} with bias 3,
    {gru_1.left:.0e} with bias 1, and {lstm.left:.0e} in an LSTM and {rnn.left:.0e} in an RNN by default."""
    assert 0.4 < m["gru_5"]["left"] < 0.7
    for name in NETS:
        assert abs(m[name]["left"] / m[name]["rate"]["median"] ** (STEPS - 1) - 1) < 1e-6
