"""Training evens out the gradient of a shallow sigmoid network within epochs and never touches that of a deep one.

Classifiers of digits with 3 or 24 hidden layers of 64 units, 20 epochs of Adam at 0.001. Before training and after each
epoch: the norm of the loss's gradient with respect to the pre-activations of the first hidden layer, over that of the
last one. What vanishes at initialisation need not stay small (Glorot & Bengio 2010, section 4.3, saw the decline of the
back-propagated gradient turn round quickly), as long as there is enough of it to start learning at all.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, digits, train
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks of each kind
WIDTH = 64  # units in a layer, and pixels
EPOCHS = 20
RATE = 1e-3  # Adam's learning rate

KINDS = {  # name, activation, init, hidden layers
    "sigmoid_3": ("sigmoid, 3 layers", nn.Sigmoid, nn.init.xavier_normal_, 3),
    "relu_3": ("ReLU, 3 layers", nn.ReLU, nn.init.kaiming_normal_, 3),
    "sigmoid_24": ("sigmoid, 24 layers", nn.Sigmoid, nn.init.xavier_normal_, 24),
    "relu_24": ("ReLU, 24 layers", nn.ReLU, nn.init.kaiming_normal_, 24),
}
ROLES = {"sigmoid_24": "vanishing", "relu_24": "healthy"}
TOLERANCE = {"start": 0.01, "end": 0.8}
WIDER = {
    "start.sigmoid_24": (8.0, "a product over 23 layers of finite width"),
    "start.relu_24": (8.0, "a product over 23 layers of finite width"),
    "end.sigmoid_3": (3.0, "trained networks"),
    "end.relu_3": (3.0, "trained networks"),
    "end.sigmoid_24": (8.0, "a product over 23 layers of finite width"),
    "end.relu_24": (20.0, "trained networks of 24 layers"),
}


def build(activation: type[nn.Module], init, depth: int) -> nn.Sequential:
    """A classifier of 8 x 8 images, from the global generator: Xavier's or He's weights, biases 0."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        init(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradient_ratio(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Gradient norm w.r.t. the first hidden layer's pre-activations over the last one's."""
    z, h = [], x
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.Linear):
            z.append(h)  # (images, WIDTH), in the end the logits
    return ratio(norms_of_gradients(F.cross_entropy(h, y), z[:-1]))


def measure(seed: int = SEED) -> dict:
    """The gradient's ratio before training and after each epoch."""
    data = digits()
    x, y = data[0], data[1]
    m = {"epochs": list(range(EPOCHS + 1)), "ratio": {}, "start": {}, "end": {}}
    for kind, (_, activation, init, depth) in KINDS.items():
        histories = []
        for s in derive_seeds(seed, REPLICAS):
            torch.manual_seed(s)
            model = build(activation, init, depth)
            history = [gradient_ratio(model, x, y)]
            train(
                model,
                data,
                epochs=EPOCHS,
                lr=RATE,
                generator=torch.Generator().manual_seed(s),
                on_epoch=lambda *_, model=model, history=history: history.append(gradient_ratio(model, x, y)),
            )
            histories.append(history)
        m["ratio"][kind] = band(histories)
        m["start"][kind], m["end"][kind] = m["ratio"][kind]["median"][0], m["ratio"][kind]["median"][-1]
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for kind, (name, *_) in KINDS.items():
        fig.add_traces(band_traces(m["epochs"], m["ratio"][kind], name, ROLES.get(kind)))
    fig.update_xaxes(title="epoch")
    fig.update_yaxes(title="gradient w.r.t. pre-activations,<br>first layer / last", type="log", exponentformat="power")
    return fig
