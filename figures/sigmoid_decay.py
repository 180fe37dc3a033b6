"""A sigmoid hands back at most a quarter of the gradient, but what a network hands back depends on its weights.

A chain of scalar sigmoids, each held at z = 0 where it is steepest, multiplies n factors of exactly 1/4. A network
multiplies by its weights as well: dL/dz_l = phi'(z_l) * W_{l+1}^T dL/dz_{l+1}, on average a factor of
sqrt(sigma_w2 E[phi'(z)²]) per layer, where sigma_w2 = fan_in x weight variance. So 0.25**n is neither a deep
network's gradient nor a bound on it. The product is from Hochreiter & Schmidhuber 1997, section 3.1; the factor
per layer from Schoenholz et al. 2017. Also: how far 0.25**n can be followed in each floating-point format before it
is rounded to exactly zero.
"""

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
WIDER = {"left.lecun left.pytorch left.critical": (3.0, "a product over 29 layers of finite width")}


def chain(dtype: torch.dtype) -> list[float]:
    """Gradient left after 0, 1, 2 ... links, by one backward pass through the longest chain."""
    z = [torch.zeros((), dtype=dtype, requires_grad=True)]
    for _ in range(LINKS):
        z.append(torch.sigmoid(z[-1]) - 0.5)  # back to 0, the steepest point
    return [gradient.item() for gradient in torch.autograd.grad(z[-1], z)][::-1]


def network(sigma_w2: float, seed: int) -> dict:
    """Rate of ||dL/dz||, z the pre-activations, and the norms over the last layer's, from the last to the first."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, BATCH, WIDTH, generator=generator, dtype=torch.float64)  # v is dL/dh of the last layer
    z = []
    for _ in range(DEPTH):
        z.append((h @ weight(WIDTH, WIDTH, sigma_w2, generator).T).requires_grad_())  # (BATCH, WIDTH)
        h = torch.sigmoid(z[-1])
    norms = norms_of_gradients((h * v).sum(), z)
    return {"rate": rate(norms, first=5, last=28), "profile": [norm / norms[-1] for norm in reversed(norms)]}


def measure(seed: int = SEED) -> dict:
    """The chain's gradient, the networks' gradients and what theory says of them."""
    gradient = chain(torch.float64)
    m = {
        "chain": gradient[:SHOWN],
        **{f"after_{n}_links": gradient[n] for n in (5, 19, 49)},
        "last_nonzero": {name: max(n for n, g in enumerate(chain(getattr(torch, name))) if g > 0) for name in FORMATS},
        "critical_sigma_w2": theory.critical_sigma_w2(torch.sigmoid),
        **{key: {} for key in ("rate", "profile", "left", "theory_rate", "theory_profile")},
    }
    for kind in KINDS:
        sigma_w2 = m["critical_sigma_w2"] if kind == "critical" else SIGMA_W2[kind]
        networks = band([network(sigma_w2, s) for s in derive_seeds(seed, REPLICAS)])
        m["rate"][kind], m["profile"][kind] = networks["rate"], networks["profile"]
        m["left"][kind] = networks["profile"]["median"][-1]  # at the first layer
        m["theory_rate"][kind] = theory.rate(torch.sigmoid, sigma_w2)
        m["theory_profile"][kind] = theory.gradient_profile(torch.sigmoid, DEPTH, sigma_w2, q0=sigma_w2)[::-1]
    return m


def draw(m: dict) -> go.Figure:
    fig, layers = go.Figure(), list(range(DEPTH))
    for kind, name in KINDS.items():
        role = "healthy" if kind == "critical" else "vanishing"
        fig.add_traces(band_traces(layers, m["profile"][kind], name, role))
    fig.add_scatter(x=list(range(SHOWN)), y=m["chain"], name="chain: 0.25ⁿ", mode="lines")
    x = [m["last_nonzero"][name] for name in FORMATS[:3]]  # float64's lies far beyond
    text = {"text": FORMATS[:3], "textposition": ["top right", "bottom left", "bottom left"]}
    fig.add_scatter(x=x, y=[m["chain"][n] for n in x], name="last value above zero", mode="markers+text", **text)
    for kind in KINDS:
        fig.add_scatter(x=layers, y=m["theory_profile"][kind], name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="n, links or layers gone back")
    return fig.update_yaxes(title="gradient w.r.t. pre-activations, relative", type="log")


def claim_the_chain_is_exact(m):
    """A chain of sigmoids leaves exactly 0.25ⁿ: {after_5_links:.2e} after 5 links, {after_19_links:.2e} after 19
    and {after_49_links:.2e} after 49."""
    assert m["chain"] == [0.25**n for n in range(SHOWN)]
    for n in (5, 19, 49):
        assert m[f"after_{n}_links"] == 0.25**n


def claim_underflow_comes_late(m):
    """0.25ⁿ is last different from zero at n = {last_nonzero.float16} in float16, {last_nonzero.bfloat16} in
    bfloat16, {last_nonzero.float32} in float32 and {last_nonzero.float64} in float64."""
    # The smallest numbers are 2^-24, 2^-133, 2^-149 and 2^-1074, and half of one is still rounded to zero.
    assert dict(m["last_nonzero"]) == {"float16": 12, "bfloat16": 66, "float32": 74, "float64": 537}


def claim_the_rate_is_that_of_theory(m):
    """Per layer a sigmoid network keeps {rate.lecun:.3f} of the gradient at LeCun's scale and {rate.pytorch:.3f} at
    PyTorch's default, as mean-field theory has it ({theory_rate.lecun:.3f} and {theory_rate.pytorch:.3f})."""
    for kind, close, closest in [("lecun", 0.04, 0.02), ("pytorch", 0.04, 0.02), ("critical", 0.12, 0.05)]:
        lo, median, hi = (m["rate"][kind][end] / m["theory_rate"][kind] for end in ("lo", "median", "hi"))
        assert 1 - close < lo <= median <= hi < 1 + close
        assert 1 - closest < median < 1 + closest


def claim_a_network_is_not_0_25_to_the_n(m):
    """Over 29 layers a network keeps {left.pytorch:.1e} of its gradient at PyTorch's default scale, {left.lecun:.1e}
    at LeCun's and {left.critical:.2f} where theory calls the weights critical: the first two lie below 0.25ⁿ, the
    last far above it."""
    quarters = 0.25 ** (DEPTH - 1)
    lo, hi = ({kind: m["profile"][kind][end][-1] for kind in KINDS} for end in ("lo", "hi"))
    assert hi["pytorch"] < 1e-5 * quarters
    assert hi["lecun"] < 0.7 * quarters
    assert lo["critical"] > 1e15 * quarters
    for kind in KINDS:
        assert 1 / 2.1 < m["left"][kind] / m["theory_profile"][kind][-1] < 2.1


def claim_large_weights_do_not_vanish(m):
    """Where theory calls the weights critical, at fan-in x variance = {critical_sigma_w2:.0f}, the rate is
    {rate.critical:.2f}: sigmoids alone do not make a gradient vanish."""
    assert 102 < m["critical_sigma_w2"] < 104
    assert abs(m["theory_rate"]["critical"] - 1) < 1e-6
    assert 0.9 < m["rate"]["critical"]["median"] < 1.1
