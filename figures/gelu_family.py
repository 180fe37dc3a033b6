"""SELU forgives its input's scale; GELU at its right gain vanishes to {gelu.small:.0e} or explodes to {gelu.large:.0f}.

Fifty plain layers z_l = W_l phi(z_{l-1}) without biases or norms. Each activation has its own gain, the one that
keeps pre-activations of variance 1 at variance 1: sigma_w2 = 1 / E[phi(z)^2] with z ~ N(0, 1). What happens when
the first layer's variance is q instead? The gradient with respect to pre-activations, first layer over last,
against theory, the product of chi along the variance's own path (Schoenholz et al. 2017).

ReLU multiplies q by 1 everywhere and does not mind. ELU and SELU pull q back to 1: SELU, whose gain is that of
LeCun, was made to (Klambauer et al. 2017). For GELU and SiLU, 1 is unstable: a smaller q dies out, where
both are almost linear with slope 1/2, and a larger one grows.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs import theory
from vgdocs.experiments import band, bars, derive_seeds, weight

SEED = 0
REPLICAS = 10
LAYERS = 50
WIDTH = 256
BATCH = 8
VARIANCES = [0.1, 0.2, 0.3, 0.6, 1.0, 1.7, 3.0, 5.0, 10.0]  # q of the first layer
FAR = [0.1, 0.2, 0.3, 3.0, 5.0, 10.0]  # those at which GELU and SiLU cannot go either way
FINE = [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 1.03, 1.1, 1.4, 2.0, 3.0, 5.0, 10.0]  # for the lines of theory
ACTIVATIONS = {"relu": "ReLU", "elu": "ELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU"}
GAIN = {name: 1 / theory.variance_map(theory.ACTIVATIONS[name], q=1.0, sigma_w2=1.0) for name in ACTIVATIONS}
WIDER = {  # medians of ten networks are bounded to a factor of 1.6 of theory on either side
    "elu.small elu.large selu.small selu.large": (2.7, "factor 1.6 on either side"),
    "gelu.small gelu.large silu.small silu.large": (2.7, "factor 1.6 on either side"),
}


def network(seed: int) -> dict:
    """||dL/dz_1|| / ||dL/dz_LAYERS|| for each activation, at each of VARIANCES, on the same weights."""
    g = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=g, dtype=torch.float64)
    weights = [weight(WIDTH, WIDTH, 1.0, g) for _ in range(LAYERS - 1)]
    ratios = {}
    for name in ACTIVATIONS:
        z = first = torch.stack([math.sqrt(q) * x for q in VARIANCES]).requires_grad_()  # (variances, batch, width)
        for W in weights:
            z = theory.ACTIVATIONS[name](z) @ W.T * math.sqrt(GAIN[name])
        (dz,) = torch.autograd.grad((z * v).sum(), first)  # the last layer's gradient is v
        ratios[name] = (dz.flatten(1).norm(dim=1) / v.norm()).tolist()
    return ratios


def measure(seed: int = SEED) -> dict:
    """The ratio of every activation at every variance, and theory's."""
    m: dict = {"variance": VARIANCES, "fine": FINE}
    for name, ratio in band([network(s) for s in derive_seeds(seed, REPLICAS)]).items():
        m[name] = {"ratio": ratio, "small": ratio["median"][0], "large": ratio["median"][-1], "gain": GAIN[name]}
        phi = theory.ACTIVATIONS[name]
        m[name]["theory"] = [theory.gradient_profile(phi, LAYERS, GAIN[name], q)[0] for q in FINE]
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for name, label in ACTIVATIONS.items():
        fig.add_scatter(x=m["variance"], **bars(m[name]["ratio"]), name=label, mode="markers")
    for name in ACTIVATIONS:
        fig.add_scatter(x=m["fine"], y=m[name]["theory"], name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="first layer's variance q", type="log", tickvals=[0.1, 0.3, 1, 3, 10])
    return fig.update_yaxes(title="‖∂L/∂z‖, first layer / last", type="log")


def claim_theory_holds_for_all_five(m):
    """Unless it starts near variance 1, the ratio is theory's within a factor of 1.6, with all five activations."""
    for name in ACTIVATIONS:
        theory_at = dict(zip(m["fine"], m[name]["theory"], strict=True))
        measured_at = dict(zip(m["variance"], m[name]["ratio"]["median"], strict=True))
        ratios = [(q, measured_at[q]) for q in FAR]
        for q, ratio in [*ratios, (FAR[0], m[name]["small"]), (FAR[-1], m[name]["large"])]:
            assert 1 / 1.6 < ratio / theory_at[q] < 1.6


def claim_each_has_its_own_gain(m):
    """The gains are {relu.gain:.2f} for ReLU, {elu.gain:.2f} for ELU, {selu.gain:.2f} for SELU, {gelu.gain:.2f} for
    GELU and {silu.gain:.2f} for SiLU."""
    for name, expected in {"relu": 2, "elu": 1.55, "selu": 1, "gelu": 2.35, "silu": 2.81}.items():
        assert math.isclose(m[name]["gain"], expected, rel_tol=0.01)


def claim_elu_and_selu_forgive(m):
    """A hundred times the variance takes ELU's ratio only from {elu.small:.1f} to {elu.large:.1f}, SELU's from
    {selu.small:.0f} to {selu.large:.1f}, and ReLU's nowhere."""
    for name in ("relu", "elu", "selu"):
        assert all(0.2 < value < 40 for value in [*m[name]["ratio"]["lo"], *m[name]["ratio"]["hi"]])
    assert math.isclose(m["relu"]["small"], m["relu"]["large"], rel_tol=1e-6)


def claim_gelu_and_silu_tip_over(m):
    """GELU's goes from {gelu.small:.0e} to {gelu.large:.0f}, SiLU's from {silu.small:.0e} to {silu.large:.0f}."""
    assert m["gelu"]["ratio"]["hi"][0] < 1e-4
    assert m["silu"]["ratio"]["hi"][0] < 1e-3
    assert min(m["gelu"]["ratio"]["lo"][-1], m["silu"]["ratio"]["lo"][-1]) > 15
