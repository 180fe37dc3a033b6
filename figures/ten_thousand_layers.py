"""Initialisation alone, if orthogonal, takes {left.unit_inputs:.1e} of the gradient through 10,000 plain tanh layers.

10,000 layers z_l = W_l phi(z_l-1): no skips, no normalisation, no biases. At its critical scale an infinitely wide
network of each kind keeps the gradient to within a power law. At width 64 the random part decides:

  tanh, orthogonal W, gain 1      1 / sqrt(1 + 2 q0 L), from E tanh² = q - 2q² + ... and E tanh'² = 1 - 2q + ...
  tanh, Gaussian W, variance 1/n  exp(-L / (2n)): tanh is all but linear here, and Gaussian matrices lose that much
  ReLU, Gaussian W, variance 2/n  exp(-5L / (4n)): He's scale

Orthogonal matrices keep every norm; no ReLU network with independent weights can (Pennington et al. 2017, arXiv
1711.04735). Xiao et al. 2018 (arXiv 1806.05393) trained 10,000 convolutional layers so; Hanin 2018 (arXiv 1801.03744)
for ReLU.
"""

import math

import plotly.graph_objects as go
import torch
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 3  # networks of each kind: they are long
DEPTH = 10_000  # layers
WIDTH = 64  # units per layer
BATCH = 8  # inputs
DRAWN = 250  # every so many layers
KINDS = {  # activation, weights, scale of the inputs (its square is q0, the variance of the first layer's z), name
    "unit_inputs": (torch.tanh, "orthogonal", 1.0, "tanh, orthogonal, inputs N(0, 1)"),
    "small_inputs": (torch.tanh, "orthogonal", 0.1, "tanh, orthogonal, inputs N(0, 0.01)"),
    "tanh_gaussian": (torch.tanh, "lecun", 1.0, "tanh, Gaussian"),
    "relu_he": (torch.relu, "he", 1.0, "ReLU, He"),
}
ORTHOGONAL, GAUSSIAN = ("unit_inputs", "small_inputs"), ("tanh_gaussian", "relu_he")
WIDER = {
    "decades_lost.tanh_gaussian": (2.0, "the median of three networks, each with four powers of ten of scatter"),
    "decades_lost.tanh_gaussian.lo decades_lost.tanh_gaussian.hi": (2.5, "the ends of three"),
    "decades_lost.relu_he.lo decades_lost.relu_he.hi": (2.0, "the ends of three, with five powers of ten of scatter"),
}


def matrix(init: str, generator: torch.Generator) -> torch.Tensor:
    """A layer's weights, (WIDTH, WIDTH). Gaussian ones are drawn in float32, which is twice as fast."""
    if init == "orthogonal":
        return nn.init.orthogonal_(torch.empty(WIDTH, WIDTH, dtype=torch.float64), generator=generator)
    return weight(WIDTH, WIDTH, init, generator, torch.float32).double()


def gradient_left(kind: str, seed: int) -> list[float]:
    """Norms of dL/dz over the last layer's, at every 250th layer from the last back, and at the first."""
    phi, init, scale, _ = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)
    h, z = scale * x, []
    for _ in range(DEPTH):
        z.append((h @ matrix(init, generator).T).requires_grad_())  # (BATCH, WIDTH)
        h = phi(z[-1])
    norms = norms_of_gradients((h * v).sum(), [*z[::-DRAWN], z[0]])
    return [norm / norms[0] for norm in norms]


def measure(seed: int = SEED) -> dict:
    """What is left of the gradient, layer by layer; at the first layer as a share or in powers of ten lost."""
    left = {kind: [gradient_left(kind, s) for s in derive_seeds(seed, REPLICAS)] for kind in KINDS}
    return {
        "profile": {kind: band(left[kind]) for kind in KINDS},
        "left": {kind: band([of_one[-1] for of_one in left[kind]]) for kind in ORTHOGONAL},
        "decades_lost": {kind: band([-math.log10(of_one[-1]) for of_one in left[kind]]) for kind in GAUSSIAN},
    }


def theory(kind: str, steps: int) -> float:
    """What is left of the gradient so many layers before the last."""
    if kind == "tanh_gaussian":
        return math.exp(-steps / (2 * WIDTH))
    if kind == "relu_he":
        return math.exp(-5 * steps / (4 * WIDTH))
    q0 = KINDS[kind][2] ** 2
    q = q0 / (1 + 2 * q0 * (DEPTH - 1 - steps))  # variance of z in that layer
    return 1 / math.sqrt(1 + 2 * q * steps)


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    back = [*range(0, DEPTH, DRAWN), DEPTH - 1]
    for kind, (_, _, _, name) in KINDS.items():
        fig.add_traces(band_traces(back, m["profile"][kind], name, "healthy" if kind in ORTHOGONAL else "vanishing"))
    for kind in KINDS:
        fig.add_scatter(x=back, y=[theory(kind, steps) for steps in back], name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="layers gone back from the last")
    return fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log")


def claim_orthogonal_tanh_falls_as_a_power_law(m):
    """Ten thousand tanh layers with orthogonal weights keep {left.unit_inputs:.1e} of the gradient with inputs of
    variance 1 and {left.small_inputs:.1e} with inputs a tenth as large: about 1 / sqrt(1 + 2 q0 L)."""
    for kind in ORTHOGONAL:
        left, expected = m["left"][kind], theory(kind, DEPTH - 1)
        assert 0.8 * expected < left["lo"] <= left["median"] <= left["hi"] < 1.5 * expected, kind
        assert 0.85 * expected < left["median"] < 1.45 * expected, kind


def claim_gaussian_weights_lose_it(m):
    """With Gaussian weights of the same scale {decades_lost.tanh_gaussian:.0f} powers of ten are lost, and with ReLU
    at He's scale {decades_lost.relu_he:.0f}."""
    for kind, scatter in [("tanh_gaussian", 16), ("relu_he", 20)]:
        lost, expected = m["decades_lost"][kind], -math.log10(theory(kind, DEPTH - 1))
        assert expected - scatter - 4 < lost["lo"] <= lost["median"] <= lost["hi"] < expected + scatter + 4, kind
        assert abs(lost["median"] - expected) < scatter, kind
