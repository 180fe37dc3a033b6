"""In float32 a weight stops moving {first_lost.float32} links of 1/4 below the loss, its gradient still above zero.

A chain of sigmoids, each held at its steepest point, hands down exactly 0.25 per link, and a power of two has no
rounding error of its own. So what ends the chain is the number format: 0.25**n is stored down to the smallest subnormal
number, but taken from a weight of 1 it counts only above a quarter of the machine epsilon. Loss scaling multiplies the
whole chain by a power of two, which moves float16's range, and its epsilon not at all.
Micikevicius et al. 2018 (arXiv 1710.03740), section 3 (loss scaling and float32 master weights).
"""

import math

import plotly.graph_objects as go
import torch

SEED = 0  # unused: nothing here is random
LINKS = 600  # in the chain; more than any type survives
LOSS_SCALE = 2.0**15  # the largest power of two that float16 holds
TYPES = {name: getattr(torch, name) for name in ("bfloat16", "float16", "float32", "float64")}


def gradients(dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    """scale * 0.25**n for n = 0 to LINKS, as backpropagation in `dtype` computes it."""
    h = [torch.zeros((), dtype=dtype, requires_grad=True)]
    for _ in range(LINKS):
        h.append(torch.sigmoid(h[-1]) - 0.5)  # back to z = 0, where the slope is 0.25
    return torch.stack(torch.autograd.grad(h[-1], h, torch.tensor(scale, dtype=dtype))[::-1])  # (LINKS + 1,)


def measure(seed: int = SEED) -> dict:
    """For each type: the links after which an update is lost, and those after which the gradient is zero."""
    m: dict = {"first_lost": {}, "last_normal": {}, "last_nonzero": {}}
    for name, dtype in TYPES.items():
        g = gradients(dtype)
        weight = torch.ones((), dtype=dtype)
        m["first_lost"][name] = int((weight - g == weight).nonzero()[0])  # one step at learning rate 1
        m["last_normal"][name] = int((g >= torch.finfo(dtype).tiny).nonzero()[-1])
        m["last_nonzero"][name] = int(g.nonzero()[-1])
    m["last_nonzero_scaled"] = int(gradients(torch.float16, LOSS_SCALE).nonzero()[-1])
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for name, links, symbol in [
        ("update of a weight of 1 lost", m["first_lost"], "x"),
        ("gradient still at full precision", m["last_normal"], "circle-open"),
        ("gradient still above zero", m["last_nonzero"], "circle"),
        ("above zero with loss scale 2<sup>15</sup>", {"float16": m["last_nonzero_scaled"]}, "diamond"),
    ]:
        marker = {"symbol": symbol, "size": 12}
        fig.add_scatter(x=list(links.values()), y=list(links), name=name, mode="markers", marker=marker)
    fig.update_xaxes(title="links n between loss and weight, gradient 0.25<sup>n</sup>", type="log")
    fig.update_xaxes(tickvals=[5, 10, 20, 50, 100, 200, 500])
    return fig.update_yaxes(title="number format of the backward pass", autorange="reversed")


def claim_underflow_is_late(m):
    """The gradient is last above zero after {last_nonzero.float16} links in float16,
    {last_nonzero.bfloat16} in bfloat16, {last_nonzero.float32} in float32, {last_nonzero.float64} in float64."""
    assert dict(m["last_nonzero"]) == {"bfloat16": 66, "float16": 12, "float32": 74, "float64": 537}
    for name, dtype in TYPES.items():
        smallest = torch.finfo(dtype).tiny * torch.finfo(dtype).eps
        assert m["last_nonzero"][name] == -math.log2(smallest) // 2


def claim_gradual_underflow_adds_a_few_links(m):
    """The last of these links are subnormal, with fewer and fewer digits: full precision ends after
    {last_normal.float16} links in float16 and after {last_normal.float32} in float32 as in bfloat16."""
    assert dict(m["last_normal"]) == {"bfloat16": 63, "float16": 7, "float32": 63, "float64": 511}


def claim_rounding_is_first(m):
    """A weight of 1 no longer moves from {first_lost.bfloat16} links on in bfloat16, {first_lost.float16} in
    float16, {first_lost.float32} in float32 and {first_lost.float64} in float64."""
    assert dict(m["first_lost"]) == {"bfloat16": 5, "float16": 6, "float32": 13, "float64": 27}
    for name in TYPES:
        assert m["first_lost"][name] <= m["last_normal"][name] < m["last_nonzero"][name]


def claim_loss_scaling_has_an_end(m):
    """Loss scaling takes float16 from {last_nonzero.float16} to {last_nonzero_scaled} links, no further."""
    assert m["last_nonzero_scaled"] == 19
