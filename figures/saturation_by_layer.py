"""In a deep sigmoid network the top hidden layer saturates first, and until it comes back little is learnt.

Four hidden layers of 100 sigmoids, weights U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases 0, gradient descent at 0.1 in
batches of 10 images of digits: after Glorot & Bengio 2010, section 3.1 and figure 2, with fewer units and pixels. At
first the hidden layers say nothing about the image, so that the output layer h W + b does best to rely on its biases b
and to push h W, and with it h, towards 0. For a tanh that is the middle of its range; a sigmoid near 0 is saturated,
and its derivative h (1 - h) all but shuts the layers below off from the gradient, until it has slowly moved out of it.
"""

from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor

from vgdocs.experiments import digits

SEED = 0
REPLICAS = 5  # networks side by side, each on images of its own; one of them is drawn
WIDTHS = [64, 100, 100, 100, 100, 10]  # pixels, hidden layers, classes
RATE = 0.1  # learning rate
BATCH = 10  # images
EPOCHS = 200
EVERY = 4  # epochs between two looks
EARLY = 60  # epoch at which the top layer is well inside its plateau
SATURATED = 0.05  # mean activation of a top layer that passes on next to nothing
SWEEP = {"reason": "Glorot and Bengio's experiment made smaller, to watch a layer saturate at one rate"}
TOLERANCE = {"top_early": 0.05, "slope_early": 0.05, "slope_at_init": 0.01, "escape": 0.2, "final_accuracy": 0.3}
WIDER = {"escape": (2.0, "networks differ by tens of epochs"), "final_accuracy": (2.5, "taken while they learn")}


def layers(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
    """The four hidden layers' activations and the logits, each (REPLICAS, images, units)."""
    h = [x]
    for W, b in zip(weights, biases, strict=True):
        z = torch.baddbmm(b, h[-1], W)  # h W + b, for each network its own
        h.append(torch.sigmoid(z) if len(h) < len(weights) else z)
    return h[1:]


def watch_training(seed: int) -> tuple[Tensor, ...]:
    """Means of the hidden layers, (looks, 4, REPLICAS), of the top one's slope and accuracies, (looks, REPLICAS)."""
    g = torch.Generator().manual_seed(seed)
    x, y, x_test, y_test = digits()
    W = [((2 * torch.rand(REPLICAS, i, o, generator=g) - 1) / i**0.5).requires_grad_() for i, o in pairwise(WIDTHS)]
    b = [torch.zeros(REPLICAS, 1, width, requires_grad=True) for width in WIDTHS[1:]]
    looks = []
    for epoch in range(EPOCHS + 1):
        if epoch % EVERY == 0:
            with torch.no_grad():
                *hidden, logits = layers(x_test.expand(REPLICAS, -1, -1), W, b)
            means, slope = torch.stack([h.mean((1, 2)) for h in hidden]), hidden[-1] * (1 - hidden[-1])
            looks.append((means, slope.mean((1, 2)), (logits.argmax(2) == y_test).double().mean(1)))
        order = torch.stack([torch.randperm(len(x), generator=g) for _ in range(REPLICAS)])
        for rows in order.split(BATCH, dim=1):  # (REPLICAS, BATCH)
            logits = layers(x[rows], W, b)[-1]
            losses = F.cross_entropy(logits.transpose(1, 2), y[rows], reduction="none").mean(1)
            gradients = torch.autograd.grad(losses.sum(), W + b)
            with torch.no_grad():
                for parameter, gradient in zip(W + b, gradients, strict=True):
                    parameter -= RATE * gradient
    return tuple(torch.stack(series) for series in zip(*looks, strict=True))


def measure(seed: int = SEED) -> dict:
    """Mean activation of each hidden layer, and test accuracy, while the networks train; numbers are medians."""
    means, slopes, accuracies = watch_training(seed)
    epochs, early = torch.arange(0, EPOCHS + 1, EVERY), EARLY // EVERY
    escaped = (means[:, -1] > 0.08) & (epochs > EARLY)[:, None]  # (looks, REPLICAS)
    return {
        "epochs": epochs.tolist(),
        "mean": {f"layer_{i + 1}": means[:, i, 0].tolist() for i in range(4)},  # of the first network
        "early": {f"layer_{i + 1}": means[early, i].tolist() for i in range(4)},  # of each network
        "tops": means[:, -1].T.tolist(),
        "accuracies": accuracies.T.tolist(),
        "top_early": means[early, -1].median().item(),
        "slope_at_init": slopes[0].median().item(),  # mean derivative of the top layer's sigmoids
        "slope_early": slopes[early].median().item(),
        "escape": torch.where(escaped, epochs[:, None], EPOCHS).amin(0).median().item(),
        "final_accuracy": accuracies[-1].median().item(),
    }


def draw(m: dict) -> go.Figure:
    """The layers' mean activations and the accuracy of one network while it trains."""
    fig = go.Figure()
    for layer, mean in enumerate(m["mean"].values(), start=1):
        name, role = (f"hidden layer {layer}", None) if layer < 4 else ("hidden layer 4, the top one", "vanishing")
        fig.add_scatter(x=m["epochs"], y=mean, name=name, mode="lines", meta=role)
    accuracy = {"y": m["accuracies"][0], "name": "accuracy on test images"}
    fig.add_scatter(x=m["epochs"], **accuracy, mode="lines", meta="reference")
    return fig.update_xaxes(title="epoch").update_yaxes(title="mean activation of a layer;<br>accuracy", range=[0, 1])


def claim_the_top_layer_saturates_first(m):
    """After 60 epochs the top hidden layer's mean activation is {top_early:.3f} and its derivative {slope_early:.3f},
    from {slope_at_init:.3f} at the start, while the first two layers stay at a mean of 1/2."""
    assert 0.042 < m["top_early"] < 0.062
    assert 0.04 < m["slope_early"] < 0.06
    assert 0.235 < m["slope_at_init"] <= 0.25
    assert max(m["early"]["layer_4"]) < 0.07
    assert all(0.4 < mean < 0.65 for mean in m["early"]["layer_1"] + m["early"]["layer_2"])
    assert min(m["early"]["layer_3"]) > 0.6  # driven up, as the one above is driven down


def claim_meanwhile_nothing_is_learnt(m):
    """As long as the top layer's mean activation is below 0.05, no network gets more than a third of
    the images right."""
    looks = [look for curves in zip(m["tops"], m["accuracies"], strict=True) for look in zip(*curves, strict=True)]
    saturated = [accuracy for mean, accuracy in looks if mean < SATURATED]
    assert len(saturated) > 50
    assert max(saturated) < 1 / 3


def claim_then_it_escapes(m):
    """Around epoch {escape:.0f} the layer has moved out of saturation (mean above 0.08), and at epoch 200 the accuracy
    is {final_accuracy:.2f}."""
    assert 95 < m["escape"] < 195
    assert 0.35 < m["final_accuracy"] < 0.97
