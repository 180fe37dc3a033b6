"""A network whose first layer gets below a thousandth of the gradient is lost to gradient descent, and not yet to Adam.

Networks of sixteen hidden layers that differ in nothing but the scale of their weights, and so in the ratio of the
first layer's gradient to the last one's, with respect to the pre-activations, before training. Each is then trained for
400 steps on handwritten digits: by Adam, and by gradient descent at the better of two learning rates. ReLU's scale is
chosen so that the ratio falls by a power of ten at a time; tanh has its own.

All networks of one kind are trained side by side, as one stack of matrices. The ratio is what the site's probe reports.
How far Adam gets is a matter of its epsilon: Kingma and Ba 2015, algorithm 1.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor

from vgdocs.experiments import derive_seeds, digits

SEED = 0
REPLICAS = 3  # networks for each scale
DEPTH, WIDTH, CLASSES = 16, 48, 10
STEPS, BATCH = 400, 32
POWERS = [0, 1, 2, 3, 4, 5, 6, 8, 10]  # a ReLU network's ratio is about 10 to the minus this
SCALES = {  # fan_in x weight variance
    "relu": [2 * 10 ** (-2 * power / (DEPTH - 1)) for power in POWERS],
    "tanh": [1.0, 0.8, 0.6, 0.45, 0.33, 0.25, 0.16, 0.1, 0.06],
}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
SGD_RATES, ADAM_RATE = (0.1, 0.01), 0.001

TOLERANCE = {"accuracy": 0.3}
WIDER = {
    "accuracy.adam.ratio_4": (2.0, "half-trained networks differ"),
    "accuracy.adam.ratio_6": (3.0, "half-trained networks differ"),
    "accuracy.sgd.ratio_2": (4.0, "half-trained networks differ"),
}


def draw_weights(scales: list[float], seeds: list[int]) -> list[Tensor]:
    """One stack of matrices a layer, (networks, fan_in, fan_out): a network for each scale and seed."""
    sizes = [64] + [WIDTH] * DEPTH + [CLASSES]
    stacks: list[list[Tensor]] = [[] for _ in sizes[1:]]
    for seed in seeds:
        g = torch.Generator().manual_seed(seed)
        for stack, fan_in, fan_out in zip(stacks, sizes, sizes[1:], strict=False):
            w = torch.randn(fan_in, fan_out, generator=g) / fan_in**0.5
            last = fan_out == CLASSES
            stack += [w if last else scale**0.5 * w for scale in scales]
    return [torch.stack(stack).requires_grad_() for stack in stacks]


def forward(weights: list[Tensor], biases: list[Tensor], phi, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores, (networks, batch, classes), and each hidden layer's pre-activations."""
    h, zs = x.expand(len(weights[0]), *x.shape), []
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        zs.append(torch.baddbmm(b, h, w))  # (networks, batch, width)
        h = phi(zs[-1])
    return torch.baddbmm(biases[-1], h, weights[-1]), zs


def loss_of(scores: Tensor, y: Tensor) -> Tensor:
    """Sum over the networks of each one's own cross-entropy: no network's gradient knows of the others."""
    return F.cross_entropy(scores.flatten(0, 1), y.repeat(len(scores))) * len(scores)


def run(name: str, seed: int, optimiser, rate: float) -> tuple[list[float], list[float]]:
    """For each scale the ratio before training and the accuracy after it, medians over the replicas."""
    x_train, y_train, x_test, y_test = digits()
    weights = draw_weights(SCALES[name], derive_seeds(seed, REPLICAS))
    biases = [torch.zeros(len(w), 1, w.shape[2], requires_grad=True) for w in weights]
    phi = ACTIVATIONS[name]

    scores, zs = forward(weights, biases, phi, x_train[:256])
    first, *_, last = [
        g.double().flatten(1).norm(dim=1) for g in torch.autograd.grad(loss_of(scores, y_train[:256]), zs)
    ]

    update = optimiser([*weights, *biases], lr=rate)
    g = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        rows = torch.randint(len(x_train), (BATCH,), generator=g)
        scores, _ = forward(weights, biases, phi, x_train[rows])
        update.zero_grad()
        torch.autograd.backward(loss_of(scores, y_train[rows]))
        update.step()
    scores, _ = forward(weights, biases, phi, x_test)
    accuracy = (scores.argmax(2) == y_test).double().mean(1)  # (networks,)
    shape = (REPLICAS, len(SCALES[name]))
    return tuple(v.reshape(shape).median(0).values.tolist() for v in (first / last, accuracy))


