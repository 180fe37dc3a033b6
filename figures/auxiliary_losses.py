"""A loss at every layer brings eight sigmoid layers from {accuracy.none:.2f} to {accuracy.all:.2f}.

An auxiliary loss is a linear classifier on the output of a hidden layer, whose cross-entropy is added in training, here
with a weight of 0.3, and which is thrown away afterwards: GoogLeNet has two of them (Szegedy et al. 2015, section 5),
a deeply supervised net one at each hidden layer (Lee et al. 2015). What reaches the weights of layer l from its own
classifier has passed no other layer.

Classifiers of 8 x 8 digits, 8 hidden layers of 32 units, PyTorch's default weights, 10 epochs in batches of 64, by
Adam, by SGD and by SGD with momentum, at five or six learning rates each. Accuracy is that of the classifier at the
end, the one that is kept. Guessing scores 0.10. The three kinds differ in nothing but the number of auxiliary losses:
none, two, or seven.
"""

import math
from functools import partial

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.experiments import band, band_traces, best, derive_seeds, digits, sweep
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 5  # networks of each kind, at each learning rate
DEPTH = 8  # hidden layers
WIDTH = 32  # units in a layer
PIXELS = 64
CLASSES = 10
WEIGHT = 0.3  # of an auxiliary loss
SWEEP = {
    "rates": {
        "adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
        "sgd": [0.3, 1.0, 3.0, 6.0, 10.0, 30.0],
        "momentum": [0.03, 0.1, 0.3, 1.0, 3.0],
    },
    "epochs": 10,
    "batch_size": 64,
}
KINDS = {  # hidden layers, from 0, with an auxiliary loss
    "all": (list(range(DEPTH - 1)), "a loss at every layer", "healthy"),
    "two": ([2, 5], "at two layers", None),
    "none": ([], "at the end only", "vanishing"),
}
WIDER = {
    "accuracy.all.lo": (2.3, "one of five may be on its way"),
    "without_adam.sgd": (2.2, "half-trained networks differ"),
    "accuracy.two accuracy.two.lo accuracy.two.hi": (3.5, "half-trained networks differ"),
    "ratio.none ratio.none.lo ratio.none.hi": (2.0, "a product over seven layers of 32 units"),
    "accuracy.none accuracy.none.lo accuracy.none.hi": (2.5, "it has learnt two classes of ten, or one"),
}
TOLERANCE = {"accuracy": 0.3, "without_adam": 0.5, "ratio": 0.1}


