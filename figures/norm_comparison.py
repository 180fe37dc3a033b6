"""Layer norm before the activation does not rescue a sigmoid network; batch norm does, and lets every gradient grow.

z_l = W h_{l-1},  h_l = phi(norm(z_l)),  no skip connections, He's weights, whose size cancels wherever there is a norm.
A layer multiplies the squared norm of the gradient, in wide networks and for x ~ N(0, 1), by

    batch norm         E[phi'(x)²] / Var[phi(x)]     divides by the deviation over the batch, a unit's mean is gone
    layer, RMS norm    E[phi'(x)²] / E[phi(x)²]      divide by the deviation over the units, a unit's mean stays
    none               2 E[phi'(sqrt(q) x)²]         q is the pre-activations' variance, settled over the layers

and with layer norm on the activations instead, h_l = norm(phi(z_l)), where z has the weights' variance 2,

    layer, after phi   2 E[phi'(sqrt(2) x)²] / Var[phi(sqrt(2) x)]     the units' common mean is subtracted

A sigmoid's outputs have a mean of 1/2: almost all of what layer normalisation divides by is that mean, which carries no
information. Behind the activation that mean is the same in all units, and layer normalisation takes it off as batch
normalisation does: the sigmoid's gradient no longer vanishes, ReLU's explodes. Batch normalisation: Yang et al. 2019;
layer: Ba et al. 2016; RMS: Zhang & Sennrich 2019. The quotients follow from the mean-field argument of Schoenholz et
al. 2017.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F

from vgdocs import theory
from vgdocs.experiments import SIGMA_W2, band, bars, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import ACTIVATIONS, chi, gaussian_mean

SEED = 0
REPLICAS = 10  # networks of each kind
DEPTH = 30  # layers
WIDTH = 256  # units in a layer
BATCH = 64  # inputs
EPS = 1e-12  # added to the variance before dividing: next to nothing

NORMS = {
    "none": ("no norm", lambda z: z),
    "batch": ("batch norm", lambda z: F.batch_norm(z, None, None, training=True, eps=EPS)),
    "layer": ("layer norm", lambda z: F.layer_norm(z, (WIDTH,), eps=EPS)),
    "rms": ("RMS norm", lambda z: F.rms_norm(z, (WIDTH,), eps=EPS)),
    "after": ("layer norm after it", lambda h: F.layer_norm(h, (WIDTH,), eps=EPS)),  # of the activations
}
PHIS = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid"}
VERDICTS = {"vanishing": (0, 0.96), "healthy": (0.96, 1.04), "exploding": (1.04, 9)}  # rates, for the colours


def network(phi, norm: str, seed: int) -> list[float]:
    """Norms of dL/dz, the gradient with respect to the pre-activations, from the first layer to the last."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)  # inputs; dL/dh of the last layer
    h, z, normalise = h.requires_grad_(), [], NORMS[norm][1]
    for _ in range(DEPTH):
        z.append(h @ weight(WIDTH, WIDTH, "he", generator).T)  # (BATCH, WIDTH)
        h = normalise(phi(z[-1])) if norm == "after" else phi(normalise(z[-1]))
    return norms_of_gradients((h * v).sum(), z)


def predicted(phi, norm: str) -> float:
    """The rate in wide networks, and for batch normalisation in large batches."""
    if norm == "none":
        return theory.rate(phi, SIGMA_W2["he"])
    q = SIGMA_W2["he"] if norm == "after" else 1.0  # variance of what the activation is applied to
    size = gaussian_mean(lambda x: phi(x) ** 2, q)
    if norm in ("batch", "after"):
        size -= gaussian_mean(phi, q) ** 2
    return math.sqrt(chi(phi, q, sigma_w2=q) / size)  # chi is q E[phi'²]


