"""N(0, 1) weights grow the gradient by {rate.relu_unscaled:.1f} in each layer of 128 ReLUs, and float32 soon overflows.

60 layers z_l = W_l phi(z_l-1) without biases, width 128, weights of variance sigma_w2 / 128. Exploding is the mirror
image of vanishing: each layer multiplies the squared norm by chi = sigma_w2 E[phi'(z)²], here above 1. In a ReLU or
linear network the forward signal grows at the same rate and overflows first. Tanh and sigmoid bound the signal, and
the gradient explodes unseen; with weights that large even sigmoid's does.
Poole et al. 2016 (arXiv 1606.05340); Schoenholz et al. 2017 (arXiv 1611.01232).
"""

import math
import statistics
from functools import cache

import plotly.graph_objects as go
import torch

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import ACTIVATIONS, gradient_profile

SEED = 0
REPLICAS = 10
DEPTH = 60  # layers
WIDTH = 128  # units per layer
BATCH = 16  # inputs, drawn from N(0, 1)
LARGEST = torch.finfo(torch.float32).max
KINDS = {  # name, activation, sigma_w2
    "linear_unscaled": ("linear, N(0, 1) weights", "linear", 128.0),
    "relu_unscaled": ("ReLU, N(0, 1) weights", "relu", 128.0),
    "tanh_unscaled": ("tanh, N(0, 1) weights", "tanh", 128.0),
    "relu_large": ("ReLU, variance 4 / n", "relu", 4.0),  # twice He's variance
    "sigmoid_large": ("sigmoid, variance 144 / n", "sigmoid", 144.0),  # its critical scale is about 103
}
WIDER = {"powers_of_ten.sigmoid_large": (2.0, "two powers of ten, of which single networks win or lose a half")}
# rounding decides where these chaotic networks go, and processors round differently
TOLERANCE = {"rate.tanh_unscaled": 0.03, "powers_of_ten.tanh_unscaled": 0.03}


def network(kind: str, seed: int, dtype: torch.dtype) -> tuple[list[float], int]:
    """Norms of dL/dz, first layer to last, and how many layers' z are finite, all computed in `dtype`."""
    _, name, sigma_w2 = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64).to(dtype)  # (batch, width)
    z = []
    for _ in range(DEPTH):
        z.append((h @ weight(WIDTH, WIDTH, sigma_w2, generator).to(dtype).T).requires_grad_())
        h = ACTIVATIONS[name](z[-1])
    finite_layers = sum(bool(torch.isfinite(layer_z).all()) for layer_z in z)
    return norms_of_gradients((h * v).sum(), z), finite_layers


def measure(seed: int = SEED) -> dict:
    """Growth of the gradient in float64, and what of these networks float32 can hold."""
    m: dict = {"profile": {}, "rate": {}, "powers_of_ten": {}, "finite_layers": {}, "finite_gradients": {}}
    for kind in KINDS:
        seeds = derive_seeds(seed, REPLICAS)
        norms = [network(kind, s, torch.float64)[0] for s in seeds]
        m["profile"][kind] = band([[norm / one[-1] for norm in reversed(one)] for one in norms])  # last layer first
        m["rate"][kind] = band([rate(one) for one in norms])
        m["powers_of_ten"][kind] = math.log10(m["profile"][kind]["median"][-1])
        float32 = [network(kind, s, torch.float32) for s in seeds]
        m["finite_layers"][kind] = statistics.median(layers for _, layers in float32)  # of the forward pass
        m["finite_gradients"][kind] = sum(all(map(math.isfinite, one)) for one, _ in float32)  # networks of ten
    return m


@cache  # each claim asks for it
def theory(kind: str) -> list[float]:
    """Norms of dL/dz over the last layer's in a wide network, first layer to last."""
    _, name, sigma_w2 = KINDS[kind]
    return gradient_profile(ACTIVATIONS[name], DEPTH, sigma_w2, q0=sigma_w2)


def draw(m: dict) -> go.Figure:
    fig, back = go.Figure(), list(range(DEPTH))
    for kind, (label, _, _) in KINDS.items():
        fig.add_traces(band_traces(back, m["profile"][kind], label))
    fig.add_scatter(x=[0, DEPTH - 1], y=[LARGEST] * 2, name="largest float32", mode="lines", meta="reference")
    for kind in KINDS:
        fig.add_scatter(x=back, y=theory(kind)[::-1], name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="layers gone back from the last")
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log")
    return fig.update_layout(height=480)  # for its legend


def claim_growth_is_as_predicted(m):
    """Per layer the gradient grows by {rate.linear_unscaled:.1f} (linear), {rate.relu_unscaled:.1f} (ReLU) and
    {rate.tanh_unscaled:.1f} (tanh) with unscaled weights, by {rate.relu_large:.2f} with twice He's variance."""
    for kind in KINDS:
        lo, median, hi = (m["rate"][kind][end] / rate(theory(kind)) for end in ("lo", "median", "hi"))
        assert 0.91 < lo <= hi < 1.06, kind
        assert 0.93 < median < 1.03, kind
        slack = 0.35 if kind == "sigmoid_large" else 0.1
        assert math.isclose(m["powers_of_ten"][kind], math.log10(theory(kind)[0]), rel_tol=slack), kind


def claim_even_sigmoid_explodes(m):
    """With weights of variance 144 / n a sigmoid layer multiplies the gradient by {rate.sigmoid_large:.2f}."""
    assert 1.01 < m["rate"]["sigmoid_large"]["lo"] < m["rate"]["sigmoid_large"]["hi"] < 1.14


def claim_float32_overflows_forward(m):
    """In float32 the forward signal overflows after {finite_layers.relu_unscaled:.0f} ReLU or
    {finite_layers.linear_unscaled:.0f} linear layers of unscaled weights, and no network of ten has a finite gradient;
    tanh keeps the signal finite in all {finite_layers.tanh_unscaled:.0f} layers."""
    for kind in ("linear_unscaled", "relu_unscaled"):
        layers = math.log(LARGEST) / math.log(rate(theory(kind)))
        assert layers - 3 < m["finite_layers"][kind] < layers, kind
        assert m["finite_gradients"][kind] == 0
    for kind in ("tanh_unscaled", "relu_large", "sigmoid_large"):
        assert (m["finite_layers"][kind], m["finite_gradients"][kind]) == (DEPTH, REPLICAS)
