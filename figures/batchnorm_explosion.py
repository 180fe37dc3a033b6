"""Batch normalisation makes the gradient of a deep ReLU network explode, by {rate.relu:.2f} per layer.

z_l = W h_{l-1},  h_l = phi(BN(z_l)),  without skip connections, in training mode. BN divides z by its standard
deviation over the batch, so that the size of the weights cancels. For wide layers and large batches a layer then
multiplies the squared norm of the gradient by

    E[phi'(x)²] / Var[phi(x)],    x ~ N(0, 1)

which is never below 1 (Gaussian Poincaré inequality), is 1 for a linear phi alone and is pi / (pi - 1) for ReLU. The
explosion and its rates for ReLU and, at batch size B, for linear layers, sqrt((B - 2) / (B - 3)), are those of Yang et
al. 2019, "A Mean Field Theory of Batch Normalization".
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import ACTIVATIONS, batchnorm_relu_rate, derivative, gaussian_mean

SEED = 0
REPLICAS = 10  # networks of each kind
DEPTH = 50  # layers
WIDTH = 256  # units in a layer
BATCH = 128  # inputs
BATCHES = [8, 16, 32, 64, 128]  # inputs, in the lower panel
LAYERS = 20  # layers there

NAMES = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid", "linear": "linear", "none": "ReLU without BN, He"}
ROLES = {"relu": "exploding", "none": "healthy"}


def network(phi, seed: int, depth: int = DEPTH, batch: int = BATCH, normalise: bool = True) -> list[float]:
    """Norms of dL/dz, the gradient with respect to the pre-activations, from the first layer to the last."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(batch, WIDTH, generator=generator, dtype=torch.float64)  # dL/dh of the last layer
    h, z = phi(x), []  # the input is distributed as a layer's output, so that the first layer is like all others
    for _ in range(depth):
        z.append(h @ weight(WIDTH, WIDTH, "he", generator).T)  # (batch, WIDTH)
        h = z[-1]
        if normalise:
            h = (h - h.mean(0)) / h.std(0, correction=0)
        h = phi(h)
    return norms_of_gradients((h * v).sum(), z)


def large_batch_rate(phi) -> float:
    """sqrt(E[phi'²] / Var[phi]) for standard normal pre-activations."""
    slope, mean = derivative(phi), gaussian_mean(phi, 1.0)
    variance = gaussian_mean(lambda x: phi(x) ** 2, 1.0) - mean**2
    return math.sqrt(gaussian_mean(lambda x: slope(x) ** 2, 1.0) / variance)


def measure(seed: int = SEED) -> dict:
    """Gradient by layer for each activation; the rate per layer against the batch size for two of them."""
    seeds = derive_seeds(seed, REPLICAS)
    m = {"rate": {}, "profile": {}, "theory": {}, "batches": BATCHES, "rate_by_batch": {}}
    for kind in NAMES:
        phi = ACTIVATIONS["relu" if kind == "none" else kind]
        norms = [network(phi, s, normalise=kind != "none") for s in seeds]
        m["rate"][kind] = band([rate(n, first=5, last=45) for n in norms])
        m["profile"][kind] = band([[norm / n[-1] for norm in reversed(n)] for n in norms])
        m["theory"][kind] = 1.0 if kind == "none" else large_batch_rate(phi)
    m["grown_relu"] = m["profile"]["relu"]["median"][-1]
    for kind in ("relu", "linear"):
        phi = ACTIVATIONS[kind]
        rates = [[rate(network(phi, s, LAYERS, batch), 3, 18) for batch in BATCHES] for s in seeds]
        m["rate_by_batch"][kind] = band(rates)
    m["rate_at_batch_8"] = m["rate_by_batch"]["relu"]["median"][0]
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, row_heights=[0.6, 0.4], vertical_spacing=0.18)
    back = list(range(DEPTH))
    for kind, name in NAMES.items():
        fig.add_traces(band_traces(back, m["profile"][kind], name, ROLES.get(kind)), rows=1, cols=1)
    for kind, measured in m["rate_by_batch"].items():
        traces = band_traces(m["batches"], measured, NAMES[kind], ROLES.get(kind))
        fig.add_traces([trace.update(showlegend=False) for trace in traces], rows=2, cols=1)
    theory = {"name": "theory", "legendgroup": "theory", "mode": "lines", "meta": {"role": "theory"}}
    for kind in NAMES:
        profile = [m["theory"][kind] ** layers for layers in back]
        fig.add_scatter(x=back, y=profile, **theory, showlegend=kind == "relu", row=1, col=1)
    of_linear = [math.sqrt((batch - 2) / (batch - 3)) for batch in m["batches"]]
    of_relu = [m["theory"]["relu"]] * len(m["batches"])
    for predicted in (of_linear, of_relu):
        fig.add_scatter(x=m["batches"], y=predicted, **theory, showlegend=False, row=2, col=1)
    fig.update_xaxes(title="layers gone back", row=1, col=1)
    fig.update_yaxes(title="gradient w.r.t. pre-activations,<br>relative", type="log", row=1, col=1)
    fig.update_yaxes(exponentformat="power", row=1, col=1)
    fig.update_xaxes(title="batch size", type="log", tickvals=m["batches"], row=2, col=1)
    fig.update_yaxes(title="its growth per layer", row=2, col=1)
    return fig


