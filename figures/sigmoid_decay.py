"""A sigmoid hands back at most a quarter of the gradient, but what a network hands back depends on its weights.

A chain of scalar sigmoids, each held at z = 0 where it is steepest, multiplies n factors of exactly 1/4. A network
multiplies by its weights as well: dL/dz_l = phi'(z_l) * W_{l+1}^T dL/dz_{l+1}, on average a factor of
sqrt(sigma_w2 E[phi'(z)²]) per layer, where sigma_w2 = fan_in x weight variance. So 0.25**n is neither a deep
network's gradient nor a bound on it. The product is from Hochreiter & Schmidhuber 1997, section 3.1; the factor
per layer from Schoenholz et al. 2017.

Below: how far 0.25**n can be followed in each floating-point format before it is rounded to exactly zero.
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs import theory
from vgdocs.experiments import SIGMA_W2, band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate

SEED = 0
REPLICAS = 10  # networks of each kind
LINKS = 600  # links in the longest chain, more than float64 can follow
SHOWN = 81  # links drawn, past the last that float32 can follow
DEPTH = 30  # layers of a network
WIDTH = 128  # units in a layer
BATCH = 8  # inputs

FORMATS = ["float16", "bfloat16", "float32", "float64"]
KINDS = {"lecun": "LeCun weights", "pytorch": "PyTorch default", "critical": "critical weights"}
ROLES = {"lecun": "vanishing", "pytorch": "vanishing", "critical": "healthy"}
WIDER = {
    "left.lecun": (3.0, "a product over 29 layers of finite width"),
    "left.pytorch": (3.0, "a product over 29 layers of finite width"),
    "left.critical": (3.0, "a product over 29 layers of finite width"),
}


def chain(dtype: torch.dtype) -> list[float]:
    """Gradient left after 0, 1, 2 ... links, by one backward pass through the longest chain."""
    z = [torch.zeros((), dtype=dtype, requires_grad=True)]
    for _ in range(LINKS):
        z.append(torch.sigmoid(z[-1]) - 0.5)  # back to 0, the steepest point
    return [gradient.item() for gradient in torch.autograd.grad(z[-1], z)][::-1]


def network(sigma_w2: float, seed: int) -> list[float]:
    """Norms of dL/dz, the gradient with respect to the pre-activations, from the first layer to the last."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)  # dL/dh of the last layer
    z = []
    for _ in range(DEPTH):
        z.append(h @ weight(WIDTH, WIDTH, sigma_w2, generator).T)  # (BATCH, WIDTH)
        h = torch.sigmoid(z[-1])
    return norms_of_gradients((h * v).sum(), z)


def measure(seed: int = SEED) -> dict:
    """The chain's gradient, the networks' gradients and what theory says of them."""
    gradient = chain(torch.float64)
    m = {
        "chain": gradient[:SHOWN],
        "after_5_links": gradient[5],
        "after_19_links": gradient[19],
        "after_49_links": gradient[49],
        "last_nonzero": {name: max(n for n, g in enumerate(chain(getattr(torch, name))) if g > 0) for name in FORMATS},
        "rate": {},  # factor per layer going backward
        "left": {},  # ||dL/dz|| at the first layer over the last, median
        "profile": {},  # ||dL/dz|| over the last layer's, from the last layer to the first
        "critical_sigma_w2": theory.critical_sigma_w2(torch.sigmoid),
        "theory_rate": {},
        "theory_profile": {},
    }
    sizes = {**SIGMA_W2, "critical": m["critical_sigma_w2"]}
    for kind in KINDS:
        norms = [network(sizes[kind], s) for s in derive_seeds(seed, REPLICAS)]
        m["rate"][kind] = band([rate(n, first=5, last=28) for n in norms])
        m["profile"][kind] = band([[norm / n[-1] for norm in reversed(n)] for n in norms])
        m["left"][kind] = m["profile"][kind]["median"][-1]
        m["theory_rate"][kind] = theory.rate(torch.sigmoid, sizes[kind])
        predicted = theory.gradient_profile(torch.sigmoid, DEPTH, sizes[kind], q0=sizes[kind])
        m["theory_profile"][kind] = predicted[::-1]
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    layers = list(range(DEPTH))
    for kind, name in KINDS.items():
        fig.add_traces(band_traces(layers, m["profile"][kind], name, ROLES[kind]))
    fig.add_scatter(x=list(range(SHOWN)), y=m["chain"], name="chain: 0.25ⁿ", mode="lines")
    last = {name: m["last_nonzero"][name] for name in ("float16", "bfloat16", "float32")}
    fig.add_scatter(
        x=list(last.values()),
        y=[m["chain"][n] for n in last.values()],
        text=list(last),
        name="last value above zero",
        mode="markers+text",
        textposition=["top right", "bottom left", "bottom left"],
    )
    for kind in KINDS:
        fig.add_scatter(
            x=layers,
            y=m["theory_profile"][kind],
            name="theory",
            legendgroup="theory",
            showlegend=kind == "lecun",
            mode="lines",
            meta={"role": "theory"},
        )
    fig.update_xaxes(title="n, links or layers gone back")
    fig.update_yaxes(title="gradient w.r.t. pre-activations, relative", type="log", exponentformat="power")
    return fig


