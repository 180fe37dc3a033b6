"""On a graph 64 blocks leave {graph.contrast:.0e} of what tells nodes apart and {graph.told_apart:.0e} of its gradient.

200 nodes of a random graph, eight neighbours each, 64 features, at initialisation. P averages over a node and its
neighbours; a block is f(X) = relu(P X W1) W2, with He's weights and LeCun's.

    without the graph    X <- relu(X W1) W2            the same block with P = 1
    graph                X <- f(X)
    with skips           X <- X + f(X) / sqrt(L)       L blocks
    PairNorm             X <- PN(f(X))                 less the mean over the nodes, then scaled (Zhao & Akoglu 2020)

Averaging keeps what all nodes share and multiplies every other pattern by an eigenvalue of P, at most lambda. So the
share of the signal that tells nodes apart falls, in the long run, as lambda^l, and with it the gradient of a loss that
tells nodes apart: that of (X_L * V).sum() with V random and of mean zero over the nodes. Where V is the same at all
nodes the gradient is in the shared part, which no average shrinks. Oono & Suzuki 2020 (abstract) prove an exponential
loss under conditions on the weights; Li et al. 2018 (abstract) named the smoothing.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate

SEED = 0
REPLICAS = 9  # networks of each kind, each on a graph of its own
NODES, RINGS = 200, 4  # a node has two neighbours in each of four random circular orders
WIDTH = 64  # features of a node
BLOCKS = 64  # L
LATE = 24  # from this block on rates are taken
KINDS = {  # name and role
    "alone": ("without the graph", None),
    "graph": ("graph", "vanishing"),
    "skip": ("with skips / √L", "healthy"),
    "pairnorm": ("PairNorm", "exploding"),
}
WIDER = {
    "pairnorm.told_apart graph.shared alone.told_apart alone.shared": (
        15.0,
        "products of 64 blocks scatter at this width",
    ),
    "graph.contrast graph.told_apart": (20.0, "the same, of factors well below one"),
}


def averaging(g: torch.Generator) -> Tensor:
    """P of a random graph in which each node has eight neighbours, (nodes, nodes), symmetric."""
    edges = torch.eye(NODES, dtype=torch.float64)
    for _ in range(RINGS):
        order = torch.randperm(NODES, generator=g)
        edges[order, order.roll(1)] += 1
        edges[order.roll(1), order] += 1
    return edges / (1 + 2 * RINGS)


def contrast(x: Tensor) -> Tensor:
    """What tells nodes apart: x less its mean over the nodes."""
    return x - x.mean(0)


def network(kind: str, seed: int) -> dict:
    """By block: the share of the signal that tells nodes apart; going back, the gradients of two losses."""
    g = torch.Generator().manual_seed(seed)
    P = averaging(g)
    second = float(torch.linalg.eigvalsh(P)[:-1].abs().max())
    x, v = torch.randn(2, NODES, WIDTH, generator=g, dtype=torch.float64)
    h = [contrast(x).requires_grad_()]
    for _ in range(BLOCKS):
        w1, w2 = (weight(WIDTH, WIDTH, init, g) for init in ("he", "lecun"))
        f = torch.relu((h[-1] if kind == "alone" else P @ h[-1]) @ w1.T) @ w2.T
        if kind == "skip":
            f = h[-1] + f / math.sqrt(BLOCKS)
        if kind == "pairnorm":
            f = contrast(f) * math.sqrt(NODES * WIDTH) / contrast(f).norm()
        h.append(f)
    share = [float((contrast(x).norm() / x.norm()).detach()) for x in h]
    apart = norms_of_gradients((h[-1] * contrast(v)).sum(), h, retain_graph=True)
    found = {"share": share, "contrast": share[-1], "back": [norm / apart[-1] for norm in reversed(apart)]}
    found["told_apart"] = found["back"][-1]
    if kind != "pairnorm":  # which takes away what is shared, and its gradient
        shared = norms_of_gradients((h[-1] * v.mean(0)).sum(), h)
        found["shared"] = shared[0] / shared[-1]
    if kind == "graph":
        found |= {"eigenvalue": second, "rate": 1 / rate(share, LATE), "rate_back": rate(apart, 1, BLOCKS - LATE)}
    return found


def measure(seed: int = SEED) -> dict:
    """For each kind bands of the two courses over the blocks, and the medians of the numbers."""
    m = {kind: band([network(kind, s) for s in derive_seeds(seed, REPLICAS)]) for kind in KINDS}
    courses = ("share", "back")
    return {kind: {key: b if key in courses else b["median"] for key, b in bands.items()} for kind, bands in m.items()}


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    blocks = list(range(BLOCKS + 1))
    for kind, line in KINDS.items():
        fig.add_traces(band_traces(blocks, m[kind]["share"], *line), rows=1, cols=1)
        fig.add_traces(band_traces(blocks, m[kind]["back"], *line), rows=2, cols=1)
    theory = [m["graph"]["eigenvalue"] ** block for block in blocks]
    for row in (1, 2):
        fig.add_scatter(x=blocks, y=theory, name="λ<sup>blocks</sup>", mode="lines", meta="theory", row=row, col=1)
    fig.update_yaxes(type="log")
    fig.update_yaxes(title="what tells nodes<br>apart, share", row=1, col=1)
    fig.update_yaxes(title="its gradient,<br>relative", row=2, col=1)
    return fig.update_xaxes(title="blocks, forward above and back below", row=2, col=1)


def claim_the_graph_smooths(m):
    """After 64 blocks with the graph {graph.contrast:.0e} of the signal tells nodes apart; without the graph the same
    blocks leave {alone.contrast:.2f}."""
    assert 4e-13 < m["graph"]["contrast"] < 1e-10
    assert m["graph"]["share"]["hi"][-1] < 5e-9
    assert 0.33 < m["alone"]["contrast"] < 0.48
    assert min(m["alone"]["share"]["lo"]) > 0.2


def claim_its_gradient_vanishes_along(m):
    """Of the gradient that tells nodes apart {graph.told_apart:.0e} is left at the input, without the graph
    {alone.told_apart:.1f}; of the gradient that all nodes share {graph.shared:.2f} and {alone.shared:.2f}."""
    assert 3e-14 < m["graph"]["told_apart"] < 7e-12
    assert m["graph"]["back"]["hi"][-1] < 1e-9
    assert 0.03 < m["alone"]["told_apart"] < 4
    assert 0.02 < m["alone"]["shared"] < 2.4
    assert 0.008 < m["graph"]["shared"] < 1.1
    assert m["alone"]["back"]["lo"][-1] > 1e-3


def claim_the_rate_is_the_graphs_eigenvalue(m):
    """In the long run a block keeps {graph.rate:.2f} of the signal's contrast and {graph.rate_back:.2f} of its
    gradient's, close to the graph's second eigenvalue, {graph.eigenvalue:.2f}."""
    assert math.isclose(m["graph"]["eigenvalue"], 0.68, rel_tol=0.03)  # (1 + 2 sqrt(7)) / 9 = 0.70 on a large graph
    for key in ("rate", "rate_back"):
        assert math.isclose(m["graph"][key], m["graph"]["eigenvalue"], rel_tol=0.08)


def claim_small_branches_mend_both(m):
    """With skips and branches divided by √L the share is {skip.contrast:.2f}, and {skip.told_apart:.2f} of the
    gradient arrives, {skip.shared:.2f} of the shared one."""
    assert 0.95 < m["skip"]["contrast"] < 0.99
    assert 1.04 < m["skip"]["told_apart"] < 1.08
    assert 1.15 < m["skip"]["shared"] < 1.7
    assert min(m["skip"]["share"]["lo"]) > 0.9


def claim_pairnorm_keeps_the_contrast_and_the_gradient_grows(m):
    """PairNorm takes away what nodes share, so that {pairnorm.contrast:.2f} of the signal tells them apart by
    construction. Its gradient at first falls and then grows: at the input it is {pairnorm.told_apart:.0f} times as
    large as at the output, 64 blocks on."""
    assert abs(m["pairnorm"]["contrast"] - 1) < 1e-9
    assert 4.2 < m["pairnorm"]["told_apart"] < 250
    assert 0.15 < min(m["pairnorm"]["back"]["median"]) < 0.75
