"""A level gradient, {ratio:.2f} from last layer to first, and a loss that leaps: the learning rate alone can do it.

Three hidden ReLU layers at He's scale learn 500 digits, all of them in every step, without noise between batches.
Their gradient is as large in the first layer as in the last, so nothing explodes on its way back. On a bowl of
curvature c a step of gradient descent ends higher up on the other side once its rate is above 2 / c. Here c is the
sharpness, the largest eigenvalue of the loss's Hessian at the start. A network is no bowl: somewhat above 2 / c it
moves to flatter ground and trains (Lewkowycz et al. 2020, arXiv 2003.02218; on training at the limit Cohen et al. 2021,
arXiv 2103.00065); far above it the loss leaps.
"""

import math
from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor

from vgdocs.experiments import band, band_traces, derive_seeds, digits, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 4  # networks
IMAGES = 500  # digits of the training set
SIZES = [64, 64, 64, 64, 10]  # pixels, three hidden layers, classes
SWEEP = {"rates": {"sgd": [0.03, 0.1, 0.3, 3.0, 10.0], "adam": [0.001, 0.01, 0.1, 1.0, 10.0]}, "steps": 30}
ABOVE = 0.3  # a rate above 2 / sharpness
HIGHEST = 1e20  # losses are cut off here; some become NaN
TOLERANCE = {"lowest": 0.05, "sharpness": 0.01, "sharpness_after": 0.3}
WIDER = {
    "sharpness": (2.5, "random networks differ by a factor of two"),
    "sharpness.lo sharpness.hi": (3.0, "random networks differ by a factor of two"),
    "sharpness_after sharpness_after.lo": (2.5, "near the limit it goes up and down"),
    "sharpness_after.hi": (4.0, "near the limit it goes up and down"),
    "lowest": (2.5, "the loss after a short training"),
}


def outputs(weights: list[Tensor], x: Tensor) -> list[Tensor]:
    """Pre-activations of each layer, the last of which are the logits; of many networks if each matrix is a stack."""
    z = [x @ weights[0].mT]
    for W in weights[1:]:
        z.append(torch.relu(z[-1]) @ W.mT)
    return z


def start(seed: int) -> list[Tensor]:
    """One network's weights at He's scale."""
    g = torch.Generator().manual_seed(seed)
    return [weight(o, i, "he", g, torch.float32).requires_grad_() for i, o in pairwise(SIZES)]


def first_over_last(weights: list[Tensor], x: Tensor, y: Tensor) -> float:
    """The first layer's gradient, with respect to pre-activations, over the last one's."""
    z = outputs(weights, x)
    return ratio(norms_of_gradients(F.cross_entropy(z[-1], y), z))


def sharpness(weights: list[Tensor], x: Tensor, y: Tensor) -> float:
    """Largest eigenvalue of the Hessian with respect to all weights, by power iteration."""
    gradient = torch.autograd.grad(F.cross_entropy(outputs(weights, x)[-1], y), weights, create_graph=True)
    product = [g.detach() for g in gradient]
    for _ in range(21):  # ends with the norm of the twentieth product
        norm = math.sqrt(sum(float((part**2).sum()) for part in product))
        v = [part / norm for part in product]
        product = torch.autograd.grad(gradient, weights, grad_outputs=v, retain_graph=True)  # Hessian times v
    return norm