def claim_the_chain_is_exact(m):
    """A chain of sigmoids leaves exactly 0.25ⁿ: {after_5_links:.2e} after 5 links, {after_19_links:.2e} after 19
    and {after_49_links:.2e} after 49."""
    assert m["chain"] == [0.25**n for n in range(len(m["chain"]))]
    assert m["after_5_links"] == 0.25**5
    assert m["after_19_links"] == 0.25**19
    assert m["after_49_links"] == 0.25**49


def claim_underflow_comes_late(m):
    """0.25ⁿ is last different from zero at n = {last_nonzero.float16} in float16, {last_nonzero.bfloat16} in
    bfloat16, {last_nonzero.float32} in float32 and {last_nonzero.float64} in float64."""
    # The smallest numbers are 2^-24, 2^-133, 2^-149 and 2^-1074, and half of one is still rounded to zero.
    last = m["last_nonzero"]
    assert (last["float16"], last["bfloat16"], last["float32"], last["float64"]) == (12, 66, 74, 537)


def claim_the_rate_is_that_of_theory(m):
    """Per layer a sigmoid network keeps {rate.lecun:.3f} of the gradient at LeCun's scale and {rate.pytorch:.3f} at
    PyTorch's default, as mean-field theory has it ({theory_rate.lecun:.3f} and {theory_rate.pytorch:.3f})."""
    for kind, close, closest in [("lecun", 0.04, 0.02), ("pytorch", 0.04, 0.02), ("critical", 0.12, 0.05)]:
        measured, predicted = m["rate"][kind], m["theory_rate"][kind]
        assert abs(measured["median"] / predicted - 1) < closest
        assert measured["lo"] <= measured["median"] <= measured["hi"]
        assert abs(measured["lo"] / predicted - 1) < close
        assert abs(measured["hi"] / predicted - 1) < close


def claim_a_network_is_not_0_25_to_the_n(m):
    """Over 29 layers a network keeps {left.pytorch:.1e} of its gradient at PyTorch's default scale, {left.lecun:.1e}
    at LeCun's and {left.critical:.2f} where theory calls the weights critical: the first two lie below 0.25ⁿ, the
    last far above it."""
    quarters = 0.25 ** (DEPTH - 1)
    ends = {kind: (m["profile"][kind]["lo"][-1], m["profile"][kind]["hi"][-1]) for kind in KINDS}
    assert ends["pytorch"][1] < 1e-5 * quarters
    assert ends["lecun"][1] < 0.7 * quarters
    assert ends["critical"][0] > 1e15 * quarters
    for kind in KINDS:
        assert abs(math.log(m["left"][kind] / m["theory_profile"][kind][-1])) < math.log(2.2)
        assert ends[kind][0] <= m["left"][kind] <= ends[kind][1]


def claim_large_weights_do_not_vanish(m):
    """Where theory calls the weights critical, at fan-in x variance = {critical_sigma_w2:.0f}, the rate is
    {rate.critical:.2f}: sigmoids alone do not make a gradient vanish."""
    assert 102 < m["critical_sigma_w2"] < 104
    assert abs(m["theory_rate"]["critical"] - 1) < 1e-6
    assert 0.9 < m["rate"]["critical"]["median"] < 1.1
