"""Adam divides a vanished gradient by its own size, which hides the problem until the gradient falls below epsilon.

Adam's first step for a parameter with gradient g is rate * g / (|g| + eps), whatever the size of g, as long as that is
above eps = 1e-8 (Kingma & Ba 2015, algorithm 1). ReLU classifiers of digits with PyTorch's default weights hand back
1/sqrt(6) of the gradient per layer: at some depth the first layers' gradients are smaller than eps, and Adam stands
still like plain gradient descent. A smaller epsilon moves that depth further out.

What it can't restore is the signal. The gradient that arrives is neither more noisy than the last layer's (signal to
noise: the norm of the mean of the training batches' gradients over their root mean square deviation) nor worse rounded
(the error is that of float32 against float64, relative). But after 24 layers the activations hardly depend on the image
any more: their deviation from the mean over the images is compared with their size.
"""

import copy
from functools import partial

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import band, band_traces, bars, best, derive_seeds, digits, sweep

SEED = 0
REPLICAS = 10  # networks whose first step is measured
TRAINED = 3  # networks trained, of each kind at each learning rate
SHALLOW, DEEP = 15, 24  # hidden layers
PIXELS, WIDTH = 64, 32  # inputs, and units in a layer
BATCH = 64  # images
RATE = 1e-3  # Adam's learning rate for the first step
SWEEP = {
    "rates": {
        "sgd": [0.1, 0.32, 1.0, 3.2, 10.0],
        "momentum": [0.01, 0.032, 0.1, 0.32, 1.0],
        "adam": [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2],
        "adam_tiny": [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2],
    },
    "epochs": 20,
}
OPTIMISERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,  # eps = 1e-8
    "adam_tiny": partial(torch.optim.Adam, eps=1e-16),
}
NAMES = {"sgd": "SGD", "momentum": "SGD with momentum", "adam": "Adam", "adam_tiny": "Adam, ε = 10⁻¹⁶"}
RUNS = [("sgd", SHALLOW), ("momentum", SHALLOW), ("adam", SHALLOW), ("adam", DEEP), ("adam_tiny", DEEP)]
TOLERANCE = {"accuracy": 0.7, "error": 0.8, "noise": 0.1}
WIDER = {
    "step.sgd": (7.0, "a product over 24 layers"),
    "step.adam": (8.0, "the same over epsilon"),
    "accuracy.adam_15": (2.0, "in the middle of its training"),
    "accuracy.adam_15.lo": (4.0, "one of three begins late now and then"),
    "accuracy.adam_tiny_24 accuracy.adam_tiny_24.hi": (2.0, "in the middle of its training"),
    "accuracy.adam_tiny_24.lo": (6.0, "one of three may not have begun"),
    "error.first error.last": (3.0, "rounding errors, which add up as chance has it"),
    "accuracy.adam_24.hi": (4.5, "at the largest rate one network in eighteen begins to learn"),
    "noise.last": (1.8, "few batches, and networks of small width"),
    "signal": (4.0, "a product over 24 layers"),
}


