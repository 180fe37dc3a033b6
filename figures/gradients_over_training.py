"""Training mends the gradient of a shallow sigmoid network within twenty epochs and never moves that of a deep one.

Classifiers of digits with 3 or 24 hidden layers of 64 units, 20 epochs of Adam at 0.001. Before training and after each
epoch: the norm of the loss's gradient with respect to the pre-activations of the first hidden layer, over that of the
last one. What vanishes at initialisation need not stay small (Glorot & Bengio 2010, section 4.3, saw the decline of the
back-propagated gradient turn round quickly), as long as there is enough of it to start learning at all.
"""

from itertools import pairwise

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


def claim_a_shallow_sigmoid_network_mends_itself(m):
    """In 3 sigmoid layers the first one gets {start.sigmoid_3:.2f} of the last one's gradient before training, and
    {end.sigmoid_3:.1f} times the last one's after 20 epochs; with ReLU {start.relu_3:.1f} and {end.relu_3:.1f}
    times."""
    assert 0.04 < m["start"]["sigmoid_3"] < 0.06
    assert 0.7 < m["end"]["sigmoid_3"] < 2
    assert 0.8 < m["start"]["relu_3"] < 1.3
    assert 2 < m["end"]["relu_3"] < 7
    sigmoid = m["ratio"]["sigmoid_3"]
    assert all(later > earlier for earlier, later in pairwise(sigmoid["median"]))
    assert sigmoid["lo"][-1] > 10 * sigmoid["hi"][0]


def claim_a_deep_one_never_starts(m):
    """In 24 sigmoid layers {start.sigmoid_24:.0e} of the gradient arrives before training and {end.sigmoid_24:.0e}
    after: without a gradient there is no training that could mend it."""
    assert 5e-16 < m["start"]["sigmoid_24"] < 2e-14
    assert 3e-16 < m["end"]["sigmoid_24"] < 1e-14
    assert max(m["ratio"]["sigmoid_24"]["hi"]) < 1e-13


def claim_a_deep_relu_network_drifts_the_other_way(m):
    """24 ReLU layers with He's weights start at {start.relu_24:.1f} and have come to {end.relu_24:.0f}: in training the
    first layers' gradient becomes the larger one."""
    assert 0.3 < m["start"]["relu_24"] < 3
    assert 6 < m["end"]["relu_24"] < 130
    assert m["ratio"]["relu_24"]["lo"][-1] > 2