def train(optimiser: str, starts: list[list[Tensor]], x: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Every network trained at every rate, all at once: losses, (steps + 1, rates, networks), and the last weights."""
    rates = torch.tensor(SWEEP["rates"][optimiser]).repeat_interleave(len(starts)).view(-1, 1, 1)
    weights = [torch.stack(layer).repeat(len(rates) // len(starts), 1, 1) for layer in zip(*starts, strict=True)]
    m = v = [0.0] * len(weights)  # Adam's means of the gradient and of its square
    seen = []
    for step in range(1, SWEEP["steps"] + 2):
        weights = [W.detach().requires_grad_() for W in weights]
        logits = outputs(weights, x)[-1].flatten(0, 1)
        loss = F.cross_entropy(logits, y.repeat(len(rates)), reduction="none").view(len(rates), -1).mean(1)
        seen.append(loss.detach())
        update = torch.autograd.grad(loss.sum(), weights)
        if optimiser == "adam":
            m = [0.9 * a + 0.1 * g for a, g in zip(m, update, strict=True)]
            v = [0.999 * b + 0.001 * g**2 for b, g in zip(v, update, strict=True)]
            means = [(a / (1 - 0.9**step), b / (1 - 0.999**step)) for a, b in zip(m, v, strict=True)]
            update = [a / (b.sqrt() + 1e-8) for a, b in means]
        weights = [W - rates * u for W, u in zip(weights, update, strict=True)]
    losses = torch.stack(seen).nan_to_num(HIGHEST, HIGHEST).clamp(max=HIGHEST).view(len(seen), -1, len(starts))
    return losses, [W.detach().view(-1, len(starts), *W.shape[1:]) for W in weights]


def measure(seed: int = SEED) -> dict:
    """The gradient's ratio, the sharpness at the start and after training above its limit, and losses at each rate."""
    x, y = (part[:IMAGES] for part in digits()[:2])
    starts = [start(s) for s in derive_seeds(seed, REPLICAS)]
    m = band([{"ratio": first_over_last(W, x, y), "sharpness": sharpness(W, x, y)} for W in starts])
    m |= {"highest": {}, "last": {}, "rates": SWEEP["rates"]}
    for optimiser in SWEEP["rates"]:
        losses, trained = train(optimiser, starts, x, y)
        m["highest"][optimiser] = band(losses.amax(0).T.tolist())  # by rate
        m["last"][optimiser] = band(losses[-1].T.tolist())
        if optimiser == "sgd":
            above = [W[SWEEP["rates"]["sgd"].index(ABOVE)].requires_grad_() for W in trained]
            m["sharpness_after"] = band([sharpness(W, x, y) for W in zip(*above, strict=True)])
    m["lowest"] = min(m["last"]["sgd"]["median"])
    return m


def draw(m: dict) -> go.Figure:
    """The highest loss over the learning rate, and the limit of a bowl."""
    fig = go.Figure()
    for optimiser, label in [("sgd", "gradient descent"), ("adam", "Adam")]:
        fig.add_traces(band_traces(m["rates"][optimiser], m["highest"][optimiser], label))
    limit = [2 / m["sharpness"]["median"]] * 2
    fig.add_scatter(x=limit, y=[1, HIGHEST], name="2 / sharpness", mode="lines", meta="reference")
    fig.update_xaxes(title="learning rate", type="log")
    return fig.update_yaxes(title="highest loss in 30 steps", type="log")


def claim_the_gradient_is_level(m):
    """The first layer's gradient, with respect to pre-activations, is {ratio:.2f} times the last one's."""
    assert 0.75 < m["ratio"]["lo"] <= m["ratio"]["median"] <= m["ratio"]["hi"] < 1.45


def claim_too_large_a_rate_makes_the_loss_leap(m):
    """At a learning rate of 3 or 10 gradient descent throws the loss of the middle network above 100, as Adam does at
    1 or 10, and after 30 steps none is below 1.5."""
    for optimiser, highest in m["highest"].items():
        assert min(highest["median"][-2:]) > 100
        assert min(highest["lo"][-2:]) > 1.1 * highest["hi"][0]
        assert min(m["last"][optimiser]["lo"][-2:]) > 1.5


def claim_a_smaller_one_trains_the_same_networks(m):
    """At the best of five rates the loss after 30 steps is {lowest:.2f} by gradient descent, and lower by Adam."""
    assert 0.05 < m["lowest"] < 0.17
    assert min(m["last"]["adam"]["hi"]) < m["lowest"]


def claim_the_sharpness_is_no_sharp_limit(m):
    """The sharpness at the start, {sharpness:.0f}, puts a bowl's limit below 0.3; at that rate all networks train, on
    flatter ground: after thirty steps the sharpness is {sharpness_after:.0f}."""
    sharp, after = m["sharpness"], m["sharpness_after"]
    assert 2 / ABOVE < sharp["lo"] <= sharp["median"] <= sharp["hi"] < 120
    assert 13 < sharp["median"] < 60
    assert m["last"]["sgd"]["hi"][m["rates"]["sgd"].index(ABOVE)] < 1
    assert 2.5 < after["lo"] <= after["median"] <= after["hi"] < 25
    assert 3.5 < after["median"] < min(14, 0.6 * sharp["median"])
