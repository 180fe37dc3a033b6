"""An active ReLU path passes on {active_path:.0f} of a gradient, He's network {he:.2f}, PyTorch's {pytorch:.0e}.

The popular product 1 · 1 · ... · 1 is the derivative along a path of units that are all active, with weights 1.
A network sums over all its paths, half of the units of each layer are off and the weights are random: 20 layers
z_l = W_l relu(z_l-1) multiply the gradient by sqrt(sigma_w2 / 2) each, where sigma_w2 = width x variance of a weight.
So the scale of the weights decides: He's 2, Xavier's 1, or PyTorch's default 1/3.
Glorot, Bordes & Bengio 2011, section 3.1 (active paths); He et al. 2015 (arXiv 1502.01852), section 2.2, equation 14.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs.experiments import SIGMA_W2, band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 20
DEPTH = 20  # layers, so 19 transitions between the first and the last
WIDTH = 128  # units per layer
BATCH = 32  # inputs, drawn from N(0, 1)
INITS = {"he": "He", "xavier": "Xavier", "pytorch": "PyTorch's default"}
WIDER = {
    "he.lo xavier.lo pytorch.lo": (2.0, "the smallest of twenty networks: they differ by a factor of 1.5 either way"),
    "he.hi xavier.hi pytorch.hi": (2.0, "the largest of twenty networks"),
}


def network_gradients(init: str, seed: int) -> list[float]:
    """Norms of dL/dz, first layer to last, over that of the last."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)
    z = []
    for _ in range(DEPTH):
        z.append((h @ weight(WIDTH, WIDTH, init, generator).T).requires_grad_())  # (batch, width)
        h = torch.relu(z[-1])
    norms = norms_of_gradients((h * v).sum(), z)
    return [norm / norms[-1] for norm in norms]


def measure(seed: int = SEED) -> dict:
    """Gradient along one path, and what networks at three scales have left of theirs, layer by layer."""
    h = x = torch.tensor([1.0, -1.0], requires_grad=True)  # into an active and into an inactive path
    for _ in range(DEPTH - 1):
        h = torch.relu(h)
    active, inactive = torch.autograd.grad(h.sum(), x)[0].tolist()
    profile = {init: band([network_gradients(init, s) for s in derive_seeds(seed, REPLICAS)]) for init in INITS}
    first_layer = {init: {end: values[0] for end, values in profile[init].items()} for init in INITS}
    return {"active_path": active, "inactive_path": inactive, "profile": profile, **first_layer}


def theory(init: str) -> list[float]:
    """Norms of dL/dz in a wide network, first layer to last, over that of the last."""
    return [math.sqrt(SIGMA_W2[init] / 2) ** steps for steps in reversed(range(DEPTH))]


def draw(m: dict) -> go.Figure:
    fig, layers = go.Figure(), list(range(1, DEPTH + 1))
    for init, label in INITS.items():
        role = "healthy" if init == "he" else "vanishing"
        fig.add_traces(band_traces(layers, m["profile"][init], label, role))
    for init in INITS:
        fig.add_scatter(x=layers, y=theory(init), name="theory", mode="lines", meta="theory")
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log")
    return fig.update_xaxes(title="layer")


def claim_a_path_passes_all_or_nothing(m):
    """Along one path the gradient is exactly {active_path:.0f} if all units are active, exactly
    {inactive_path:.0f} if one is not."""
    assert (m["active_path"], m["inactive_path"]) == (1, 0)


def claim_only_he_keeps_the_gradient(m):
    """Of the gradient of 20 layers He's scale keeps {he:.2f} ({he.lo:.2f} to {he.hi:.2f}), Xavier's {xavier:.1e} and
    PyTorch's default {pytorch:.1e}, as theory says: (sigma_w2 / 2)^(19/2)."""
    for init in INITS:
        lo, median, hi = (m[init][end] / theory(init)[0] for end in ("lo", "median", "hi"))
        assert 0.4 < lo < 1 < hi < 2.5
        assert lo <= median <= hi
        assert 1 / 1.4 < median < 1.4