def measure(seed: int = SEED) -> dict:
    """The gradient's rate per layer for each activation and norm, measured and predicted."""
    m = {"rate": {phi: {} for phi in PHIS}, "theory": {phi: {} for phi in PHIS}}
    for phi in PHIS:
        for norm in NORMS:
            networks = [network(ACTIVATIONS[phi], norm, s) for s in derive_seeds(seed, REPLICAS)]
            m["rate"][phi][norm] = band([rate(norms, first=5, last=26) for norms in networks])
            m["theory"][phi][norm] = predicted(ACTIVATIONS[phi], norm)
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    rows = {f"{PHIS[phi]}, {NORMS[norm][0]}": m["rate"][phi][norm] for phi in PHIS for norm in NORMS}
    labels = list(rows)
    for role, (low, high) in VERDICTS.items():
        those = {label: found for label, found in rows.items() if low <= found["median"] < high}
        fig.add_bar(y=list(those), **bars(list(those.values()), "x"), orientation="h", name=role, meta=role)
    fig.add_scatter(x=[1, 1], y=[labels[0], labels[-1]], name="unchanged", mode="lines", meta="reference")
    expected = [m["theory"][phi][norm] for phi in PHIS for norm in NORMS]
    marker = {"symbol": "line-ns-open", "size": 14}
    fig.add_scatter(x=expected, y=labels, name="theory", mode="markers", marker=marker, meta="theory")
    fig.update_xaxes(title="factor on ‖∂L/∂z‖ per layer")
    fig.update_yaxes(categoryorder="array", categoryarray=labels[::-1], dtick=1)  # every name, on a small screen too
    return fig.update_layout(barmode="overlay", height=480)


def claim_rates_are_those_of_theory(m):
    """All fifteen median rates are those of theory within 3%: for ReLU {rate.relu.none:.3f} without a norm,
    {rate.relu.batch:.3f} with batch, {rate.relu.layer:.3f} with layer and {rate.relu.rms:.3f} with RMS
    normalisation."""
    pairs = [(m["rate"][phi][norm], m["theory"][phi][norm]) for phi in PHIS for norm in NORMS]
    for measured, expected in pairs:
        assert 0.94 * expected < measured["lo"] <= measured["median"] <= measured["hi"] < 1.06 * expected
        assert abs(measured["median"] / expected - 1) < 0.03


def claim_layer_norm_does_not_rescue_a_sigmoid(m):
    """A sigmoid network's gradient is multiplied by {rate.sigmoid.none:.2f} per layer without a norm, by
    {rate.sigmoid.layer:.2f} with layer and by {rate.sigmoid.rms:.2f} with RMS normalisation before the activation: it
    still vanishes."""
    for norm in ("none", "layer", "rms"):
        assert m["rate"]["sigmoid"][norm]["hi"] < 0.42


def claim_batch_norm_rescues_it_at_the_price_of_growth(m):
    """Batch normalisation lifts the sigmoid's rate to {rate.sigmoid.batch:.3f}, and every activation's above 1:
    {rate.tanh.batch:.3f} for tanh, {rate.relu.batch:.3f} for ReLU."""
    for phi in PHIS:
        assert m["rate"][phi]["batch"]["lo"] > 1.01


def claim_behind_the_activation_layer_norm_does_what_batch_norm_does(m):
    """On the activations layer normalisation lets the sigmoid's gradient grow slowly, {rate.sigmoid.after:.3f} per
    layer, and makes ReLU's explode, {rate.relu.after:.3f}."""
    assert 1.01 < m["rate"]["sigmoid"]["after"]["lo"] <= m["rate"]["sigmoid"]["after"]["hi"] < 1.1
    assert m["rate"]["relu"]["after"]["lo"] > 1.15


def claim_layer_and_rms_norm_leave_relu_alone(m):
    """With ReLU, layer and RMS normalisation neither vanish nor explode: {rate.relu.layer:.3f} and
    {rate.relu.rms:.3f} per layer."""
    for norm in ("layer", "rms"):
        assert 0.94 < m["rate"]["relu"][norm]["lo"] <= m["rate"]["relu"][norm]["hi"] < 1.06
        assert abs(m["rate"]["relu"][norm]["median"] - 1) < 0.03
