"""One step too large silences {dead.relu:.0%} of a ReLU network's units, and its trained accuracy hardly notices.

A ReLU whose pre-activation is negative for every image passes on no gradient at all, so that its own weights no longer
move: it is dead, unless the layers below it move. Here a classifier with three hidden layers and PyTorch's default
weights takes one step of gradient descent on all 1437 training images, at growing learning rates. A unit counts as dead
if the loss's gradient with respect to its pre-activation is exactly zero for every image. A leaky ReLU (slope 0.01
below zero, Maas et al. 2013) has a gradient everywhere. Then both are trained by Adam and by gradient descent, each at
five learning rates.

Depth isn't needed for that, and it does the same without any step. Lower panel: the share of units that no training
image activates, layer by layer, in 60 layers at initialisation. As inputs come to point the same way, each unit is on
for all of them or off for all, and in the limit half are off. Lu et al. 2020 prove for layers of fixed width that a
deep enough ReLU network is born dead.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import Data, Stack, band, band_traces, derive_seeds, digits, train, weight

SEED = 0
REPLICAS = 10  # networks of each kind
TRAINED = 3  # of them are trained after the step, at each learning rate
WIDTH = 128  # units in each of three hidden layers
STEPS = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]  # learning rates of the one step, the last one before training
SWEEP = {"rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.003, 0.01, 0.03, 0.1, 0.3]}, "epochs": 10}
DEPTH = 60  # hidden layers of the network that is looked at before any step
TENTH = 10  # the layer in between that pages cite

INITS = {"he": "He's scale", "pytorch": "PyTorch's default"}
ACTIVATIONS = {"relu": nn.ReLU, "leaky": nn.LeakyReLU}
TOLERANCE = {"dead": 0.2, "accuracy": 0.1, "dead_at_init": 0.2, "dead_after_training": 0.5}
WIDER = {
    "born.he.layer_10": (2.0, "few networks, which differ"),
    "dead_at_init": (2.0, "eight units in 384, more or less"),
    "dead_after_training.lo": (2.0, "it depends on which rate does best"),
    "dead_after_training": (1.9, "it depends on which rate does best"),
}


def after_step(activation: type[nn.Module], seed: int, x: torch.Tensor, y: torch.Tensor, rate: float) -> nn.Sequential:
    """A classifier of 8 x 8 images with PyTorch's default weights, after one step of gradient descent on all images."""
    torch.manual_seed(seed)
    layers = []
    for fan_in in (64, WIDTH, WIDTH):
        layers += [nn.Linear(fan_in, WIDTH), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    F.cross_entropy(model(x), y).backward()
    torch.optim.SGD(model.parameters(), lr=rate).step()
    return model


def dead(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of the hidden units whose pre-activations get a gradient of exactly zero from every image."""
    pre_activations, h = [], x
    for layer in model:
        h = layer(h)  # (images, units)
        if isinstance(layer, nn.Linear):
            pre_activations.append(h)
    gradients = torch.autograd.grad(F.cross_entropy(h, y), pre_activations[:-1])
    return torch.cat([(gradient == 0).all(0) for gradient in gradients]).double().mean().item()


def trained(activation: type[nn.Module], seeds: list[int], data: Data) -> tuple[dict, dict]:
    """At the best of all rates after the large step: bands of the test accuracy and of the share of dead units."""
    x, y, *_ = data
    found = []
    for optimiser, rates in SWEEP["rates"].items():
        stack = Stack([after_step(activation, s, x, y, STEPS[-1]) for _ in rates for s in seeds])
        lr, shuffle = [rate for rate in rates for _ in seeds], torch.Generator().manual_seed(seeds[0])
        run = train(stack, data, epochs=SWEEP["epochs"], lr=lr, optimiser=optimiser, generator=shuffle)
        still = [dead(model, x, y) for model in stack.networks]
        groups = [slice(i, i + len(seeds)) for i in range(0, len(lr), len(seeds))]
        found += [(band(run["test_accuracy"][group]), band(still[group])) for group in groups]
    return max(found, key=lambda bands: bands[0]["median"])


@torch.no_grad()
def silent(init: str, x: torch.Tensor, seed: int) -> list[float]:
    """Share of the units of each of DEPTH layers that no image activates, at initialisation."""
    generator = torch.Generator().manual_seed(seed)
    shares, h = [], x.double()
    for _ in range(DEPTH):
        fan_in = h.shape[1]
        bias = (2 * torch.rand(WIDTH, generator=generator, dtype=torch.float64) - 1) / fan_in**0.5  # as of nn.Linear
        h = h @ weight(WIDTH, fan_in, init, generator).T + (bias if init == "pytorch" else 0)  # (images, WIDTH)
        shares.append((h <= 0).all(0).double().mean().item())
        h = h.relu()
    return shares


def measure(seed: int = SEED) -> dict:
    """Share of dead units after one step, what training makes of the network then, and the share by depth before."""
    x, y, *_ = data = digits()
    seeds = derive_seeds(seed, REPLICAS)
    m = {"steps": STEPS, "share": {}, "dead": {}, "accuracy": {}, "born": {}}
    for name, activation in ACTIVATIONS.items():
        shares = [[dead(after_step(activation, s, x, y, rate), x, y) for rate in [0.0, *STEPS]] for s in seeds]
        m["share"][name] = band([share[1:] for share in shares])
        m["dead"][name] = m["share"][name]["median"][-1]
        m["accuracy"][name], still = trained(activation, seeds[:TRAINED], data)
        if name == "relu":
            m["dead_at_init"], m["dead_after_training"] = band(shares)["median"][0], still
    for init in INITS:
        born = band([silent(init, x, s) for s in seeds])
        m["born"][init] = {f"layer_{layer}": born["median"][layer - 1] for layer in (1, TENTH, DEPTH)}
        m["born"][init]["by_layer"] = born
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    fig.add_traces(band_traces(m["steps"], m["share"]["relu"], "ReLU", "vanishing"), rows=1, cols=1)
    fig.add_traces(band_traces(m["steps"], m["share"]["leaky"], "leaky ReLU", "healthy"), rows=1, cols=1)
    for init, name in INITS.items():
        by_layer = m["born"][init]["by_layer"]
        fig.add_traces(band_traces(range(1, DEPTH + 1), by_layer, f"ReLU, {name}"), rows=2, cols=1)
    fig.update_xaxes(title="learning rate of the one step", type="log", tickvals=m["steps"], row=1, col=1)
    fig.update_xaxes(title="layer, before any step", row=2, col=1)
    fig.update_yaxes(title="units without any gradient<br>w.r.t. their pre-activation", tickformat=".0%", row=1, col=1)
    fig.update_yaxes(title="units that no image<br>activates", range=[0, 0.7], tickformat=".0%", row=2, col=1)
    return fig


def claim_a_large_step_kills(m):
    """At initialisation {dead_at_init:.1%} of the units are dead, and after one step at a learning rate of 100 it is
    {dead.relu:.0%}."""
    share = m["share"]["relu"]
    assert 0.012 < m["dead_at_init"] < 0.034
    assert 0.22 < m["dead"]["relu"] < 0.38
    assert share["hi"][0] < 0.05
    assert share["lo"][-1] > 0.18
    assert share["median"][2:] == sorted(share["median"][2:])  # from a rate of 1 on, the larger the deadlier


def claim_leaky_units_cannot_die(m):
    """Not one leaky unit is without a gradient, whatever the step."""
    assert m["dead"]["leaky"] == 0
    assert max(m["share"]["leaky"]["hi"]) == 0


def claim_accuracy_hardly_notices(m):
    """Trained after that step, the ReLU network reaches an accuracy of {accuracy.relu:.3f} at the best of ten learning
    rates though {dead_after_training:.0%} of its units are dead then, hardly fewer than right after the step if
    any; the leaky one, with none, reaches {accuracy.leaky:.3f}."""
    for name in ("relu", "leaky"):
        assert 0.88 < m["accuracy"][name]["lo"] <= m["accuracy"][name]["median"] <= m["accuracy"][name]["hi"] <= 1
    assert abs(m["accuracy"]["relu"]["median"] - m["accuracy"]["leaky"]["median"]) < 0.05
    still = m["dead_after_training"]
    assert 0.2 < still["lo"] <= still["median"] <= still["hi"] < 0.58
    assert 0.24 < still["median"] < 0.56
    assert still["median"] > 0.9 * m["dead"]["relu"]


def claim_depth_makes_dead_units_too(m):
    """Before any step, of 60 layers of He's weights the first has {born.he.layer_1:.0%} of its units dead, the tenth
    {born.he.layer_10:.0%} and the last {born.he.layer_60:.0%}; with PyTorch's default weights and biases it is
    {born.pytorch.layer_1:.0%}, {born.pytorch.layer_10:.0%} and {born.pytorch.layer_60:.0%}."""
    he, pytorch = m["born"]["he"], m["born"]["pytorch"]
    assert 0.085 < he["layer_10"] < 0.22
    assert 0.28 < he["layer_60"] < 0.52
    assert 0.4 < pytorch["layer_10"] < 0.62
    assert 0.4 < pytorch["layer_60"] < 0.6
    for born in (he, pytorch):
        assert 0 <= born["layer_1"] < 0.02
