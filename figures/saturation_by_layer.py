"""In a deep sigmoid network the top hidden layer saturates first, and while it does next to nothing is learnt.

Four hidden layers of 100 sigmoids, weights U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases 0, gradient descent at 0.1 in
batches of 10 images of digits: the experiment of Glorot & Bengio 2010, section 3.1 and figure 2, on smaller images. At
first the hidden layers say nothing about the image, so that the output layer h W + b does best to rely on its biases b
and to push h W, and with it h, towards 0. For a tanh that is the middle of its range; a sigmoid near 0 is saturated,
and its derivative h (1 - h) all but shuts the layers below off from the gradient, until it has slowly moved out of it.

The networks are trained side by side as one stack of matrices, each on its own images.
"""

from itertools import pairwise
from statistics import median

import plotly.graph_objects as go
import torch
import torch.nn.functional as F

from vgdocs.experiments import digits

SEED = 0
REPLICAS = 5  # networks, one of which is drawn
WIDTHS = [64, 100, 100, 100, 100, 10]  # pixels, hidden layers, classes
RATE = 0.1  # learning rate
BATCH = 10  # images
EPOCHS = 200
EVERY = 4  # epochs between two looks
EARLY = 60  # epoch at which the top layer is well inside its plateau
SATURATED = 0.05  # mean activation of a top layer that passes on next to nothing

SWEEP = {"reason": "Glorot and Bengio's experiment as they describe it, to watch a layer saturate at its rate"}
TOLERANCE = {"top_early": 0.05, "slope_early": 0.05, "slope_at_init": 0.01, "escape": 0.2, "final_accuracy": 0.3}
WIDER = {"escape": (2.0, "networks differ by tens of epochs"), "final_accuracy": (2.5, "taken while they learn")}


def layers(x: torch.Tensor, weights: list[torch.Tensor], biases: list[torch.Tensor]) -> list[torch.Tensor]:
    """The four hidden layers' activations and the logits, each (REPLICAS, images, units)."""
    h = [x]
    for W, b in zip(weights, biases, strict=True):
        z = torch.baddbmm(b, h[-1], W)  # h W + b, for each network its own
        h.append(torch.sigmoid(z) if len(h) < len(weights) else z)
    return h[1:]


def measure(seed: int = SEED) -> dict:
    """Mean activation of each hidden layer, and test accuracy, while the networks train."""
    generator = torch.Generator().manual_seed(seed)
    x, y, x_test, y_test = digits()
    W, b = [], []
    for fan_in, fan_out in pairwise(WIDTHS):
        W.append((torch.rand(REPLICAS, fan_in, fan_out, generator=generator) * 2 - 1) / fan_in**0.5)
        b.append(torch.zeros(REPLICAS, 1, fan_out))
    parameters = [parameter.requires_grad_() for parameter in W + b]

    epochs, means, slopes, accuracies = [], [], [], []
    for epoch in range(EPOCHS + 1):
        if epoch % EVERY == 0:
            with torch.no_grad():
                *hidden, logits = layers(x_test.expand(REPLICAS, -1, -1), W, b)
            epochs.append(epoch)
            means.append([h.mean((1, 2)).tolist() for h in hidden])  # (layers, REPLICAS)
            slopes.append((hidden[-1] * (1 - hidden[-1])).mean((1, 2)).tolist())
            accuracies.append((logits.argmax(2) == y_test).double().mean(1).tolist())
        order = torch.stack([torch.randperm(len(x), generator=generator) for _ in range(REPLICAS)])
        for rows in order.split(BATCH, dim=1):  # (REPLICAS, BATCH)
            logits = layers(x[rows], W, b)[-1]
            losses = F.cross_entropy(logits.transpose(1, 2), y[rows], reduction="none").mean(1)
            gradients = torch.autograd.grad(losses.sum(), parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= RATE * gradient

    early = epochs.index(EARLY)
    tops = [[at[-1][replica] for at in means] for replica in range(REPLICAS)]
    late = [[e for e, mean in zip(epochs, top, strict=True) if e > EARLY and mean > 0.08] for top in tops]
    return {
        "epochs": epochs,
        "mean": {f"layer_{layer + 1}": [at[layer][0] for at in means] for layer in range(4)},  # of the first network
        "early": {f"layer_{layer + 1}": means[early][layer] for layer in range(4)},  # of each network
        "tops": tops,
        "accuracies": [[at[replica] for at in accuracies] for replica in range(REPLICAS)],
        "top_early": median(means[early][-1]),
        "slope_at_init": median(slopes[0]),  # mean derivative of the top layer's sigmoids
        "slope_early": median(slopes[early]),
        "escape": median(min(later, default=EPOCHS) for later in late),
        "final_accuracy": median(accuracies[-1]),
    }


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for layer, mean in enumerate(m["mean"].values(), start=1):
        name = f"hidden layer {layer}" + (", the top one" if layer == len(m["mean"]) else "")
        role = {"role": "vanishing"} if layer == len(m["mean"]) else None
        fig.add_scatter(x=m["epochs"], y=mean, name=name, mode="lines", meta=role)
    fig.add_scatter(
        x=m["epochs"], y=m["accuracies"][0], name="accuracy on test images", mode="lines", meta={"role": "reference"}
    )
    fig.update_xaxes(title="epoch")
    fig.update_yaxes(title="mean activation of a layer;<br>accuracy", range=[0, 1])
    return fig


def claim_the_top_layer_saturates_first(m):
    """After 60 epochs the top hidden layer's mean activation is {top_early:.3f} and its derivative {slope_early:.3f},
    from {slope_at_init:.3f} at the start, while the first two layers stay at a mean of 1/2."""
    assert 0.042 < m["top_early"] < 0.062
    assert 0.04 < m["slope_early"] < 0.06
    assert 0.235 < m["slope_at_init"] <= 0.25
    assert max(m["early"]["layer_4"]) < 0.07
    for layer in ("layer_1", "layer_2"):
        assert min(m["early"][layer]) > 0.4
        assert max(m["early"][layer]) < 0.65
    assert min(m["early"]["layer_3"]) > 0.6  # driven up, as the one above is driven down


def claim_meanwhile_nothing_is_learnt(m):
    """As long as the top layer's mean activation is below 0.05, no network gets more than a third of
    the images right."""
    saturated = [
        accuracy
        for top, accuracies in zip(m["tops"], m["accuracies"], strict=True)
        for mean, accuracy in zip(top, accuracies, strict=True)
        if mean < SATURATED
    ]
    assert len(saturated) > 50
    assert max(saturated) < 1 / 3


def claim_then_it_escapes(m):
    """Around epoch {escape:.0f} the layer has moved out of saturation (mean above 0.08), and at epoch 200 the accuracy
    is {final_accuracy:.2f}."""
    assert 95 < m["escape"] < 195
    assert 0.35 < m["final_accuracy"] < 0.97
