"""On the critical line a tanh layer multiplies the gradient by {rate.on_line:.2f}; below it vanishes, above explodes.

20 tanh layers z_l = W_l tanh(z_l-1) + b_l with weights of variance sigma_w2 / width and biases of variance sigma_b2.
Theory: the variance of z settles at q* = sigma_w2 E[tanh(z)²] + sigma_b2, and from there each layer multiplies the
gradient's squared norm by chi = sigma_w2 E[tanh'(z)²]. The line chi = 1 begins at sigma_w2 = 1 and rises with
the biases. Measured: the factor on ||dL/dz|| per layer, on the line, and with weights of 0.6 to 1.6 times its variance.
Poole et al. 2016 (arXiv 1606.05340); Schoenholz et al. 2017 (arXiv 1611.01232).
"""

import math
import statistics

import plotly.graph_objects as go
import torch

from vgdocs.experiments import band, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import chi, critical_line, fixed_point

SEED = 0
REPLICAS = 10
DEPTH = 20  # layers
WIDTH = 128  # units per layer
BATCH = 16  # inputs
WINDOW = (3, 18)  # layers whose norms give the rate
Q_ON_LINE = [0.05, 0.5, 0.8, 1.1, 1.4]  # variances of z whose places on the line are measured
FACTORS = {"far_below": 0.6, "below": 0.8, "on_line": 1.0, "above": 1.25, "far_above": 1.6}  # times the line's sigma_w2


def network(sigma_w2: float, sigma_b2: float, q: float, seed: int) -> float:
    """Factor on the norm of dL/dz per layer of one network whose first layer has z of variance q already."""
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)  # (batch, width)
    z = [(math.sqrt(q) * x).requires_grad_()]
    for _ in range(DEPTH - 1):
        b = math.sqrt(sigma_b2) * torch.randn(WIDTH, generator=generator, dtype=torch.float64)
        z.append(torch.tanh(z[-1]) @ weight(WIDTH, WIDTH, sigma_w2, generator).T + b)
    return rate(norms_of_gradients((torch.tanh(z[-1]) * v).sum(), z), *WINDOW)


def measure(seed: int = SEED) -> dict:
    """Rates at places below, on and above the line: each the median over networks, with theory's beside it."""
    seeds = derive_seeds(seed, REPLICAS)
    sigma_b2, on_line = map(list, zip(*critical_line(torch.tanh, Q_ON_LINE), strict=True))
    m: dict = {"places": {}, "rate": {}}
    for name, factor in FACTORS.items():
        here: dict = {"sigma_b2": sigma_b2, "sigma_w2": [factor * w2 for w2 in on_line], "rate": [], "theory": []}
        for w2, b2 in zip(here["sigma_w2"], sigma_b2, strict=True):
            q = fixed_point(torch.tanh, w2, b2)
            here["rate"].append(statistics.median(network(w2, b2, q, s) for s in seeds))
            here["theory"].append(math.sqrt(chi(torch.tanh, q, w2)))
        m["places"][name] = here
        m["rate"][name] = band(here["rate"])  # over the places
    return m


def draw(m: dict) -> go.Figure:
    fig, keys = go.Figure(), ("sigma_b2", "sigma_w2", "rate")
    for label, role, names in [
        ("vanishes", "vanishing", ["far_below", "below"]),
        ("stays", "healthy", ["on_line"]),
        ("explodes", "exploding", ["above", "far_above"]),
    ]:
        b2, w2, rates = ([value for name in names for value in m["places"][name][key]] for key in keys)
        text = {"text": [f"{r:.2f}" for r in rates], "textposition": "bottom right", "mode": "markers+text"}
        fig.add_scatter(x=b2, y=w2, **text, name=f"∂L/∂z {label}, factor per layer", meta=role)
    b2, w2 = zip(*critical_line(torch.tanh, [q / 20 for q in range(1, 31)]), strict=True)
    fig.add_scatter(x=b2, y=w2, name="critical line, theory", mode="lines", meta="theory")
    fig.update_xaxes(title="variance of the biases, σ<sub>b</sub>²")
    return fig.update_yaxes(title="width × variance of the weights, σ<sub>w</sub>²", rangemode="tozero")


def claim_every_rate_is_as_predicted(m):
    """All 25 measured factors on the gradient with respect to pre-activations are within 3% of theory."""
    for here in m["places"].values():
        for measured, theory in zip(here["rate"], here["theory"], strict=True):
            assert math.isclose(measured, theory, rel_tol=0.03)


def claim_the_line_parts_vanishing_from_exploding(m):
    """On the line a layer multiplies the gradient by {rate.on_line.lo:.3f} to {rate.on_line.hi:.3f}; with 0.6 of its
    weights' variance by {rate.far_below.lo:.2f} to {rate.far_below.hi:.2f}, with 1.6 of it by
    {rate.far_above.lo:.2f} to {rate.far_above.hi:.2f}."""
    bounds = [(0.78, 0.92), (0.91, 0.985), (0.98, 1.02), (1.003, 1.085), (1.015, 1.15)]
    for name, (low, high) in zip(FACTORS, bounds, strict=True):
        rates = m["rate"][name]
        assert low < rates["lo"] <= rates["median"] <= rates["hi"] < high, name
