"""One step too large silences {dead.relu:.0%} of a ReLU network's units for good, and the accuracy hardly notices.

A ReLU whose pre-activation is negative for every image passes on no gradient at all, so that its own weights no longer
move: it is dead, unless the layers below it move. Here a classifier with three hidden layers and PyTorch's default
weights takes one step of gradient descent on all 1437 training images, at growing learning rates. A unit counts as dead
if the loss's gradient with respect to its pre-activation is exactly zero for every image. A leaky ReLU (slope 0.01
below zero, Maas et al. 2013) has a gradient everywhere. Then both are trained as usual, by Adam at 0.001.

This is another thing than a vanishing gradient: it strikes single units, in shallow networks too, all at once.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, digits, train

SEED = 0
REPLICAS = 10  # networks of each kind
TRAINED = 3  # of them are trained after the step
WIDTH = 128  # units in each of three hidden layers
STEPS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]  # learning rates of the one step, the last one before training
EPOCHS = 10
BATCH = 64  # images

ACTIVATIONS = {"relu": nn.ReLU, "leaky": nn.LeakyReLU}
TOLERANCE = {"dead": 0.2, "accuracy": 0.05, "dead_at_init": 0.2, "dead_after_training": 0.2}
WIDER = {"dead_at_init": (2.0, "eight units in 384, more or less")}


def build(activation: type[nn.Module]) -> nn.Sequential:
    """A classifier of 8 x 8 images with PyTorch's default weights."""
    layers: list[nn.Module] = []
    for fan_in in (64, WIDTH, WIDTH):
        layers += [nn.Linear(fan_in, WIDTH), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def dead(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of the hidden units whose pre-activations get a gradient of exactly zero from every image."""
    pre_activations, h = [], x
    for layer in model:
        h = layer(h)  # (images, units)
        if isinstance(layer, nn.Linear):
            pre_activations.append(h)
    gradients = torch.autograd.grad(F.cross_entropy(h, y), pre_activations[:-1])
    return torch.cat([(gradient == 0).all(0) for gradient in gradients]).double().mean().item()


def take_step(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor, rate: float) -> None:
    """One step of gradient descent on all images."""
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    torch.optim.SGD(model.parameters(), lr=rate).step()


def measure(seed: int = SEED) -> dict:
    """Share of dead units after one step, and what training makes of the network then."""
    data = digits()
    x, y = data[0], data[1]
    m = {"steps": STEPS, "share": {}, "dead": {}, "accuracy": {}, "accuracies": {}, "still_dead": {}}
    for name, activation in ACTIVATIONS.items():
        shares, runs = [], []
        for s in derive_seeds(seed, REPLICAS):
            shares.append([])
            for rate in [0.0, *STEPS]:
                torch.manual_seed(s)
                model = build(activation)
                take_step(model, x, y, rate)
                shares[-1].append(dead(model, x, y))
            if len(runs) < TRAINED:
                shuffle = torch.Generator().manual_seed(s)
                run = train(model, data, epochs=EPOCHS, lr=1e-3, batch_size=BATCH, generator=shuffle)
                runs.append((run["test_accuracy"], dead(model, x, y)))
        m["share"][name] = band([share[1:] for share in shares])
        m["dead"][name] = m["share"][name]["median"][-1]
        m["accuracies"][name], m["still_dead"][name] = ([run[i] for run in runs] for i in (0, 1))
        m["accuracy"][name] = band(m["accuracies"][name])["median"]
        if name == "relu":
            m["dead_at_init"] = band([share[0] for share in shares])["median"]
            m["dead_after_training"] = band(m["still_dead"][name])["median"]
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    fig.add_traces(band_traces(m["steps"], m["share"]["relu"], "ReLU", "vanishing"))
    fig.add_traces(band_traces(m["steps"], m["share"]["leaky"], "leaky ReLU", "healthy"))
    fig.update_xaxes(title="learning rate of the one step", type="log", tickvals=m["steps"])
    fig.update_yaxes(title="units without any gradient<br>w.r.t. their pre-activation", tickformat=".0%")
    return fig


def claim_a_large_step_kills(m):
    """At initialisation {dead_at_init:.1%} of the units are dead, and after one step at a learning rate of 100 it is
    {dead.relu:.0%}."""
    share = m["share"]["relu"]
    assert 0.012 < m["dead_at_init"] < 0.034
    assert 0.22 < m["dead"]["relu"] < 0.38
    assert share["median"][-1] == m["dead"]["relu"]
    assert share["hi"][0] < 0.05
    assert share["lo"][-1] > 0.18
    assert share["median"][2:] == sorted(share["median"][2:])  # from a rate of 1 on, the larger the deadlier


def claim_leaky_units_cannot_die(m):
    """Not one leaky unit is without a gradient, whatever the step."""
    assert m["dead"]["leaky"] == 0
    assert max(m["share"]["leaky"]["hi"]) == 0
    assert max(m["still_dead"]["leaky"]) == 0


def claim_accuracy_hardly_notices(m):
    """Trained after that step, the ReLU network reaches an accuracy of {accuracy.relu:.3f} though
    {dead_after_training:.0%} of its units are dead still; the leaky one, with none, reaches {accuracy.leaky:.3f}."""
    for name in ("relu", "leaky"):
        assert min(m["accuracies"][name]) > 0.87
        assert 0.9 < m["accuracy"][name] <= 1
    for relu, leaky in zip(m["accuracies"]["relu"], m["accuracies"]["leaky"], strict=True):
        assert abs(relu - leaky) < 0.06  # of the same network
    assert min(m["still_dead"]["relu"]) > 0.2
    assert 0.22 < m["dead_after_training"] < 0.4
