"""nn.Linear's default weights have a sixth of He's variance: a ReLU layer hands on {rate.default:.3f} of the gradient.

30 layers of torch.nn.Linear as they come, or without their biases, or with He's weights; ReLU between them.
PyTorch calls kaiming_uniform_(a=sqrt(5)), which is not He's initialisation for ReLU: it draws weights and biases
from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), a variance of 1/(3 fan_in), the old heuristic of Glorot & Bengio 2010,
equation 15. He's is 2/fan_in (He et al. 2015, arXiv 1502.01852, equation 10).
The default biases hide it: they hold up the forward signal, and the gradient falls all the same.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import gradient_profile, variance_trajectory

SEED = 0
REPLICAS = 10
DEPTH = 30  # layers
WIDTH = 128  # units per layer
BATCH = 32  # inputs, drawn from N(0, 1)
KINDS = {"default": "nn.Linear as it comes", "no_bias": "without its biases", "he": "with He's weights, no biases"}
ROLES = {"default": "vanishing", "he": "healthy"}
SIGMA_W2 = {"default": 1 / 3, "no_bias": 1 / 3, "he": 2.0}  # theory: width x variance of a weight
SIGMA_B2 = {"default": 1 / (3 * WIDTH), "no_bias": 0.0, "he": 0.0}  # theory: variance of a bias
WIDER = {"first_gradient": (2.0, "29 layers compound the differences between networks of finite width")}


def network(kind: str, seed: int) -> dict:
    """Width x variance of the weights; by layer, root mean square of z and norm of dL/dz over the last's; its rate."""
    torch.manual_seed(seed)  # nn.Linear draws from the global generator
    h, v = torch.randn(2, BATCH, WIDTH, dtype=torch.float64)
    layers = [nn.Linear(WIDTH, WIDTH, bias=kind == "default", dtype=torch.float64) for _ in range(DEPTH)]
    if kind == "he":
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    z = []
    for layer in layers:
        z.append(layer(h))  # (batch, width)
        h = torch.relu(z[-1])
    norms = norms_of_gradients((h * v).sum(), z)
    return {
        "variance": WIDTH * torch.stack([layer.weight for layer in layers]).var().item(),
        "signal": [layer_z.square().mean().sqrt().item() for layer_z in z],
        "gradient": [norm / norms[-1] for norm in norms],
        "rate": rate(norms),
    }


def measure(seed: int = SEED) -> dict:
    """Weights' variance, the gradient's rate, and both profiles for the three kinds of layer."""
    m: dict = {"variance": {}, "rate": {}, "signal": {}, "gradient": {}}
    for kind in KINDS:
        networks = [network(kind, s) for s in derive_seeds(seed, REPLICAS)]
        m["variance"][kind] = sum(one["variance"] for one in networks) / REPLICAS
        for key in ("rate", "signal", "gradient"):
            m[key][kind] = band([one[key] for one in networks])
    m["he_over_default"] = m["variance"]["he"] / m["variance"]["default"]
    m["last_signal"] = m["signal"]["default"]["median"][-1]  # root mean square of z
    m["first_gradient"] = m["gradient"]["default"]["median"][0]  # relative to the last layer's
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    x = list(range(1, DEPTH + 1))
    for kind, label in KINDS.items():
        for row, key in [(1, "signal"), (2, "gradient")]:
            fig.add_traces(band_traces(x, m[key][kind], label, ROLES.get(kind)), row, 1)
    for kind in KINDS:
        wide = (torch.relu, DEPTH, SIGMA_W2[kind], SIGMA_W2[kind] + SIGMA_B2[kind], SIGMA_B2[kind])
        signal = [math.sqrt(q) for q in variance_trajectory(*wide)]
        for row, y in [(1, signal), (2, gradient_profile(*wide))]:
            fig.add_scatter(x=x, y=y, name="theory", mode="lines", meta="theory", row=row, col=1)
    fig.update_yaxes(title="root mean square of z", type="log", row=1)
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log", row=2)
    return fig.update_xaxes(title="layer", row=2)


def claim_default_is_a_sixth_of_he(m):
    """The default's variance is {variance.default:.3f} / fan_in; He's is {he_over_default:.2f} times that."""
    for kind in KINDS:
        assert math.isclose(m["variance"][kind], SIGMA_W2[kind], rel_tol=0.01)
    assert math.isclose(m["he_over_default"], 6, rel_tol=0.02)


def claim_gradient_vanishes_at_the_default(m):
    """A layer multiplies the gradient by {rate.default:.3f} at the default and by {rate.he:.3f} at He's scale, so
    that {first_gradient:.1e} of it is left at the first of 30 layers."""
    for kind in KINDS:
        expected = math.sqrt(SIGMA_W2[kind] / 2)
        for end, close in [("median", 0.03), ("lo", 0.07), ("hi", 0.07)]:
            assert math.isclose(m["rate"][kind][end], expected, rel_tol=close)
    assert 1 / 1.8 < m["first_gradient"] / (1 / 6) ** ((DEPTH - 1) / 2) < 1.8


def claim_biases_hold_the_signal_not_the_gradient(m):
    """With the default biases the pre-activations of layer 30 are still {last_signal:.3f} in size, without them nothing
    is left; the gradient falls by {rate.default:.3f} per layer with them and by {rate.no_bias:.3f} without."""
    settled = math.sqrt(SIGMA_B2["default"] / (1 - SIGMA_W2["default"] / 2))
    assert math.isclose(m["last_signal"], settled, rel_tol=0.1)
    assert m["signal"]["no_bias"]["hi"][-1] < 1e-9 * m["last_signal"]
    assert math.isclose(m["rate"]["default"]["median"], m["rate"]["no_bias"]["median"], rel_tol=0.03)
