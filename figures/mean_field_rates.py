"""For sixteen pairs of activation and scale the median rate is that of mean-field theory within {worst_error:.1%}.

30 layers z_l = W_l phi(z_l-1), no biases, W Gaussian with variance sigma_w2 / width. Measured: the norm of
dL/dz_l, and the factor it takes on per layer going backward. Theory: a wide layer multiplies its square by
chi = sigma_w2 E[phi'(z)²], z ~ N(0, q), where q is that layer's variance of pre-activations. Both are read off
layers 5 to 28 in the same way, because q is still on its way there where the network is critical: tanh and ELU
at LeCun's scale lose a little less with every layer, as a power law of the depth. GELU and SiLU at He's scale are left
out: their variance falls so slowly at first that at this width the seed decides how soon it dies out.
Poole et al. 2016 (arXiv 1606.05340); Schoenholz et al. 2017 (arXiv 1611.01232).

A rate of one doesn't keep inputs apart. At He's scale wide ReLU layers map the cosine of two inputs from c to
(sqrt(1 - c²) + c (pi - arccos c)) / pi (Cho & Saul 2009), which tends to one.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs.experiments import SIGMA_W2, band, bars, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import ACTIVATIONS, gradient_profile
from vgdocs.theory import rate as rate_at_infinite_depth

SEED = 0
REPLICAS = 10
DEPTH = 30  # layers
WIDTH = 128  # units per layer
BATCH = 16  # inputs, drawn from N(0, 1)
WINDOW = (5, 28)  # layers whose norms give the rate
INITS = {"pytorch": "PyTorch's default", "lecun": "LeCun, Xavier", "he": "He"}
LABELS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU"}
COSINE_LAYERS = [1, 10, 30]  # layers whose cosines are reported
LEFT_OUT = [("he", "gelu"), ("he", "silu")]  # see above
CASES = [(init, name) for init in INITS for name in LABELS if (init, name) not in LEFT_OUT]


def network(seed: int) -> dict:
    """Rates of ||dL/dz|| by initialisation and activation, on the same weights but for their scale, and cosines."""
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)
    weights = [weight(WIDTH, WIDTH, 1.0, generator) for _ in range(DEPTH)]
    rates: dict = {init: {} for init in INITS}
    for init, name in CASES:
        h, z = x, []
        for W in weights:
            z.append((math.sqrt(SIGMA_W2[init]) * h @ W.T).requires_grad_())  # (batch, width)
            h = ACTIVATIONS[name](z[-1])
        rates[init][name] = rate(norms_of_gradients((h * v).sum(), z), *WINDOW)
    return {"rate": rates, "cosine": cosines(weights, x)}


def cosines(weights: list[torch.Tensor], x: torch.Tensor) -> dict[str, float]:
    """Mean cosine of two inputs' ReLU activations at He's scale, by layer."""
    h, means = x, {}
    for layer, W in enumerate(weights, start=1):
        h = torch.relu(math.sqrt(2) * h @ W.T)  # (batch, width)
        if layer in COSINE_LAYERS:
            unit = h / h.norm(dim=1, keepdim=True)
            means[f"layer_{layer}"] = float(((unit @ unit.T).sum() - BATCH) / (BATCH * (BATCH - 1)))
    return means


def measure(seed: int = SEED) -> dict:
    """The rate for each initialisation and activation, as in rate.he.relu, and what theory says."""
    m = band([network(s) for s in derive_seeds(seed, REPLICAS)])
    m["theory"] = {init: {} for init in INITS}
    for init, name in CASES:
        profile = gradient_profile(ACTIVATIONS[name], DEPTH, SIGMA_W2[init], q0=SIGMA_W2[init])
        m["theory"][init][name] = rate(profile, *WINDOW)
    m["worst_error"] = max(relative_errors(m))
    m["tanh_at_infinite_depth"] = rate_at_infinite_depth(ACTIVATIONS["tanh"], SIGMA_W2["lecun"])
    return m


def relative_errors(m) -> list[float]:
    """Distance of each median rate from theory."""
    return [abs(m["rate"][init][name]["median"] / m["theory"][init][name] - 1) for init, name in CASES]


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for init, label in INITS.items():
        x, rates = [LABELS[name] for name in m["rate"][init]], list(m["rate"][init].values())
        fig.add_scatter(x=x, **bars(rates), name=label, mode="markers")
    x, y = [LABELS[name] for _, name in CASES], [m["theory"][init][name] for init, name in CASES]
    marker = {"symbol": "line-ew-open", "size": 26}
    fig.add_scatter(x=x, y=y, name="mean-field theory", mode="markers", marker=marker, meta="theory")
    fig.update_yaxes(title="factor on ‖∂L/∂z‖ per layer, going backward", rangemode="tozero")
    return fig.update_xaxes(title="activation, by initialisation of the weights")


def claim_theory_holds_everywhere(m):
    """For sixteen pairs of activation and initialisation the median rate is within {worst_error:.1%} of theory."""
    assert math.isclose(m["worst_error"], max(relative_errors(m)), rel_tol=1e-6)
    assert m["worst_error"] < 0.025
    for init, name in CASES:
        measured, theory = m["rate"][init][name], m["theory"][init][name]
        assert 0.94 * theory < measured["lo"] <= measured["median"] <= measured["hi"] < 1.06 * theory, (init, name)


def claim_relu_makes_inputs_alike_at_a_rate_of_one(m):
    """At He's scale, where the gradient's rate is one, ReLU layers raise the mean cosine of two inputs to
    {cosine.layer_1:.2f} after one layer, {cosine.layer_10:.2f} after ten and {cosine.layer_30:.2f} after thirty."""
    c = 0.0  # wide random inputs are nearly orthogonal
    for layer in range(1, DEPTH + 1):
        c = (math.sqrt(1 - c**2) + c * (math.pi - math.acos(c))) / math.pi
        if layer in COSINE_LAYERS:
            lo, median, hi = (m["cosine"][f"layer_{layer}"][end] for end in ("lo", "median", "hi"))
            assert c - (0.05 if layer == 1 else 0.15) < lo <= median <= hi < min(1, c + 0.12)
            assert abs(median - c) < 0.04


def claim_relu_needs_he(m):
    """A ReLU layer keeps the gradient at He's scale, a factor {rate.he.relu:.3f}, but multiplies it by
    {rate.lecun.relu:.3f} at LeCun's or Xavier's and by {rate.pytorch.relu:.3f} at PyTorch's default."""
    for init, exact in [("he", 1.0), ("lecun", math.sqrt(1 / 2)), ("pytorch", math.sqrt(1 / 6))]:
        assert math.isclose(m["rate"][init]["relu"]["median"], exact, rel_tol=0.025)


def claim_no_common_scale_saves_sigmoid(m):
    """A sigmoid layer multiplies the gradient by {rate.he.sigmoid:.3f} at best, at He's scale, and by
    {rate.pytorch.sigmoid:.3f} at PyTorch's default: no usual scale gives exactly a quarter,
    and none comes near one."""
    for init, low, high in [("pytorch", 0.13, 0.15), ("lecun", 0.22, 0.245), ("he", 0.30, 0.33)]:
        assert low < m["rate"][init]["sigmoid"]["median"] < high


def claim_tanh_is_critical_at_lecun(m):
    """At LeCun's scale a tanh layer passes back {rate.lecun.tanh:.3f} of the gradient here, though the rate at infinite
    depth is {tanh_at_infinite_depth:.0f}: the decay is a power law, and He's scale makes tanh explode."""
    assert abs(m["tanh_at_infinite_depth"] - 1) < 1e-6
    assert 0.94 < m["rate"]["lecun"]["tanh"]["hi"] < 0.99
    assert 1.02 < m["rate"]["he"]["tanh"]["lo"] < 1.06
