"""Clipping scales all layers' gradients alike: it mends neither a vanishing gradient nor weights twice too large.

Networks of 20 layers with ReLU on the handwritten digits: "exploding" has twice He's weights, "vanishing" the default
of nn.Linear. If the gradient over all parameters is longer than CLIP, each layer's is multiplied by the same factor,
CLIP over that length; if it is shorter, nothing happens (Pascanu et al. 2013, section 3.2). So the ratio between layers
stays what it was, and a gradient that vanishes is never clipped at all. Where the activations explode too, clipping
prevents NaN, but in steps of bounded length the loss does not get below that of guessing, log 10.
"""

import math
from itertools import pairwise

import plotly.graph_objects as go
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vgdocs.experiments import band, band_traces, derive_seeds, digits, train, weight
from vgdocs.gradients import ratio

SEED = 0
REPLICAS = 10  # networks behind each band
TRAINED = 5  # of them are trained
LAYERS = 20  # weight matrices
WIDTH = 64  # units
CLIP = 1.0  # largest norm of the gradient, over all parameters
LR = 0.1  # SGD's learning rate
EPOCHS = {"exploding": 15, "vanishing": 5}  # of 23 steps with 64 digits each
WIDER = {
    "exploding.norm": (4.0, "the gradient's size differs that much between networks"),
    "exploding.loss": (8.0, "how far the loss has come down differs that much between networks"),
    "vanishing.first_over_last": (5.0, "a product of 19 random factors"),
}
TOLERANCE = {"exploding.loss": 0.5}


def network(kind: str, seed: int) -> nn.Sequential:
    """LAYERS linear maps with ReLU between them."""
    torch.manual_seed(seed)  # nn.Linear draws from the global generator
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([64] + [WIDTH] * (LAYERS - 1) + [10]):
        layer = nn.Linear(fan_in, fan_out)
        if kind == "exploding":
            layer.weight.data = weight(fan_out, fan_in, 2 * 2**2, generator, torch.float32)
            nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def clip_once(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> tuple[list[float], list[float], float]:
    """Norms of the gradient with respect to each layer's weights before and after clipping, and of all of it before."""
    cross_entropy(model(x), y).backward()
    gradients = [layer.weight.grad for layer in model[::2]]
    before = [float(g.norm()) for g in gradients]
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), CLIP))
    return before, [float(g.norm()) for g in gradients], norm


def measure(seed: int = SEED) -> dict:
    """Each layer's gradient at initialisation, before and after clipping, and what training comes to."""
    seeds, data = derive_seeds(seed, REPLICAS), digits()
    x, y = data[0][:64].double(), data[1][:64]  # one batch
    m: dict = {}
    for kind in EPOCHS:
        nets = [clip_once(network(kind, s).double(), x, y) for s in seeds]
        before, after, norm = zip(*nets, strict=True)
        m[kind] = {"before": band(before), "after": band(after), "norm": band(norm)["median"]}
        m[kind]["factors"] = [[a / b for b, a in zip(*net[:2], strict=True)] for net in nets]  # (networks, layers)
    m["vanishing"]["first_over_last"] = band([ratio(norms) for norms in after])["median"]

    def trained(kind: str, clip: float | None, s: int) -> dict:
        generator = torch.Generator().manual_seed(s)
        settings = {"epochs": EPOCHS[kind], "lr": LR, "optimiser": "sgd", "generator": generator, "clip": clip}
        return train(network(kind, s), data, **settings)

    ends = [trained("exploding", CLIP, s) for s in seeds[:TRAINED]]
    m["exploding"] |= {
        "losses": [end["loss"][-1] for end in ends],
        "accuracies": [end["test_accuracy"] for end in ends],
    }
    m["exploding"]["loss"] = band(m["exploding"]["losses"])["median"]
    for name, clip in {"accuracy_free": None, "accuracy_clipped": CLIP}.items():
        m["vanishing"][name] = band([trained("vanishing", clip, s)["test_accuracy"] for s in seeds[:TRAINED]])
    return m


def draw(m: dict) -> go.Figure:
    """Gradients per layer: what clipping shifts down, and what it leaves alone."""
    fig = go.Figure()
    layers = list(range(1, LAYERS + 1))
    for kind in EPOCHS:
        fig.add_traces(band_traces(layers, m[kind]["before"], kind, meta=kind))
        clipped = {"name": f"{kind}, clipped", "mode": "markers", "meta": kind, "marker": {"symbol": "circle-open"}}
        fig.add_scatter(x=layers, y=m[kind]["after"]["median"], **clipped)
    fig.update_xaxes(title="layer")
    fig.update_yaxes(title="‖∂L/∂W‖ of the layer's weights", type="log", exponentformat="power")
    return fig.update_layout(height=480)  # for its legend


def claim_one_factor_for_all_layers(m):
    """Clipping multiplies every layer's gradient by one and the same factor, and leaves the vanishing one untouched."""
    for factors in m["exploding"]["factors"]:
        assert max(factors) / min(factors) - 1 < 1e-9
        assert max(factors) < 1e-3
    assert all(factor == 1 for factors in m["vanishing"]["factors"] for factor in factors)


def claim_clipping_does_nothing_for_a_vanishing_gradient(m):
    """Clipped or not, the first layer of the default network gets {vanishing.first_over_last:.0e} of the last layer's
    gradient, the gradient's norm is {vanishing.norm:.2f} in all, and training stays at chance
    ({vanishing.accuracy_clipped:.2f} with clipping, {vanishing.accuracy_free:.2f} without)."""
    assert 2.2e-7 < m["vanishing"]["first_over_last"] < 2.6e-6
    assert 0.11 < m["vanishing"]["norm"] < 0.22
    for key in ("median", "lo", "hi"):
        assert 0.07 < m["vanishing"]["accuracy_clipped"][key] < 0.14
        assert m["vanishing"]["accuracy_clipped"][key] == m["vanishing"]["accuracy_free"][key]


def claim_clipping_does_not_rescue_weights_twice_too_large(m):
    """With weights twice too large the gradient has a norm of {exploding.norm:.0e}; clipped to 1 it never leads to
    NaN, but after 15 epochs no network's loss is below that of guessing, log 10; the median is still
    {exploding.loss:.0f}."""
    assert 3e6 < m["exploding"]["norm"] < 2.4e7
    assert all(loss > 0.99 * math.log(10) for loss in m["exploding"]["losses"])
    assert all(accuracy < 0.6 for accuracy in m["exploding"]["accuracies"])
    assert 200 < m["exploding"]["loss"] < 4000
