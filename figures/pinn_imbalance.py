"""A PINN's equation can outweigh its boundary {imbalance_16:.0f} to one, and does so alike in every layer.

A physics-informed network u(x), four tanh layers of 50 and Xavier weights, is to satisfy u'' = f on [-1, 1] with
u(-1) = u(1) = 0, where f belongs to u = sin(k pi x). Its loss has two terms: mean (u''(x) - f(x))^2 over the interval
for the equation, mean u(x)^2 at the two ends for the boundary. Here is the gradient of each at initialisation.

f grows as k^2, and what a smooth network can see of a fast wave falls as 1/k, so the equation's gradient grows as k for
large k. This imbalance is between terms of the loss (Wang, Teng & Perdikaris 2021, abstract), and is often told as a
case of vanishing gradients, which shrink from layer to layer.
"""

from itertools import pairwise
from math import hypot, isclose, pi
from statistics import median

import plotly.graph_objects as go
import torch

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 100  # networks
FREQUENCIES = [1, 4, 16]  # k, half periods on a unit of length
SIZES = [1, 50, 50, 50, 50, 1]  # x, four tanh layers, u
POINTS = 200  # where the equation is checked
WIDER = {  # a network whose ends lie near 0 has next to no boundary gradient, so that even medians spread
    "imbalance_1": (2.0, "medians of a hundred networks lie between 12 and 23"),
    "imbalance_4": (2.0, "between 32 and 57"),
    "imbalance_16": (2.0, "between 126 and 221"),
}


def gradient_norms(seed: int) -> dict[str, list[float]]:
    """||dloss/dW_l|| of each layer, for the boundary and for the equation at each frequency.

    Under "pre_activations" the boundary's ||dloss/dz_l|| of the four tanh layers.
    """
    g = torch.Generator().manual_seed(seed)
    weights = [weight(o, i, "xavier", g).requires_grad_() for i, o in pairwise(SIZES)]
    u = x = torch.linspace(-1, 1, POINTS, dtype=torch.float64)[:, None].requires_grad_()
    z = []  # pre-activations, (POINTS, 50) each
    for W in weights[:-1]:
        z.append(u @ W.T)
        u = torch.tanh(z[-1])
    u = u @ weights[-1].T  # (POINTS, 1)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
    losses = {"boundary": u[[0, -1]].pow(2).mean()}
    for k in FREQUENCIES:
        f = -((k * pi) ** 2) * torch.sin(k * pi * x.detach())
        losses[f"equation_{k}"] = (ddu - f).pow(2).mean()
    norms = {term: norms_of_gradients(loss, weights, retain_graph=True) for term, loss in losses.items()}
    return norms | {"pre_activations": norms_of_gradients(losses["boundary"], z)}


def measure(seed: int = SEED) -> dict:
    """Norms per layer of both terms; the ratio of the terms, and of the first layer to the last."""
    nets = [gradient_norms(s) for s in derive_seeds(seed, REPLICAS)]
    m = {"layer": list(range(1, len(SIZES))), **band(nets)}
    for k in FREQUENCIES:
        m[f"imbalance_{k}"] = median(hypot(*net[f"equation_{k}"]) / hypot(*net["boundary"]) for net in nets)
    for term in ("boundary", "equation_16", "pre_activations"):
        m[f"{term}_first_over_last"] = median(ratio(net[term]) for net in nets)
    layers = [[e / b for e, b in zip(net["equation_16"], net["boundary"], strict=True)] for net in nets]
    m["imbalance_by_layer"] = band(layers)["median"]
    return m


def draw(m: dict) -> go.Figure:
    """The gradient of each term over the layers: flat lines, far apart."""
    fig = go.Figure()
    for k in reversed(FREQUENCIES):
        fig.add_traces(band_traces(m["layer"], m[f"equation_{k}"], f"equation, k = {k}"))
    fig.add_traces(band_traces(m["layer"], m["boundary"], "boundary"))
    fig.update_xaxes(title="layer", tickvals=m["layer"])
    fig.update_yaxes(title="‖∂ loss term / ∂W‖ of the layer", type="log")
    return fig.update_layout(height=480)  # for its legend


def claim_the_equation_outweighs_the_boundary(m):
    """The equation's gradient is {imbalance_1:.0f}, {imbalance_4:.0f} and {imbalance_16:.0f} times the boundary's
    at frequencies 1, 4 and 16."""
    assert 10 < m["imbalance_1"] < 30
    assert 26 < m["imbalance_4"] < 75
    assert 100 < m["imbalance_16"] < 300


def claim_the_imbalance_grows_as_the_frequency(m):
    """From frequency 4 to 16 the imbalance grows fourfold."""
    assert isclose(m["imbalance_16"] / m["imbalance_4"], 4, rel_tol=0.1)


def claim_no_layer_vanishes(m):
    """The first layer's gradient is {boundary_first_over_last:.1f} (boundary) and {equation_16_first_over_last:.1f}
    (equation) times the last layer's, and every layer is imbalanced alike. With respect to the pre-activations the
    boundary's is {pre_activations_first_over_last:.1f} times the last tanh layer's."""
    assert 0.78 < m["boundary_first_over_last"] < 1.4
    assert 0.78 < m["equation_16_first_over_last"] < 1.4
    assert 0.65 < m["pre_activations_first_over_last"] < 1.05
    assert all(isclose(layer, m["imbalance_16"], rel_tol=0.3) for layer in m["imbalance_by_layer"])
