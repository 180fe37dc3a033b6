"""A Transformer's last gradient at 48 layers is {post_last:.1f} with post-LN, as at 6, but {pre_last:.2f} with pre-LN.

Encoder layers of attention and a feed-forward branch f(x) = W2 relu(W1 x), Xavier weights, random tokens:

    post-LN   x <- LN(x + attention(x)),   x <- LN(x + f(x))
    pre-LN    x <- x + attention(LN(x)),   x <- x + f(LN(x)),   and one LN after the last layer

The last LN divides the gradient by the root mean square of what it normalises, which is the whole theory here:
||dL/dW2|| = ||relu(W1 x)|| / rms. In post-LN that is one layer's sum, at any depth; in pre-LN it is the sum of
all layers and grows as sqrt(depth). So post-LN's gradient is the larger near the output, in which Xiong et al. 2020
(theorem 1) see the reason why it needs a warm-up of the learning rate.
"""

import math

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 10  # networks of each kind and depth
DEPTHS = [6, 12, 24, 48]  # encoder layers
WIDTH, HEADS, HIDDEN = 64, 4, 256  # of a token, of its attention, of the feed-forward branch
BATCH, TOKENS = 2, 16
ADDED = HIDDEN * (2 / (WIDTH + HIDDEN)) * WIDTH * (2 / (WIDTH + HIDDEN)) / 2  # variance of f(x), by Xavier
WIDER = {"post_first_over_last": (3.0, "medians of ten networks of 48 layers lie between 0.6 and 1.2")}

norm = nn.LayerNorm(WIDTH, elementwise_affine=False)


def attention(x: Tensor, g: torch.Generator) -> Tensor:
    """Multi-head self-attention with weights drawn from g; (batch, tokens, width) in and out."""
    q, k, v = (
        (x @ weight(WIDTH, WIDTH, "xavier", g).T).view(BATCH, TOKENS, HEADS, -1).transpose(1, 2) for _ in "qkv"
    )  # (batch, heads, tokens, width / heads)
    mixed = torch.softmax(q @ k.mT / math.sqrt(WIDTH // HEADS), -1) @ v
    return mixed.transpose(1, 2).reshape(x.shape) @ weight(WIDTH, WIDTH, "xavier", g).T


def network(kind: str, depth: int, seed: int) -> tuple[float, float, float]:
    """||dL/dW2|| in the last layer; the last LN's divisor; ||dL/dx|| at the first over the last layer's input."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCH, TOKENS, WIDTH, generator=g, dtype=torch.float64).requires_grad_()
    v = torch.randn(x.shape, generator=g, dtype=torch.float64) / math.sqrt(x.numel())
    inputs = []
    for _ in range(depth):
        inputs.append(x)
        w1 = weight(HIDDEN, WIDTH, "xavier", g)
        w2 = weight(WIDTH, HIDDEN, "xavier", g).requires_grad_()
        if kind == "post":
            x = norm(x + attention(x, g))
            stream = x + torch.relu(x @ w1.T) @ w2.T
            x = norm(stream)
        else:
            x = x + attention(norm(x), g)
            x = stream = x + torch.relu(norm(x) @ w1.T) @ w2.T
    out = x if kind == "post" else norm(x)
    *dx, dw2 = norms_of_gradients((out * v).sum(), [*inputs, w2])
    return dw2, float(stream.detach().pow(2).mean().sqrt()), ratio(dx)


def measure(seed: int = SEED) -> dict:
    """The last layer's gradient at each depth, and what the last LN's divisor predicts."""
    m: dict = {"depth": DEPTHS}
    active = math.sqrt(HIDDEN * WIDTH * (2 / (WIDTH + HIDDEN)) / 2)  # ||relu(W1 x)|| of one token
    for kind in ("post", "pre"):
        runs = [[network(kind, depth, s) for depth in DEPTHS] for s in derive_seeds(seed, REPLICAS)]
        dw2, rms, first_over_last = torch.tensor(runs, dtype=torch.float64).unbind(-1)  # (REPLICAS, depths) each
        m[f"{kind}_dw2"] = band(dw2.tolist())
        m[f"{kind}_theory"] = (active / rms.quantile(0.5, dim=0)).tolist()
        m[f"{kind}_last"] = m[f"{kind}_dw2"]["median"][-1]
        m[f"{kind}_first_over_last"] = float(first_over_last[:, -1].quantile(0.5))
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for kind in ("post", "pre"):
        fig.add_traces(band_traces(m["depth"], m[f"{kind}_dw2"], f"{kind}-LN"))
    for line in (m["post_theory"], m["pre_theory"]):
        fig.add_scatter(x=m["depth"], y=line, name="‖relu(W₁x)‖ / rms", mode="lines", meta="theory")
    fig.update_xaxes(title="encoder layers", type="log", tickvals=m["depth"])
    return fig.update_yaxes(title="last layer's ‖∂L/∂W₂‖", type="log", dtick="D2")


def claim_post_ln_keeps_its_gradient_at_any_depth(m):
    """At 48 layers post-LN's last weight gradient is {post_last:.1f}, within a quarter of what it is at 6."""
    theory = math.sqrt(HIDDEN * WIDTH / (WIDTH + HIDDEN) / (1 + ADDED))
    for value in [*m["post_dw2"]["median"], m["post_last"]]:
        assert math.isclose(value, theory, rel_tol=0.25)
        assert math.isclose(value, m["post_dw2"]["median"][0], rel_tol=0.25)


def claim_pre_ln_falls_with_depth(m):
    """Pre-LN's falls as 1/sqrt(depth) or a little faster, to {pre_last:.2f} at 48 layers."""
    fall = m["pre_dw2"]["median"][0] / m["pre_last"]
    assert 0.5 < math.log(fall) / math.log(DEPTHS[-1] / DEPTHS[0]) < 0.75
    for pre, post in list(zip(m["pre_dw2"]["median"], m["post_dw2"]["median"], strict=True))[1:]:
        assert post > 2 * pre  # from 12 layers on


def claim_the_last_norm_explains_both(m):
    """The last norm's divisor predicts the last layer's gradient within a quarter, at every depth and placement."""
    for kind in ("post", "pre"):
        for measured, theory in zip(m[f"{kind}_dw2"]["median"], m[f"{kind}_theory"], strict=True):
            assert math.isclose(measured, theory, rel_tol=0.25)


def claim_neither_vanishes_at_initialisation(m):
    """At 48 layers the first layer's input has {post_first_over_last:.1f} (post-LN) and {pre_first_over_last:.1f}
    (pre-LN) times the gradient of the last one's."""
    assert 0.3 < m["post_first_over_last"] < 1.8
    assert 4.1 < m["pre_first_over_last"] < 9.1
