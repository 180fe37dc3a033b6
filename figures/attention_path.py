"""Over 200 positions a tanh RNN keeps {rnn_oldest:.0e} of the gradient; attention spreads it, whatever the distance.

The output at the last of T positions, and how strongly its loss depends on the input at each position, with
PyTorch's default weight variance 1/(3 width), no biases and random inputs:

    RNN        h_t = tanh(W h_{t-1} + U x_t)          a path of T - t factors to position t
    attention  o = sum_t softmax_t(q . k_t / sqrt(width)) V x_t    one step to any position

Attention trades the exponential for a dilution, about sqrt(1/3 (1 + 1/9)) / T a position: 1/T is the mean
weight, 1/3 the squared norm of V's transpose, 1/9 what the keys add. The path length is Vaswani et al. 2017,
table 1; that it is the only reason to prefer attention is not what they say (section 4).

The root in the softmax keeps it from saturating (section 3.2.1): with queries and keys of variance one the logits have
variance one with it and variance `width` without it, and then a single position takes nearly all of the weight.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs import gradients, theory
from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 30
STEPS = 200  # positions, T
WIDTH = 64  # of an input, of the hidden state
EVERY = 4  # positions between two points drawn
WIDE = 256  # of queries and keys whose softmax is watched
DRAWS = 120  # of them


def attention(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """The last position's output of one head; (T, width) -> (width,)."""
    q, k, v = (x @ weight(WIDTH, WIDTH, "pytorch", g).T for _ in "qkv")
    return torch.softmax(k @ q[-1] / math.sqrt(WIDTH), 0) @ v


def logits_gradient(root: float, seed: int) -> float:
    """||dL/dlogits|| of one softmax over T positions, queries and keys of variance one, their products over `root`."""
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(n, WIDE, generator=g, dtype=torch.float64) for n in (1, STEPS, STEPS))
    logits = (k @ q[0] / root).requires_grad_()  # (T,)
    (gradient,) = torch.autograd.grad((torch.softmax(logits, 0) @ v)[0], logits)  # one component of the output
    return float(gradient.norm())


def rnn(x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """The last hidden state of an Elman network; (T, width) -> (width,)."""
    W, U = (weight(WIDTH, WIDTH, "pytorch", g) for _ in "WU")
    h = torch.zeros(WIDTH, dtype=x.dtype)
    for x_t in x:
        h = torch.tanh(W @ h + U @ x_t)
    return h


def measure(seed: int = SEED) -> dict:
    """||dL/dx_t|| at every position t, from the last position's output."""
    norms: dict = {"attention": [], "rnn": []}
    for s in derive_seeds(seed, REPLICAS):
        g = torch.Generator().manual_seed(s)
        x = torch.randn(STEPS, WIDTH, generator=g, dtype=torch.float64).requires_grad_()
        v = torch.randn(WIDTH, generator=g, dtype=torch.float64)
        for name, net in (("attention", attention), ("rnn", rnn)):
            (dx,) = torch.autograd.grad(net(x, g) @ (v / v.norm()), x)
            norms[name].append(dx.norm(dim=1).flip(0).tolist())  # from the last position back to the first
    roots = {"scaled": math.sqrt(WIDE), "unscaled": 1.0}
    logits = {name: [logits_gradient(root, s) for s in derive_seeds(seed, DRAWS)] for name, root in roots.items()}
    others = [n[1:] for n in norms["attention"]]  # the last position asks: it has its query's gradient too
    return {
        "back": list(range(1, STEPS, EVERY)),
        **{name: band([n[1::EVERY] for n in norms[name]]) for name in norms},
        "rnn_oldest": band([n[-1] / n[0] for n in norms["rnn"]])["median"],
        "rnn_rate": gradients.rate(band(norms["rnn"])["median"][::-1]),
        "rnn_theory": theory.rate(torch.tanh, sigma_w2=1 / 3, sigma_b2=1 / 3),  # the inputs act as the bias
        "attention_share": sum(sum(n) for n in others) / REPLICAS / (STEPS - 1),
        "attention_theory": math.sqrt((1 + 1 / 9) / 3) / STEPS,
        "attention_spread": band([max(n) / min(n) for n in others])["median"],
        "logits": {name: math.exp(sum(map(math.log, norms)) / DRAWS) for name, norms in logits.items()},
        "attention_older_half": band([sum(n[STEPS // 2 :]) / sum(n[: STEPS // 2 - 1]) for n in others])["median"],
    }


def draw(m: dict) -> go.Figure:
    """The gradient at each position over its distance from the output."""
    fig = go.Figure()
    fig.add_traces(band_traces(m["back"], m["attention"], "attention", meta="healthy"))
    fig.add_traces(band_traces(m["back"], m["rnn"], "tanh RNN", meta="vanishing"))
    newest = m["rnn"]["median"][0]
    lines = [
        [m["attention_theory"]] * len(m["back"]),
        [newest * m["rnn_theory"] ** (back - m["back"][0]) for back in m["back"]],
    ]
    for i, line in enumerate(lines):
        fig.add_scatter(
            x=m["back"],
            y=line,
            name="theory",
            mode="lines",
            legendgroup="theory",
            showlegend=i == 0,
            meta={"role": "theory"},
        )
    fig.update_xaxes(title="positions back from the output")
    fig.update_yaxes(title="‖∂L/∂x<sub>t</sub>‖, input at that position", type="log", exponentformat="power")
    return fig


def claim_the_rnn_loses_a_factor_per_step(m):
    """The RNN loses a factor of {rnn_rate:.3f} a step, in theory {rnn_theory:.3f}, and keeps {rnn_oldest:.0e}."""
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


def claim_without_the_root_the_softmax_saturates(m):
    """With queries and keys of 256 components the logits' gradient has a norm of {logits.scaled:.2f} with the root and,
    over 120 draws, a geometric mean of {logits.unscaled:.0e} without."""
    assert 0.08 < m["logits"]["scaled"] < 0.13
    assert 3e-4 < m["logits"]["unscaled"] < 0.025


WIDER = {
    "rnn_oldest": (1e6, "199 factors, each known to a few per cent"),
    "logits.unscaled": (15.0, "it is a matter of luck how close the second largest of 200 logits comes"),
}