def claim_relu_explodes_at_the_rate_of_theory(m):
    """With BN each ReLU layer multiplies the gradient by {rate.relu:.3f} going back, as √(π/(π − 1)) =
    {theory.relu:.3f} has it; over 49 layers it grows {grown_relu:.0f} times."""
    measured = m["rate"]["relu"]
    assert abs(m["theory"]["relu"] / batchnorm_relu_rate() - 1) < 1e-6
    assert measured["lo"] <= measured["median"] <= measured["hi"]
    for end in ("lo", "median", "hi"):
        assert abs(measured[end] / m["theory"]["relu"] - 1) < 0.02
    assert abs(math.log(m["grown_relu"]) - 49 * math.log(m["theory"]["relu"])) < math.log(1.35)


def claim_it_is_batch_normalisation_that_explodes(m):
    """The same ReLU network without BN, at He's scale, has a rate of {rate.none:.3f}."""
    measured = m["rate"]["none"]
    assert 0.96 < measured["lo"] <= measured["median"] <= measured["hi"] < 1.04
    assert abs(measured["median"] - 1) < 0.02
    assert m["theory"]["none"] == 1


def claim_every_curved_activation_grows(m):
    """BN lets tanh grow by {rate.tanh:.3f} per layer and even sigmoid by {rate.sigmoid:.3f}, more slowly than ReLU;
    theory for large batches and wide layers says {theory.tanh:.3f} and {theory.sigmoid:.3f}. Linear layers stay at
    {rate.linear:.3f}."""
    for kind in ("tanh", "sigmoid", "linear"):
        measured = m["rate"][kind]
        assert measured["lo"] <= measured["median"] <= measured["hi"]
        for end in ("lo", "median", "hi"):
            assert abs(measured[end] / m["theory"][kind] - 1) < 0.02
    assert abs(m["theory"]["linear"] - 1) < 1e-9
    assert m["rate"]["linear"]["hi"] < m["rate"]["sigmoid"]["lo"]
    assert m["rate"]["sigmoid"]["hi"] < m["rate"]["tanh"]["lo"]
    assert m["rate"]["tanh"]["hi"] < m["rate"]["relu"]["lo"]
    assert 1.01 < m["theory"]["sigmoid"] < m["theory"]["tanh"] < 1.1


def claim_small_batches_are_worse(m):
    """In batches of 8 the rate with ReLU is {rate_at_batch_8:.2f}, and from 64 inputs on it is within two per cent of
    the limit; linear layers follow √((B − 2)/(B − 3)) at every batch size B."""
    relu, linear = m["rate_by_batch"]["relu"], m["rate_by_batch"]["linear"]
    assert m["rate_at_batch_8"] == relu["median"][0]
    assert 1.28 < relu["lo"][0] <= relu["hi"][0] < 1.4
    for batch, low, middle, high in zip(m["batches"], relu["lo"], relu["median"], relu["hi"], strict=True):
        if batch >= 64:
            assert abs(middle / m["theory"]["relu"] - 1) < 0.02
        assert 0.97 * m["theory"]["relu"] < low <= high < 1.15 * m["theory"]["relu"]
    for batch, measured in zip(m["batches"], linear["median"], strict=True):
        assert abs(measured / math.sqrt((batch - 2) / (batch - 3)) - 1) < 0.02
