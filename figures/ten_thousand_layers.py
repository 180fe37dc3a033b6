"""Initialisation alone, if orthogonal, takes {left.unit_inputs:.1e} of the gradient through 10,000 plain tanh layers.

10,000 layers z_l = W_l phi(z_l-1): no skips, no normalisation, no biases. At its critical scale an infinitely wide
network of each kind keeps the gradient to within a power law. At width 64 the random part decides:
  tanh, orthogonal W, gain 1      1 / sqrt(1 + 2 q0 L), from E tanh² = q - 2q² + ... and E tanh'² = 1 - 2q + ...
  tanh, Gaussian W, variance 1/n  exp(-L / (2n)): tanh is all but linear here, and Gaussian matrices lose that much
  ReLU, Gaussian W, variance 2/n  exp(-5L / (4n)): He's scale
Orthogonal matrices keep every norm; no ReLU network with independent weights can (Pennington et al. 2017, arXiv
1711.04735).
Xiao et al. 2018 (arXiv 1806.05393) trained 10,000 convolutional layers so; Hanin 2018 (arXiv 1801.03744) for ReLU.
"""

import math

import plotly.graph_objects as go
import torch
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 3  # networks of each kind: they are long
DEPTH = 10_000  # layers
WIDTH = 64  # units per layer
BATCH = 8  # inputs
DRAWN = 250  # every so many layers
INPUTS = [1.0, 0.1]  # scales of the inputs: their square is q0, the variance of the first layer's z
KINDS = {
    "unit_inputs": "tanh, orthogonal, inputs N(0, 1)",
    "small_inputs": "tanh, orthogonal, inputs N(0, 0.01)",
    "tanh_gaussian": "tanh, Gaussian",
    "relu_he": "ReLU, He",
}
WIDER = {
    "decades_lost.tanh_gaussian": (2.0, "the median of three networks, each with four powers of ten of scatter"),
    "decades_lost.tanh_gaussian.lo": (2.5, "the smallest of three"),
    "decades_lost.tanh_gaussian.hi": (2.5, "the largest of three"),
    "decades_lost.relu_he.lo": (2.0, "the smallest of three, each with five powers of ten of scatter"),
    "decades_lost.relu_he.hi": (2.0, "the largest of three"),
}


def orthogonal(generator: torch.Generator) -> torch.Tensor:
    return nn.init.orthogonal_(torch.empty(WIDTH, WIDTH, dtype=torch.float64), generator=generator)


def gaussian(sigma_w2: float):
    """A function like `orthogonal`. It draws in float32, which is twice as fast."""
    return lambda generator: weight(WIDTH, WIDTH, sigma_w2, generator, torch.float32).double()


def gradient_norms(matrix, phi, seed: int) -> list[list[float]]:
    """For each scale of the inputs the norms of dL/dz, every 250th layer from the last back, and the first."""
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)
    h = torch.stack([scale * x for scale in INPUTS])  # (scales, batch, width)
    z = []
    for _ in range(DEPTH):
        z.append((h @ matrix(generator).T).requires_grad_())
        h = phi(z[-1])
    gradients = torch.autograd.grad((h * v).sum(), [*z[::-DRAWN], z[0]])
    norms = torch.stack([torch.linalg.vector_norm(g, dim=(1, 2)) for g in gradients])  # (drawn layers, scales)
    return (norms / norms[0]).T.tolist()


def measure(seed: int = SEED) -> dict:
    """What is left of the gradient, layer by layer; at the first layer as a share or in powers of ten lost."""
    profiles: dict = {kind: [] for kind in KINDS}
    for s in derive_seeds(seed, REPLICAS):
        unit, small = gradient_norms(orthogonal, torch.tanh, s)
        profiles["unit_inputs"].append(unit)
        profiles["small_inputs"].append(small)
        profiles["tanh_gaussian"].append(gradient_norms(gaussian(1.0), torch.tanh, s)[0])
        profiles["relu_he"].append(gradient_norms(gaussian(2.0), torch.relu, s)[0])
    m: dict = {"profile": {kind: band(profiles[kind]) for kind in KINDS}, "left": {}, "decades_lost": {}}
    for kind in ("unit_inputs", "small_inputs"):
        m["left"][kind] = band([profile[-1] for profile in profiles[kind]])
    for kind in ("tanh_gaussian", "relu_he"):
        m["decades_lost"][kind] = band([-math.log10(profile[-1]) for profile in profiles[kind]])
    return m


def theory(kind: str, steps: int) -> float:
    """What is left of the gradient so many layers before the last."""
    if kind == "tanh_gaussian":
        return math.exp(-steps / (2 * WIDTH))
    if kind == "relu_he":
        return math.exp(-5 * steps / (4 * WIDTH))
    q0 = {"unit_inputs": 1.0, "small_inputs": 0.01}[kind]
    q = q0 / (1 + 2 * q0 * (DEPTH - 1 - steps))  # variance of z in that layer
    return 1 / math.sqrt(1 + 2 * q * steps)


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    back = [*range(0, DEPTH, DRAWN), DEPTH - 1]
    for kind, label in KINDS.items():
        role = "healthy" if kind in m["left"] else "vanishing"
        fig.add_traces(band_traces(back, m["profile"][kind], label, role))
    for kind in KINDS:
        y = [theory(kind, steps) for steps in back]
        fig.add_scatter(
            x=back, y=y, name="theory", mode="lines", meta="theory", legendgroup="theory", showlegend=kind == "relu_he"
        )
    fig.update_xaxes(title="layers gone back from the last")
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log", exponentformat="power")
    return fig


def claim_orthogonal_tanh_falls_as_a_power_law(m):
    """Ten thousand tanh layers with orthogonal weights keep {left.unit_inputs:.1e} of the gradient with inputs of
    variance 1 and {left.small_inputs:.1e} with inputs a tenth as large: about 1 / sqrt(1 + 2 q0 L)."""
    for kind in ("unit_inputs", "small_inputs"):
        left, expected = m["left"][kind], theory(kind, DEPTH - 1)
        assert 0.8 * expected < left["lo"] <= left["median"] <= left["hi"] < 1.5 * expected, kind
        assert 0.85 * expected < left["median"] < 1.45 * expected, kind


def claim_gaussian_weights_lose_it(m):
    """With Gaussian weights of the same scale {decades_lost.tanh_gaussian:.0f} powers of ten are lost, and with ReLU
    at He's scale {decades_lost.relu_he:.0f}."""
    for kind, scatter in [("tanh_gaussian", 16), ("relu_he", 20)]:
        lost, expected = m["decades_lost"][kind], -math.log10(theory(kind, DEPTH - 1))
        assert lost["lo"] <= lost["median"] <= lost["hi"]
        assert abs(lost["lo"] - expected) < scatter + 4, kind
        assert abs(lost["hi"] - expected) < scatter + 4, kind
        assert abs(lost["median"] - expected) < scatter, kind