def measure(seed: int = SEED) -> dict:
    series = {}
    for name in SCALES:
        slow, fast = (run(name, seed, torch.optim.SGD, rate)[1] for rate in SGD_RATES)
        ratios, adam = run(name, seed, torch.optim.Adam, ADAM_RATE)
        series[name] = {"ratios": ratios, "sgd": [max(pair) for pair in zip(slow, fast, strict=True)], "adam": adam}
    at = {power: i for i, power in enumerate(POWERS)}
    return {
        **series,
        "accuracy": {
            "sgd": {f"ratio_{power}": series["relu"]["sgd"][at[power]] for power in (0, 2, 4)},
            "adam": {f"ratio_{power}": series["relu"]["adam"][at[power]] for power in (0, 4, 6, 10)},
        },
    }


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for optimiser, label in (("sgd", "gradient descent"), ("adam", "Adam")):
        for name, activation in (("relu", "ReLU"), ("tanh", "tanh")):
            fig.add_scatter(
                x=m[name]["ratios"], y=m[name][optimiser], name=f"{label}, {activation}", mode="lines+markers"
            )
    fig.add_scatter(x=[1e-10, 1], y=[1 / CLASSES] * 2, name="guessing", mode="lines", meta="reference")
    fig.update_xaxes(
        title="gradient w.r.t. pre-activations, first layer / last",
        type="log",
        exponentformat="power",
        autorange="reversed",
    )
    fig.update_yaxes(title="accuracy after training", range=[0, 1])
    return fig


def claim_the_ratios_are_what_they_were_meant_to_be(m):
    """A ReLU network's ratio falls by a power of ten at a time, as its weights' scale was chosen to have it."""
    for power, ratio in zip(POWERS, m["relu"]["ratios"], strict=True):
        assert 0.4 < ratio * 10**power < 2.5


def claim_a_level_gradient_trains_with_either(m):
    """Where the gradient is level, ReLU networks reach {accuracy.sgd.ratio_0:.2f} by gradient descent and
    {accuracy.adam.ratio_0:.2f} by Adam.
    """
    assert 0.65 < m["accuracy"]["sgd"]["ratio_0"] < 1
    assert 0.75 < m["accuracy"]["adam"]["ratio_0"] < 1


def claim_gradient_descent_needs_more_than_a_thousandth(m):
    """Gradient descent still finds something at a hundredth, {accuracy.sgd.ratio_2:.2f}, and with ReLU as with tanh
    nothing at a ten-thousandth, {accuracy.sgd.ratio_4:.2f}.
    """
    assert 0.12 < m["accuracy"]["sgd"]["ratio_2"] < 0.8
    assert 0.08 < m["accuracy"]["sgd"]["ratio_4"] < 0.14
    for name in SCALES:
        for ratio, accuracy in zip(m[name]["ratios"], m[name]["sgd"], strict=True):
            assert ratio > 1e-4 or accuracy < 0.2


def claim_adam_reaches_further(m):
    """Adam still trains a network at a ten-thousandth, {accuracy.adam.ratio_4:.2f}, and half at a millionth,
    {accuracy.adam.ratio_6:.2f}, but not at a ten-billionth, {accuracy.adam.ratio_10:.2f}.
    """
    assert 0.45 < m["accuracy"]["adam"]["ratio_4"] < 1
    assert 0.25 < m["accuracy"]["adam"]["ratio_6"] < 0.95
    assert 0.08 < m["accuracy"]["adam"]["ratio_10"] < 0.14
    for name in SCALES:
        for ratio, accuracy in zip(m[name]["ratios"], m[name]["adam"], strict=True):
            assert ratio > 1e-9 or accuracy < 0.3
