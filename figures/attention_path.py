"""Over 200 positions a tanh RNN keeps {rnn_oldest:.0e} of the gradient; attention spreads it, whatever the distance.

The output at the last of T positions, and how strongly its loss depends on the input at each position, with
PyTorch's default weight variance 1/(3 width), no biases and random inputs:

    RNN        h_t = tanh(W h_{t-1} + U x_t)          a path of T - t factors to position t
    attention  o = sum_t softmax_t(q . k_t / sqrt(width)) V x_t    one step to any position

Attention trades the exponential for a dilution, about sqrt(1/3 (1 + 1/9)) / T a position: 1/T is the mean
weight, 1/3 the squared norm of V's transpose, 1/9 what the keys add. The path length is Vaswani et al. 2017,
table 1; that it is the only reason to prefer attention is not what they say (section 4).
"""

import math

import plotly.graph_objects as go
import torch
from torch import Tensor

from vgdocs import theory
from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import rate

SEED = 0
REPLICAS = 30
STEPS = 200  # positions, T
WIDTH = 64  # of an input, of the hidden state
EVERY = 4  # positions between two points drawn
WIDER = {
    "rnn_oldest": (1e6, "199 factors, each known to a few per cent"),
}


def attention(x: Tensor, g: torch.Generator) -> Tensor:
    """The last position's output of one head; (T, width) -> (width,)."""
    q, k, v = (x @ weight(WIDTH, WIDTH, "pytorch", g).T for _ in "qkv")
    return torch.softmax(k @ q[-1] / math.sqrt(WIDTH), 0) @ v


def rnn(x: Tensor, g: torch.Generator) -> Tensor:
    """The last hidden state of an Elman network; (T, width) -> (width,)."""
    W, U = (weight(WIDTH, WIDTH, "pytorch", g) for _ in "WU")
    h = torch.zeros(WIDTH, dtype=x.dtype)
    for x_t in x:
        h = torch.tanh(W @ h + U @ x_t)
    return h


def measure(seed: int = SEED) -> dict:
    """||dL/dx_t|| at every position t, from the last position's output."""
    norms = []  # (2, T) each, from the last position back to the first
    for s in derive_seeds(seed, REPLICAS):
        g = torch.Generator().manual_seed(s)
        x = torch.randn(STEPS, WIDTH, generator=g, dtype=torch.float64).requires_grad_()
        v = torch.randn(WIDTH, generator=g, dtype=torch.float64)
        dx = [torch.autograd.grad(net(x, g) @ (v / v.norm()), x)[0] for net in (attention, rnn)]
        norms.append(torch.stack(dx).norm(dim=2).flip(1))
    attended, recurred = torch.stack(norms, dim=1)  # (REPLICAS, T) each
    others = attended[:, 1:]  # the last position asks: it has its query's gradient too
    newer, older = others[:, : STEPS // 2 - 1].sum(1), others[:, STEPS // 2 :].sum(1)
    return {
        "back": list(range(1, STEPS, EVERY)),
        "attention": band(attended[:, 1::EVERY].tolist()),
        "rnn": band(recurred[:, 1::EVERY].tolist()),
        "rnn_oldest": float((recurred[:, -1] / recurred[:, 0]).quantile(0.5)),
        "rnn_rate": rate(recurred.quantile(0.5, dim=0).tolist()[::-1]),
        "rnn_theory": theory.rate(torch.tanh, sigma_w2=1 / 3, sigma_b2=1 / 3),  # the inputs act as the bias
        "attention_share": float(others.mean()),
        "attention_theory": math.sqrt((1 + 1 / 9) / 3) / STEPS,
        "attention_spread": float((others.amax(1) / others.amin(1)).quantile(0.5)),
        "attention_older_half": float((older / newer).quantile(0.5)),
    }


def draw(m: dict) -> go.Figure:
    fig, back = go.Figure(), m["back"]
    fig.add_traces(band_traces(back, m["attention"], "attention", meta="healthy"))
    fig.add_traces(band_traces(back, m["rnn"], "tanh RNN", meta="vanishing"))
    falling = [m["rnn"]["median"][0] * m["rnn_theory"] ** (b - back[0]) for b in back]
    for line in ([m["attention_theory"]] * len(back), falling):
        fig.add_scatter(x=back, y=line, name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="positions back from the output")
    return fig.update_yaxes(title="‖∂L/∂x<sub>t</sub>‖, input at that position", type="log")


def claim_the_rnn_loses_a_factor_per_step(m):
    """The RNN passes back {rnn_rate:.3f} a step, in theory {rnn_theory:.3f}, and keeps {rnn_oldest:.0e} in all."""
    assert math.isclose(m["rnn_theory"], 0.457, rel_tol=1e-2)
    assert math.isclose(m["rnn_rate"], m["rnn_theory"], rel_tol=0.04)
    assert math.isclose(m["rnn_oldest"] ** (1 / (STEPS - 1)), m["rnn_theory"], rel_tol=0.04)


def claim_attention_does_not_mind_distance(m):
    """In attention the older half of the positions gets {attention_older_half:.2f} times what the newer half gets."""
    assert math.isclose(m["attention_older_half"], 1.0, rel_tol=0.1)


def claim_attention_dilutes_the_gradient(m):
    """A position gets {attention_share:.4f} on average, in theory {attention_theory:.4f}, and content makes the
    largest {attention_spread:.0f} times the smallest."""
    assert math.isclose(m["attention_theory"], 0.6086 / STEPS, rel_tol=1e-3)
    assert math.isclose(m["attention_share"], m["attention_theory"], rel_tol=0.15)
    assert 4.8 < m["attention_spread"] < 9
