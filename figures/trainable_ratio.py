"""Of networks with 16 layers gradient descent trains none below a ratio of a ten-thousandth in 184 steps, Adam some.

Networks of sixteen hidden layers that differ in nothing but the scale of their weights, and so in the ratio of the
first layer's gradient to the last one's, with respect to the pre-activations, before training. Each is then trained for
184 steps on handwritten digits, by Adam and by gradient descent, each at five learning rates, and drawn is the best of
the five. ReLU's scale is chosen so that the ratio falls by powers of ten; tanh has its own.

The ratio is what the site's probe reports. How far Adam gets is a matter of its epsilon: Kingma and Ba 2015,
algorithm 1.
"""

from functools import partial
from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs import gradients
from vgdocs.experiments import band, band_traces, best, derive_seeds, digits, sweep, weight

SEED = 0
REPLICAS = 3  # networks for each scale, at each learning rate
DEPTH, WIDTH, CLASSES = 16, 32, 10
SWEEP = {
    "rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.01, 0.03, 0.1, 1.0, 10.0]},
    "epochs": 8,
    "batch_size": 64,
}
POWERS = [0, 2, 3, 4, 6, 8]  # a ReLU network's ratio is about 10 to the minus this
KINDS = {  # name, activation, fan_in x weight variance
    "relu": ("ReLU", nn.ReLU, [2 * 10 ** (-2 * power / (DEPTH - 1)) for power in POWERS]),
    "tanh": ("tanh", nn.Tanh, [1.0, 0.45, 0.25]),
}
# Half-trained networks follow the rounding: between processors they differ as much as between seeds. At a hundredth
# (gradient descent) and a millionth (Adam) they differ too much for a number to be cited.
TOLERANCE = {"accuracy.sgd.ratio_0": 0.6, "accuracy.adam.ratio_4": 0.5, "accuracy": 0.15}
WIDER = {
    "accuracy.sgd.ratio_0": (2.2, "half-trained networks differ"),
    "accuracy.adam.ratio_4": (3.0, "half-trained networks differ"),
}


def build(activation: type[nn.Module], scale: float, seed: int) -> nn.Sequential:
    """A classifier of 8 x 8 images without biases at the start."""
    g, layers = torch.Generator().manual_seed(seed), []
    for fan_in, fan_out in pairwise([64] + [WIDTH] * DEPTH + [CLASSES]):
        linear = nn.Linear(fan_in, fan_out)
        linear.weight.data = weight(fan_out, fan_in, 1.0 if fan_out == CLASSES else scale, g, torch.float32)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def gradient_ratio(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Gradient norm w.r.t. the first hidden layer's pre-activations over the last one's."""
    z, h = [], x
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.Linear):
            z.append(h)  # (images, WIDTH), in the end the scores
    return gradients.ratio(gradients.norms_of_gradients(F.cross_entropy(h, y), z[:-1]))


def measure(seed: int = SEED) -> dict:
    """For each scale the ratio before training, a median, and the best accuracy of each optimiser, a band."""
    data, seeds, m = digits(), derive_seeds(seed, REPLICAS), {"accuracy": {}}
    x, y = data[0][:256].double(), data[1][:256]
    for kind, (_, activation, scales) in KINDS.items():
        networks = [partial(build, activation, scale) for scale in scales]
        ratios = [[gradient_ratio(network(s).double(), x, y) for s in seeds] for network in networks]
        m[kind] = {"ratios": [band(of_scale)["median"] for of_scale in ratios]}
        swept = [sweep(network, data, seeds=seeds, **SWEEP) for network in networks]
        for optimiser in SWEEP["rates"]:
            bands = [best({optimiser: at[optimiser]}) for at in swept]
            m[kind][optimiser] = {end: [at_scale[end] for at_scale in bands] for end in ("median", "lo", "hi")}
    for optimiser, powers in {"sgd": (0, 4), "adam": (0, 4, 8)}.items():
        at_scale = dict(zip(POWERS, m["relu"][optimiser]["median"], strict=True))
        m["accuracy"][optimiser] = {f"ratio_{power}": at_scale[power] for power in powers}
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for optimiser, label in (("sgd", "gradient descent"), ("adam", "Adam")):
        for kind, (name, *_) in KINDS.items():
            fig.add_traces(band_traces(m[kind]["ratios"], m[kind][optimiser], f"{label}, {name}"))
    fig.add_scatter(x=[1e-8, 1], y=[1 / CLASSES] * 2, name="guessing", mode="lines", meta="reference")
    fig.update_xaxes(title="gradient w.r.t. pre-activations, first layer / last", type="log", autorange="reversed")
    return fig.update_yaxes(title="accuracy after training, at the best of five rates", range=[0, 1])


def claim_the_ratios_are_what_they_were_meant_to_be(m):
    """A ReLU network's ratio falls by powers of ten, as its weights' scale was chosen to have it."""
    for power, ratio in zip(POWERS, m["relu"]["ratios"], strict=True):
        assert 0.3 < ratio * 10**power < 3


def claim_a_level_gradient_trains_with_either(m):
    """Where the gradient is level, ReLU networks reach {accuracy.sgd.ratio_0:.2f} by gradient descent and
    {accuracy.adam.ratio_0:.2f} by Adam."""
    assert 0.3 < m["accuracy"]["sgd"]["ratio_0"] < 0.97
    assert 0.75 < m["accuracy"]["adam"]["ratio_0"] < 1


def claim_gradient_descent_needs_more_than_a_ten_thousandth(m):
    """Gradient descent gets less far at a hundredth than where the gradient is level, and at none of its rates, with
    ReLU as with tanh, anywhere below a ten-thousandth, {accuracy.sgd.ratio_4:.2f}."""
    level, hundredth, *_ = m["relu"]["sgd"]["median"]  # in the order of POWERS
    assert 0.15 < hundredth < 0.9 * level
    assert 0.08 < m["accuracy"]["sgd"]["ratio_4"] < 0.14
    for kind in KINDS:
        for ratio, accuracy in zip(m[kind]["ratios"], m[kind]["sgd"]["hi"], strict=True):
            assert ratio > 3e-4 or accuracy < 0.2


def claim_adam_reaches_further(m):
    """Adam still trains a network at a ten-thousandth, {accuracy.adam.ratio_4:.2f}, and at none of its rates at a
    hundred-millionth, {accuracy.adam.ratio_8:.2f}. At a millionth it is a matter of the network."""
    assert 0.3 < m["accuracy"]["adam"]["ratio_4"] < 0.95
    assert m["relu"]["adam"]["hi"][POWERS.index(4)] > 0.4
    assert 0.08 < m["accuracy"]["adam"]["ratio_8"] < 0.14
    for kind in KINDS:
        for ratio, accuracy in zip(m[kind]["ratios"], m[kind]["adam"]["hi"], strict=True):
            assert ratio > 1e-7 or accuracy < 0.2