class Supervised(nn.Module):
    """Sigmoid layers, with classifiers on some. A row of x is an image and its label, which only the losses read."""

    def __init__(self, where: list[int], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # PyTorch's own initialisation takes no generator
        self.hidden = nn.ModuleList(nn.Linear(WIDTH if layer else PIXELS, WIDTH) for layer in range(DEPTH))
        self.heads = nn.ModuleDict({str(layer): nn.Linear(WIDTH, CLASSES) for layer in (DEPTH - 1, *where)})

    def losses(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """All losses together, (n, 1); the pre-activations of each layer; and the last classifier's logits."""
        h, label = x.split([PIXELS, CLASSES], dim=1)
        z, total = [], torch.zeros(())
        for layer, linear in enumerate(self.hidden):
            z.append(linear(h))
            h = torch.sigmoid(z[-1])
            if str(layer) in self.heads:
                logits = self.heads[str(layer)](h)
                loss = -(logits.log_softmax(1) * label).sum(1, keepdim=True)
                total = total + (loss if layer == DEPTH - 1 else WEIGHT * loss)
        return total, z, logits

    def forward(self, x: Tensor) -> Tensor:
        """The last classifier's logits. In training, as `sweep` takes one loss only: logarithms of probabilities whose
        cross-entropy is the sum of all losses."""
        total, _, logits = self.losses(x)
        if not self.training:
            return logits
        others = torch.log1p(-torch.exp(-total.clamp(min=1e-6))) - math.log(CLASSES - 1)
        return torch.where(x[:, PIXELS:] > 0, -total, others)


def with_labels(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, F.one_hot(y, CLASSES).float()], dim=1)


def ratio_before(model: Supervised, x: Tensor) -> float:
    """Gradient of all losses with respect to the pre-activations, first hidden layer over last, before training."""
    total, z, _ = model.losses(x)
    return ratio(norms_of_gradients(total.mean(), z))


def measure(seed: int = SEED) -> dict:
    """Gradient before training and accuracy after it, of each kind."""
    x_train, y_train, x_test, y_test = digits()
    data = with_labels(x_train, y_train), y_train, with_labels(x_test, y_test), y_test
    seeds = derive_seeds(seed, REPLICAS)
    m: dict = {"accuracy": {}, "ratio": {}, "swept": {}}
    for kind, (where, _, _) in KINDS.items():
        m["ratio"][kind] = band([ratio_before(Supervised(where, s), data[0]) for s in seeds])
        m["swept"][kind] = sweep(partial(Supervised, where), data, seeds=seeds, **SWEEP)
        m["accuracy"][kind] = best(m["swept"][kind])
    m["without_adam"] = {name: best({name: m["swept"]["all"][name]})["median"] for name in ("sgd", "momentum")}
    return m


def draw(m: dict) -> go.Figure:
    """Accuracy over the learning rate, of each kind by both optimisers."""
    fig = go.Figure()
    for optimiser, label in (("adam", "Adam"), ("momentum", "momentum"), ("sgd", "SGD")):
        for kind, (_, name, role) in KINDS.items():
            if optimiser != "adam" and kind != "all":
                continue  # as near to guessing
            swept = m["swept"][kind][optimiser]
            fig.add_traces(band_traces(swept["rates"], swept, f"{label}, {name}", role if label == "Adam" else None))
    fig.update_xaxes(title="learning rate", type="log")
    return fig.update_yaxes(title="accuracy on test images", range=[0, 1])


def claim_without_it_hardly_learns(m):
    """With a loss at the end only {ratio.none:.0e} of the gradient at the last hidden layer reaches the first, and at
    the best of sixteen settings the network scores {accuracy.none:.2f}."""
    assert 6.5e-7 < m["ratio"]["none"]["lo"] <= m["ratio"]["none"]["median"] <= m["ratio"]["none"]["hi"] < 1.8e-6
    assert 0.08 < m["accuracy"]["none"]["lo"] <= m["accuracy"]["none"]["median"] <= m["accuracy"]["none"]["hi"] < 0.28


def claim_with_a_loss_at_every_layer_it_trains(m):
    """With an auxiliary loss at every layer the first gets {ratio.all:.2f} of the last one's gradient before training,
    about the weight of 0.3, and the last classifier reaches {accuracy.all:.2f}."""
    assert 0.23 < m["ratio"]["all"]["lo"] <= m["ratio"]["all"]["median"] <= m["ratio"]["all"]["hi"] < 0.36
    assert 0.4 < m["accuracy"]["all"]["lo"] <= m["accuracy"]["all"]["median"] <= m["accuracy"]["all"]["hi"] <= 1
    assert m["accuracy"]["all"]["median"] > 0.75


def claim_two_are_less(m):
    """With two auxiliary losses the first layer gets {ratio.two:.0e}, and the last classifier reaches
    {accuracy.two:.2f}."""
    assert 0.0047 < m["ratio"]["two"]["lo"] <= m["ratio"]["two"]["median"] <= m["ratio"]["two"]["hi"] < 0.0085
    assert 0.14 < m["accuracy"]["two"]["lo"] <= m["accuracy"]["two"]["median"] <= m["accuracy"]["two"]["hi"] < 0.97
    assert m["accuracy"]["none"]["median"] < m["accuracy"]["two"]["median"] < m["accuracy"]["all"]["median"]


def claim_by_sgd_it_gets_less_far(m):
    """By SGD the network with a loss at every layer gets to {without_adam.sgd:.2f} in these epochs, with momentum to
    {without_adam.momentum:.2f}; with fewer losses it stays at guessing, with momentum or without."""
    assert 0.2 < m["without_adam"]["sgd"] < m["without_adam"]["momentum"] < m["accuracy"]["all"]["median"]
    assert m["without_adam"]["sgd"] < 0.7
    assert m["without_adam"]["momentum"] > 0.44
    for kind in ("two", "none"):
        assert max(max(m["swept"][kind][name]["median"]) for name in ("sgd", "momentum")) < 0.13
