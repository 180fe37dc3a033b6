"""A linear RNN explodes above a spectral radius of 1, a tanh RNN with unit inputs only above {critical_rho:.2f}.

z_t = W h_{t-1} + x_t, h_t = phi(z_t), with W = rho Q and Q a random orthogonal matrix, so that every eigenvalue
and every singular value of W has modulus rho. One step back multiplies the gradient by W^T diag(phi'(z_t)).
Linear: phi' = 1 and k steps leave exactly rho^k. tanh: the inputs push the units off the steep part of the curve,
and the rate is sqrt(chi) with chi = rho^2 E[tanh'(z)^2] along the variance's own trajectory (Poole et al. 2016,
with the input's variance in the bias's place; Pascanu et al. 2013, section 2.1, for the bound).
"""

import plotly.graph_objects as go
import torch

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients, ratio
from vgdocs.theory import ACTIVATIONS, gradient_profile

SEED = 0
REPLICAS = 10  # networks behind each band
STEPS = 100  # time steps, so 99 steps back
HIDDEN = 64  # units
BATCH = 16  # sequences
RHO = [0.5, 0.7, 0.9, 1.0, 1.1, 1.3, 1.5, 1.7, 1.9, 2.1, 2.3]  # spectral radii of W
CITED = {0.9: "at_0_9", 1.1: "at_1_1", 1.5: "at_1_5"}  # spectral radii whose rates are numbers of their own
INPUTS = {"tiny": 0.01, "unit": 1.0}  # standard deviation of each unit's input


