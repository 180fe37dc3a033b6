"""Deeper plain networks fit even the training images worse; residual ones train as well at 80 layers as at 5.

Classifiers of digits, 64 units wide, whose layers are h <- W relu(h) + b or h <- h + (W relu(h) + b) / sqrt(L): the
same weights (He's), with and without the skip. 10 epochs of Adam at 0.001. The plain networks' accuracy falls on the
training images too, so that this is a failure to optimise and not overfitting: the degradation that He et al. 2015
report ("Deep Residual Learning", section 4.1), who add that vanishing gradients are unlikely to be its cause. Nor are
they here: at He's scale the gradient still reaches the first of 80 layers.
"""

import math

import plotly.graph_objects as go
import torch
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, digits, train, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks of each kind and depth
DEPTHS = [5, 10, 20, 40, 80]  # layers, L
WIDTH = 64  # units in a layer, and pixels
EPOCHS = 10
RATE = 1e-3  # Adam's learning rate

NAMES = {"plain": "plain", "residual": "residual"}
ROLES = {"residual": "healthy"}
# eighty plain layers hardly learn: there, chance decides
TOLERANCE = {"test": 0.2, "training": 0.2, "test.plain_80": 1.0, "training.plain_80": 1.0, "gradient_ratio": 0.01}
WIDER = {
    "test.plain_80": (3.3, "some networks stay at chance, others begin to learn"),
    "training.plain_80": (3.3, "some networks stay at chance, others begin to learn"),
    "gradient_ratio": (20.0, "a product over 80 layers of finite width"),
}


class Network(nn.Module):
    """A classifier of 8 x 8 images."""

    def __init__(self, depth: int, skip: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.skip = skip
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        for layer in self.layers:
            layer.weight.data = weight(WIDTH, WIDTH, "he", generator, torch.float32)
            layer.bias.data.zero_()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 10)

    def hidden(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The states h from the first to the last, each (images, WIDTH)."""
        h = [self.first(x)]
        for layer in self.layers:
            out = layer(torch.relu(h[-1]))
            h.append(h[-1] + out / math.sqrt(len(self.layers)) if self.skip else out)
        return h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.hidden(x)[-1])


def measure(seed: int = SEED) -> dict:
    """Accuracy on test and training images against depth."""
    data = digits()
    m = {"depths": DEPTHS, "test_by_depth": {}, "training_by_depth": {}, "test": {}, "training": {}}
    ratios = []  # of the plain networks of 80 layers, before training
    for kind in NAMES:
        test, training = [], []
        for s in derive_seeds(seed, REPLICAS):
            runs = []
            for depth in DEPTHS:
                torch.manual_seed(s)
                generator = torch.Generator().manual_seed(s)
                model = Network(depth, kind == "residual", generator)
                if kind == "plain" and depth == DEPTHS[-1]:
                    h = model.hidden(data[0][:64])
                    ratios.append(ratio(norms_of_gradients((h[-1] * torch.randn_like(h[-1])).sum(), h)))
                runs.append(train(model, data, epochs=EPOCHS, lr=RATE, generator=generator))
            test.append([run["test_accuracy"] for run in runs])
            training.append([run["train_accuracy"] for run in runs])
        m["test_by_depth"][kind], m["training_by_depth"][kind] = band(test), band(training)
        for name, measured in (("test", m["test_by_depth"][kind]), ("training", m["training_by_depth"][kind])):
            m[name][f"{kind}_5"], m[name][f"{kind}_80"] = measured["median"][0], measured["median"][-1]
    m["gradient_ratio"] = band(ratios)["median"]
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for kind, name in NAMES.items():
        fig.add_traces(band_traces(m["depths"], m["test_by_depth"][kind], f"{name}, test images", ROLES.get(kind)))
        fig.add_scatter(
            x=m["depths"],
            y=m["training_by_depth"][kind]["median"],
            name=f"{name}, training images",
            mode="lines+markers",
            line={"dash": "dot"},
            meta={"role": ROLES[kind]} if kind in ROLES else None,
        )
    fig.add_scatter(
        x=m["depths"], y=[0.1] * len(m["depths"]), name="guessing", mode="lines", meta={"role": "reference"}
    )
    fig.update_xaxes(title="layers", type="log", tickvals=m["depths"])
    fig.update_yaxes(title="accuracy", range=[0, 1.02])
    return fig


def claim_depth_does_not_hurt_a_residual_network(m):
    """A residual network of 80 layers reaches {test.residual_80:.2f} on test images, one of 5 layers
    {test.residual_5:.2f}; on training images {training.residual_80:.3f} and {training.residual_5:.3f}."""
    for name in ("test", "training"):
        assert min(m[f"{name}_by_depth"]["residual"]["lo"]) > 0.8
        for depth in (5, 80):
            assert 0.9 < m[name][f"residual_{depth}"] <= 1


def claim_depth_ruins_a_plain_network(m):
    """Without the skip the accuracy on test images falls from {test.plain_5:.2f} at 5 layers to {test.plain_80:.2f} at
    80."""
    measured = m["test_by_depth"]["plain"]
    assert 0.9 < m["test"]["plain_5"] <= 1
    assert 0.09 < m["test"]["plain_80"] < 0.65
    assert measured["median"][0] > measured["median"][2] > measured["median"][3] > measured["median"][4]
    assert measured["hi"][-1] < 0.75


def claim_it_fails_to_optimise(m):
    """On training images, too, the plain network's accuracy falls, from {training.plain_5:.2f} to
    {training.plain_80:.2f}: this is no overfitting."""
    measured = m["training_by_depth"]["plain"]
    assert 0.95 < m["training"]["plain_5"] <= 1
    assert 0.09 < m["training"]["plain_80"] < 0.65
    assert measured["hi"][-1] < 0.75


def claim_the_gradient_has_not_vanished(m):
    """Before training the gradient at the first of 80 plain layers is {gradient_ratio:.2f} of the last layer's."""
    assert 0.02 < m["gradient_ratio"] < 3
