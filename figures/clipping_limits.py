"""Clipping scales all layers' gradients alike: it leaves a vanishing one as it is, and half mends twice He's weights.

Networks of 20 layers with ReLU on the handwritten digits: "exploding" has twice He's weights, "vanishing" the default
of nn.Linear. If the gradient over all parameters is longer than CLIP, each layer's is multiplied by the same factor,
CLIP over that length; if it is shorter, nothing happens (Pascanu et al. 2013, section 3.2). So the ratio between layers
stays what it was, and nothing is ever lengthened. Where the activations explode too, clipping prevents NaN, but SGD
gets less than half of the digits right at the best of its rates.
"""

from functools import partial
from itertools import pairwise

import plotly.graph_objects as go
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vgdocs.experiments import band, band_traces, best, derive_seeds, digits, sweep, weight
from vgdocs.gradients import ratio

SEED = 0
REPLICAS = 10  # networks behind each band
TRAINED = 3  # of them are trained at each learning rate, with and without clipping
SIZES = 20 * [64] + [10]  # pixels and units, classes: 20 weight matrices
CLIP = 1.0  # largest norm of the gradient, over all parameters
ARMS = {"free": None, "clipped": CLIP}
SWEEP = {
    "rates": {"sgd": [1e-4, 1e-3, 0.01, 0.1, 1.0], "adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]},
    "epochs": 6,
    "batch_size": 64,
}
WIDER = {
    "exploding.norm": (4.0, "the gradient's size differs that much between networks"),
    "vanishing.first_over_last": (5.0, "a product of 19 random factors"),
    "accuracy.exploding_adam_free accuracy.exploding_adam_free.lo": (2.5, "some networks have only begun to learn"),
    "accuracy.exploding_adam_free.hi accuracy.exploding_sgd_clipped.lo": (2.5, "some have only begun to learn"),
    "accuracy.exploding_adam_clipped.lo accuracy.exploding_adam_clipped.hi": (2.5, "some have only begun to learn"),
    "accuracy.vanishing_adam_free accuracy.vanishing_adam_free.lo": (7.0, "some begin to learn and others don't"),
    "accuracy.vanishing_adam_clipped accuracy.vanishing_adam_clipped.lo": (7.0, "some begin to learn, others don't"),
    "accuracy.vanishing_adam_free.hi accuracy.vanishing_adam_clipped.hi": (7.0, "some begin to learn, others don't"),
}
TOLERANCE = {"accuracy": 0.4, "accuracy.vanishing_adam_free": 1.0, "accuracy.vanishing_adam_clipped": 1.0}


def network(kind: str, seed: int) -> nn.Sequential:
    """Linear maps with ReLU between them."""
    torch.manual_seed(seed)  # nn.Linear draws from the global generator
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(SIZES):
        layer = nn.Linear(fan_in, fan_out)
        if kind == "exploding":
            layer.weight.data = weight(fan_out, fan_in, 2 * 2**2, generator, torch.float32)
            nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def clip_once(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> dict:
    """Norms of the gradient with respect to each layer's weights before and after clipping, and of all of it before."""
    cross_entropy(model(x), y).backward()
    before = [float(layer.weight.grad.norm()) for layer in model[::2]]
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), CLIP))
    return {"before": before, "after": [float(layer.weight.grad.norm()) for layer in model[::2]], "norm": norm}


def measure(seed: int = SEED) -> dict:
    """Each layer's gradient at initialisation, before and after clipping, and what training comes to at its best."""
    seeds, data = derive_seeds(seed, REPLICAS), digits()
    x, y = data[0][:64].double(), data[1][:64]  # one batch
    m: dict = {"accuracy": {}}
    for kind in ("exploding", "vanishing"):
        nets = [clip_once(network(kind, s).double(), x, y) for s in seeds]
        m[kind] = band(nets)
        m[kind]["norm"] = m[kind]["norm"]["median"]
        m[kind]["factors"] = [[a / b for a, b in zip(net["after"], net["before"], strict=True)] for net in nets]
        if kind == "vanishing":
            m[kind]["first_over_last"] = band([ratio(net["after"]) for net in nets])["median"]
        for arm, clip in ARMS.items():
            swept = sweep(partial(network, kind), data, seeds=seeds[:TRAINED], clip=clip, **SWEEP)
            m["accuracy"] |= {f"{kind}_{name}_{arm}": best({name: swept[name]}) for name in swept}
    return m