def normal(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def gradient_left(activation: str, weights, x, h, v) -> float:
    """What is left of the gradient with respect to the pre-activations after STEPS - 1 steps back.

    One matrix a step, (T, hidden, hidden), inputs (T, batch, hidden), first state and dL/dh at the end (batch, hidden).
    """
    z = []
    for W, x_t in zip(weights, x, strict=True):
        z.append((h @ W.T + x_t).requires_grad_())
        h = ACTIVATIONS[activation](z[-1])
    return ratio(norms_of_gradients((h * v).sum(), z))


def left_after(activation: str, rho: float, scale: float, seed: int, device: str) -> float:
    """The same with W = rho Q at every step, from a state of zeros."""
    G, x, v = normal(seed, (HIDDEN, HIDDEN), (STEPS, BATCH, HIDDEN), (BATCH, HIDDEN))
    Q, R = torch.linalg.qr(G)
    weights = (rho * Q * R.diagonal().sign()).expand(STEPS, -1, -1)  # without the signs Q isn't uniform
    return gradient_left(activation, *(t.to(device) for t in (weights, scale * x, torch.zeros_like(v), v)))


def gaussian_rate(activation: str, tied: bool, seed: int) -> float:
    """Factor per step back with Gaussian weights of variance 1/n and unit inputs, one matrix (tied) or one per step."""
    state = (BATCH, HIDDEN)
    W, h, x, v = normal(seed, (1 if tied else STEPS, HIDDEN, HIDDEN), state, (STEPS, *state), state)
    return gradient_left(activation, (W / HIDDEN**0.5).expand(STEPS, -1, -1), x, h, v) ** (1 / (STEPS - 1))


def measure(seed: int = SEED, device: str = "cpu") -> dict:
    """The factor per step back of each network over RHO, measured and predicted."""
    seeds = derive_seeds(seed, REPLICAS)
    per_step = 1 / (STEPS - 1)
    left = [left_after("linear", rho, 1.0, seeds[0], device) for rho in RHO]
    m = {"linear": [r**per_step for r in left]}
    m |= {"linear_left_at_0_9": left[RHO.index(0.9)], "linear_left_at_1_1": left[RHO.index(1.1)]}
    for size, scale in INPUTS.items():
        rates = [[left_after("tanh", rho, scale, s, device) ** per_step for rho in RHO] for s in seeds]  # (seeds, rho)
        profiles = [gradient_profile(torch.tanh, STEPS, rho**2, scale**2, scale**2) for rho in RHO]
        m[size] = {"rates": band(rates), "theory": [p[0] ** per_step for p in profiles]}
        m[size] |= {name: band([r[RHO.index(rho)] for r in rates]) for rho, name in CITED.items()}
    for key, tied in {"tied": True, "untied": False}.items():
        m[key] = {f: band([gaussian_rate(f, tied, s) for s in seeds]) for f in ("linear", "tanh")}
    unit = m["unit"]["rates"]["median"]
    i = next(i for i, rate in enumerate(unit) if rate > 1)  # the line from i - 1 to i crosses 1
    m["critical_rho"] = RHO[i - 1] + (RHO[i] - RHO[i - 1]) * (1 - unit[i - 1]) / (unit[i] - unit[i - 1])
    return m


def draw(m: dict) -> go.Figure:
    """The rate over the spectral radius."""
    fig = go.Figure()
    fig.add_scatter(x=RHO, y=m["linear"], name="linear", mode="markers", meta="exploding")
    fig.add_traces(band_traces(RHO, m["tiny"]["rates"], "tanh, inputs of 0.01"))
    fig.add_traces(band_traces(RHO, m["unit"]["rates"], "tanh, inputs of 1", meta="vanishing"))
    fig.add_scatter(x=RHO, y=[1] * len(RHO), name="neither", mode="lines", meta="reference")
    for y in (RHO, m["tiny"]["theory"], m["unit"]["theory"]):
        fig.add_scatter(x=RHO, y=y, name="theory", mode="lines", meta="theory")
    return fig.update_xaxes(title="spectral radius ρ of W").update_yaxes(title="factor on ‖∂L/∂z‖ per step back")


def claim_linear_is_rho_to_the_k(m):
    """A linear RNN keeps exactly ρ⁹⁹ of the gradient over 99 steps: {linear_left_at_0_9:.2e} at ρ = 0.9 and
    {linear_left_at_1_1:.2e} at ρ = 1.1."""
    assert abs(m["linear_left_at_0_9"] / 0.9**99 - 1) < 1e-9
    assert abs(m["linear_left_at_1_1"] / 1.1**99 - 1) < 1e-9
    for rho, rate in zip(RHO, m["linear"], strict=True):
        assert abs(rate / rho - 1) < 1e-9


def claim_inputs_decide(m):
    """At ρ = 1.5 the gradient of a tanh RNN explodes while its inputs are tiny ({tiny.at_1_5:.3f} per step) and
    vanishes when they are of unit size ({unit.at_1_5:.3f})."""
    assert m["tiny"]["at_1_5"]["lo"] > 1.05
    assert m["unit"]["at_1_5"]["hi"] < 0.92


def claim_unit_inputs_move_the_threshold(m):
    """With inputs of unit size the gradient of a tanh RNN vanishes up to ρ = {critical_rho:.2f}."""
    assert 1.8 < m["critical_rho"] < 1.92


def claim_sharing_the_matrix_spreads_linear_networks(m):
    """With Gaussian weights of variance 1/n and one matrix for all steps, linear networks of width 64 range from
    {tied.linear.lo:.2f} to {tied.linear.hi:.2f} per step; with a matrix for each step from {untied.linear.lo:.2f} to
    {untied.linear.hi:.2f}."""
    tied, untied = m["tied"]["linear"], m["untied"]["linear"]
    assert tied["hi"] - tied["lo"] > 1.5 * (untied["hi"] - untied["lo"])
    assert 0.9 < tied["lo"] <= tied["median"] <= tied["hi"] < 1.3
    assert 0.95 < untied["lo"] <= untied["median"] <= untied["hi"] < 1.05


def claim_sharing_the_matrix_hardly_matters_to_driven_tanh(m):
    """With unit inputs tanh networks have a rate of {tied.tanh:.3f} with one matrix and {untied.tanh:.3f} with many."""
    tied, untied = m["tied"]["tanh"], m["untied"]["tanh"]
    assert abs(tied["median"] / untied["median"] - 1) < 0.03
    for rates in (tied, untied):
        assert 0.55 < rates["lo"] <= rates["median"] <= rates["hi"] < 0.7


def claim_mean_field_theory_predicts_the_rate(m):
    """Mean-field theory predicts the rate of every tanh RNN with orthogonal W within 5 per cent, and the median
    network's within 2."""
    for size in INPUTS:
        rates, theory = m[size]["rates"], m[size]["theory"]
        for lo, middle, hi, expected in zip(rates["lo"], rates["median"], rates["hi"], theory, strict=True):
            assert 0.95 * expected < lo <= middle <= hi < 1.05 * expected
            assert abs(middle / expected - 1) < 0.02
        for rho, name in CITED.items():
            assert m[size][name] == {end: values[RHO.index(rho)] for end, values in rates.items()}
