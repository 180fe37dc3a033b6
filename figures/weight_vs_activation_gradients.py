"""At Xavier's scale {pre_activations.xavier:.0e} of dL/dz reaches a ReLU net's first layer, but dL/dW is alike in all.

30 layers z_l = W_l relu(z_l-1) without biases. A weight's gradient is the product of what comes back and what goes in:
dL/dW_l = (dL/dz_l)ᵀ relu(z_l-1). With too small weights both shrink at the same rate, one on the way down and the
other on the way up, so their product is the same in all layers, and small in all of them. In a bias-free ReLU network
this is exact: one factor c on every W multiplies each dL/dW_l by c**(L-1).
Glorot & Bengio 2010, equation 14 and figure 8, for tanh.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs.experiments import SIGMA_W2, band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 20
DEPTH = 30  # layers, so 29 transitions between the first and the last
WIDTH = 128  # units per layer
BATCH = 64  # inputs, drawn from N(0, 1); dL/dW sums over them
INITS = {"xavier": ("Xavier", "vanishing"), "he": ("He", "healthy")}
WIDER = {
    "pre_activations.xavier": (2.0, "29 layers compound the differences between networks of finite width"),
    "pre_activations.he": (2.0, "29 layers compound the differences between networks of finite width"),
    "weights.lo weights.hi": (3.0, "the smallest and the largest of twenty networks"),
}


def network(init: str, seed: int, device: str) -> dict:
    """Norms of dL/dz and of dL/dW over the last layer's, first layer to last, and that of all dL/dW together."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64).to(device)
    weights, z = [], []
    for _ in range(DEPTH):
        weights.append(weight(WIDTH, WIDTH, init, generator).to(device).requires_grad_())
        z.append(h @ weights[-1].T)  # (batch, width)
        h = torch.relu(z[-1])
    norms = norms_of_gradients((h * v).sum(), z + weights)
    dz, dW = norms[:DEPTH], norms[DEPTH:]
    return {"dz": [norm / dz[-1] for norm in dz], "dW": [norm / dW[-1] for norm in dW], "all_dW": math.hypot(*dW)}


def measure(seed: int = SEED, device: str = "cpu") -> dict:
    """Both gradients by layer over the last layer's, what the first layer has, and Xavier's dL/dW over He's."""
    seeds = derive_seeds(seed, REPLICAS)
    found = {init: band([network(init, s, device) for s in seeds]) for init in INITS}
    m: dict = {key: {init: found[init][key] for init in INITS} for key in ("dz", "dW")}
    m["pre_activations"] = {init: m["dz"][init]["median"][0] for init in INITS}
    m["weights"] = {end: values[0] for end, values in m["dW"]["xavier"].items()}
    m["xavier_over_he"] = found["xavier"]["all_dW"]["median"] / found["he"]["all_dW"]["median"]
    return m


def draw(m: dict) -> go.Figure:
    fig, layers = go.Figure(), list(range(1, DEPTH + 1))
    for init, (label, role) in INITS.items():
        fig.add_traces(band_traces(layers, m["dz"][init], f"∂L/∂z, {label}", role))
    fig.add_traces(band_traces(layers, m["dW"]["xavier"], "∂L/∂W, Xavier and He alike"))
    for init in INITS:
        y = [math.sqrt(SIGMA_W2[init] / 2) ** (DEPTH - layer) for layer in layers]
        fig.add_scatter(x=layers, y=y, name="theory", mode="lines", meta="theory")
    fig.update_yaxes(title="norm of the gradient relative to the last layer", type="log")
    return fig.update_xaxes(title="layer")


def claim_pre_activations_lose_it(m):
    """With respect to pre-activations the first layer's gradient is {pre_activations.xavier:.0e} of the last's at
    Xavier's scale and {pre_activations.he:.2f} of it at He's."""
    for init in INITS:
        share = m["pre_activations"][init] / math.sqrt(SIGMA_W2[init] / 2) ** (DEPTH - 1)
        assert 1 / 1.7 < share < 1.7, init


def claim_weights_do_not(m):
    """With respect to weights the first layer's gradient is {weights:.1f} times the last's ({weights.lo:.1f} to
    {weights.hi:.1f}), and exactly the same at Xavier's scale as at He's."""
    assert 0.78 < m["weights"]["median"] < 1.6
    assert 0.25 < m["weights"]["lo"] < 1 < m["weights"]["hi"] < 5
    for xavier, he in zip(m["dW"]["xavier"]["median"], m["dW"]["he"]["median"], strict=True):
        assert math.isclose(xavier, he, rel_tol=1e-9)


def claim_all_weights_starve_alike(m):
    """At Xavier's scale every layer's weight gradient is {xavier_over_he:.1e} times that at He's: what vanishes going
    back, and what vanishes going forward, is missed by all layers alike."""
    assert math.isclose(m["xavier_over_he"], math.sqrt(1 / 2) ** (DEPTH - 1), rel_tol=1e-9)