def draw(m: dict) -> go.Figure:
    """Gradients per layer: what clipping shifts down, and what it leaves alone."""
    fig = go.Figure()
    layers = list(range(1, len(SIZES)))
    for kind in ("exploding", "vanishing"):
        fig.add_traces(band_traces(layers, m[kind]["before"], kind, kind))
        circles = {"mode": "markers", "marker": {"symbol": "circle-open"}, "meta": kind}
        fig.add_scatter(x=layers, y=m[kind]["after"]["median"], name=f"{kind}, clipped", **circles)
    fig.update_xaxes(title="layer").update_yaxes(title="‖∂L/∂W‖ of the layer's weights", type="log")
    return fig.update_layout(height=480)  # for its legend


def claim_one_factor_for_all_layers(m):
    """Clipping multiplies every layer's gradient by one and the same factor, and leaves the vanishing one untouched."""
    for factors in m["exploding"]["factors"]:
        assert max(factors) / min(factors) - 1 < 1e-9
        assert max(factors) < 1e-3
    assert all(factor == 1 for factors in m["vanishing"]["factors"] for factor in factors)


def claim_clipping_does_nothing_for_a_vanishing_gradient(m):
    """Clipped or not, the first layer of the default network gets {vanishing.first_over_last:.0e} of the last layer's
    gradient, the gradient's norm is {vanishing.norm:.2f} in all, and SGD stays at chance at each of five rates: the
    best has {accuracy.vanishing_sgd_clipped:.2f} with clipping and {accuracy.vanishing_sgd_free:.2f} without."""
    assert 2.2e-7 < m["vanishing"]["first_over_last"] < 2.6e-6
    assert 0.11 < m["vanishing"]["norm"] < 0.22
    for arm in ARMS:
        reached = m["accuracy"][f"vanishing_sgd_{arm}"]
        assert 0.07 < reached["lo"] <= reached["median"] <= reached["hi"] < 0.14


def claim_by_adam_neither_gets_far(m):
    """By Adam, which makes up for small gradients, the median networks at the best of five rates are at
    {accuracy.vanishing_adam_free:.2f} unclipped and at {accuracy.vanishing_adam_clipped:.2f} clipped in this time, and
    none of the six gets beyond 0.7; with three of each, a difference between the two may be chance."""
    arms = [m["accuracy"][f"vanishing_adam_{arm}"] for arm in ARMS]
    for reached in arms:
        assert 0.08 < reached["lo"] <= reached["median"] <= reached["hi"] < 0.7


def claim_clipping_half_mends_weights_twice_too_large(m):
    """With weights twice too large the gradient has a norm of {exploding.norm:.0e}. Unclipped, every network breaks at
    each of SGD's rates ({accuracy.exploding_sgd_free:.2f}); clipped, the best rate reaches
    {accuracy.exploding_sgd_clipped:.2f}. Adam reaches {accuracy.exploding_adam_free:.2f} without clipping and
    {accuracy.exploding_adam_clipped:.2f} with it."""
    assert 3e6 < m["exploding"]["norm"] < 2.4e7
    assert all(accuracy == 0 for accuracy in m["accuracy"]["exploding_sgd_free"].values())
    for name, low, high in [("sgd_clipped", 0.1, 0.42), ("adam_free", 0.12, 0.6), ("adam_clipped", 0.13, 0.65)]:
        reached = m["accuracy"][f"exploding_{name}"]
        assert low < reached["lo"] <= reached["median"] <= reached["hi"] < high