def build(depth: int, seed: int) -> nn.Sequential:
    """A classifier of 8 x 8 images with PyTorch's default weights."""
    torch.manual_seed(seed)
    layers = [module for i in range(depth) for module in (nn.Linear(WIDTH if i else PIXELS, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradients(model: nn.Sequential, x: Tensor, y: Tensor) -> list[Tensor]:
    """The loss's gradient with respect to each hidden layer's weights, first to last."""
    return list(torch.autograd.grad(F.cross_entropy(model(x), y), [layer.weight for layer in model[:-1:2]]))


def first_step(optimiser: str, model: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, list[float]]:
    """Each weight matrix's first update and what Adam's formula says of it, both over the matrix's own norm."""
    start = copy.deepcopy(model)
    F.cross_entropy(model(x), y).backward()
    OPTIMISERS[optimiser](model.parameters(), lr=1.0 if optimiser == "sgd" else RATE).step()
    eps = 1e-16 if optimiser == "adam_tiny" else 1e-8
    found = {"steps": [], "formula": []}
    for layer, old in zip(model[:-1:2], start[:-1:2], strict=True):
        W, g = old.weight.detach(), layer.weight.grad
        found["steps"].append(float((layer.weight.detach() - W).norm() / W.norm()))
        found["formula"].append(float((RATE * g / (g.abs() + eps)).norm() / W.norm()))
    return found


def quality(model: nn.Sequential, x: Tensor, y: Tensor) -> dict:
    """Rounding error and signal to noise of the first and the last hidden layer's gradient; the last one's signal."""
    exact = copy.deepcopy(model).double()
    rounded = gradients(model, x[:BATCH], y[:BATCH])
    batches = [gradients(exact, a.double(), b) for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
    found = {"error": [], "noise": []}
    for layer in (0, -1):
        g = torch.stack([batch[layer] for batch in batches])  # (batches, fan_out, fan_in)
        found["error"].append(float((rounded[layer] - g[0]).norm() / g[0].norm()))
        found["noise"].append(float(g.mean(0).norm() / (g - g.mean(0)).square().sum((1, 2)).mean().sqrt()))
    h = exact[:-1](x.double()).detach()  # (images, units)
    return found | {"signal": float((h - h.mean(0)).norm() / h.norm())}


def measure(seed: int = SEED) -> dict:
    """First steps by layer, what is left of gradient and signal, and test accuracies over learning rates."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)
    x, y = data[0][:BATCH].double(), data[1][:BATCH]
    m: dict = {"steps": {}, "formula": {}, "step": {}, "swept": {}, "accuracy": {}}
    for optimiser in ("sgd", "adam", "adam_tiny"):
        found = band([first_step(optimiser, build(DEEP, s).double(), x, y) for s in seeds])
        m["steps"][optimiser], m["step"][optimiser] = found["steps"], found["steps"]["median"][0]
        if optimiser != "sgd":
            m["formula"][optimiser] = found["formula"]["median"]
    found = band([quality(build(DEEP, s), data[0], data[1]) for s in seeds])
    m["signal"] = found["signal"]["median"]
    for kind in ("error", "noise"):
        m[kind] = dict(zip(("first", "last"), found[kind]["median"], strict=True))
    for optimiser, depth in RUNS:
        kind, settings = f"{optimiser}_{depth}", SWEEP | {"rates": {optimiser: SWEEP["rates"][optimiser]}}
        swept = sweep(partial(build, depth), data, seeds=seeds[:TRAINED], optimisers=OPTIMISERS, **settings)
        m["swept"][kind], m["accuracy"][kind] = swept[optimiser], best(swept)
    return m


def draw(m: dict) -> go.Figure:
    """First steps in 24 layers; below, accuracy after 20 epochs in batches of 64, at all rates and the best."""
    fig = make_subplots(rows=2, cols=1, row_heights=[0.6, 0.4], vertical_spacing=0.2)
    layers = list(range(1, DEEP + 1))
    for optimiser, steps in m["steps"].items():
        role = "vanishing" if optimiser == "sgd" else None
        fig.add_traces(band_traces(layers, steps, NAMES[optimiser], role), rows=1, cols=1)
    for formula in m["formula"].values():
        fig.add_scatter(x=layers, y=formula, name="g / (|g| + ε)", mode="lines", meta="theory", row=1, col=1)
    labels = [f"{NAMES[optimiser]}, {depth} layers" for optimiser, depth in RUNS]
    reached = bars(list(m["accuracy"].values()), "x") | {"orientation": "h", "meta": "reference"}
    fig.add_bar(y=labels, **reached, name="best rate", showlegend=False, row=2, col=1)
    accuracies = [accuracy for swept in m["swept"].values() for accuracy in swept["median"]]
    each = {"x": accuracies, "y": [label for label in labels for _ in range(5)], "mode": "markers"}
    fig.add_scatter(**each, name="each rate", showlegend=False, row=2, col=1)
    fig.update_xaxes(title="layer", row=1, col=1)
    fig.update_yaxes(title="first step over weight,<br>norms", type="log", row=1, col=1)
    fig.update_xaxes(title="accuracy on test images, bars: best of five rates", range=[0, 1], row=2, col=1)
    return fig.update_yaxes(categoryorder="array", categoryarray=labels[::-1], row=2, col=1)


def claim_adam_hides_a_vanished_gradient(m):
    """In 15 layers gradient descent stays at chance, {accuracy.sgd_15:.2f} at the best of five rates and
    {accuracy.momentum_15:.2f} with momentum; Adam reaches {accuracy.adam_15:.2f} at its best."""
    for run, low, high in [("sgd_15", 0.07, 0.15), ("momentum_15", 0.07, 0.15), ("adam_15", 0.25, 0.98)]:
        reached = m["accuracy"][run]
        assert low < reached["lo"] <= reached["median"] <= reached["hi"] < high
    assert m["accuracy"]["adam_15"]["median"] > 0.6


def claim_epsilon_is_where_it_ends(m):
    """In 24 layers Adam gets to {accuracy.adam_24:.2f} at the best of five rates; with ε = 10⁻¹⁶ instead of
    10⁻⁸ the same networks reach {accuracy.adam_tiny_24:.2f}."""
    usual, tiny = m["accuracy"]["adam_24"], m["accuracy"]["adam_tiny_24"]
    assert 0.07 < usual["lo"] <= usual["median"] <= usual["hi"] < 0.4
    assert 0.07 < tiny["lo"] <= tiny["median"] <= tiny["hi"] < 0.95
    assert tiny["median"] > max(0.37, usual["median"] + 0.25)


def claim_the_gradient_is_neither_noise_nor_rounding_error(m):
    """In 24 layers float32 errs by {error.first:.0e} of the first hidden layer's gradient and by {error.last:.0e} of
    the last one's. A batch's gradient has a signal to noise of {noise.first:.2f} at the first, of {noise.last:.2f} at
    the last."""
    assert 2e-7 < m["error"]["first"] < 1e-6
    assert 1.6e-7 < m["error"]["last"] < 1e-6
    assert 0.85 < m["noise"]["first"] < 1.6
    assert 0.2 < m["noise"]["last"] < 0.45


def claim_the_signal_is_lost(m):
    """After 24 layers the activations deviate from their mean over the images by {signal:.0e} of their size."""
    assert 4.5e-10 < m["signal"] < 6e-9


def claim_the_first_step_tells(m):
    """In 24 layers the first step moves the first layer's weights by {step.sgd:.0e} of their norm with SGD at a rate
    of 1, by {step.adam:.0e} with Adam at 0.001 and by {step.adam_tiny:.3f} with ε = 10⁻¹⁶, as its formula has it."""
    assert 2e-11 < m["step"]["sgd"] < 6e-10
    assert 2e-6 < m["step"]["adam"] < 7e-5
    assert 0.011 < m["step"]["adam_tiny"] < 0.016
    for optimiser, formula in m["formula"].items():
        pairs = zip(m["steps"][optimiser]["median"], formula, strict=True)
        assert all(abs(step / theory - 1) < 1e-3 for step, theory in pairs)
    assert min(m["steps"]["adam_tiny"]["median"]) > 0.003  # every layer moves
