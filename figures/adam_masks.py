"""Adam divides a vanished gradient by its own size, which hides the problem until the gradient falls below epsilon.

Adam's first step for a parameter with gradient g is rate * g / (|g| + eps), whatever the size of g, as long as that is
above eps = 1e-8 (Kingma & Ba 2015, algorithm 1). ReLU classifiers of digits with PyTorch's default weights hand back
1/sqrt(6) of the gradient per layer: at some depth the first layers' gradients are smaller than eps, and Adam stands
still like plain gradient descent. A smaller epsilon moves that depth further out; it does not repair the signal.

Upper panel: the first step of each optimiser, layer by layer, in 24 layers. Lower panel: the accuracy after 20 epochs
in batches of 64.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import accuracy, band, band_traces, derive_seeds, digits, train

SEED = 0
REPLICAS = 10  # networks whose first step is measured
TRAINED = 3  # networks trained, of each kind
SHALLOW, DEEP = 15, 24  # hidden layers
WIDTH = 64  # units in a layer, and pixels
BATCH = 64  # images
EPOCHS = 20
RATE = 1e-3  # Adam's learning rate

OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    "slow_sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=RATE),  # eps = 1e-8
    "adam_tiny": lambda parameters: torch.optim.Adam(parameters, lr=RATE, eps=1e-16),
}
NAMES = {"sgd": "SGD at 1", "slow_sgd": "SGD at 0.1", "adam": "Adam", "adam_tiny": "Adam, ε = 10⁻¹⁶"}
RUNS = [("slow_sgd", SHALLOW), ("sgd", SHALLOW), ("adam", SHALLOW), ("adam", DEEP), ("adam_tiny", DEEP)]
ROLES = {"sgd": "vanishing"}
TOLERANCE = {"accuracy": 0.3}
WIDER = {
    "step.sgd": (7.0, "a product over 24 layers"),
    "step.adam": (8.0, "the same over epsilon"),
    "accuracy.adam_15": (2.0, "in the middle of its training"),
    "accuracy.adam_tiny_24": (2.0, "in the middle of its training"),
}


def build(depth: int) -> tuple[nn.Sequential, list[torch.Tensor]]:
    """A classifier of 8 x 8 images with PyTorch's default weights, and its hidden layers' weight matrices."""
    linear = [nn.Linear(WIDTH, WIDTH) for _ in range(depth)]
    layers = [module for layer in linear for module in (layer, nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10)), [layer.weight for layer in linear]


def first_step(optimiser: str, x: torch.Tensor, y: torch.Tensor) -> dict[str, list[float]]:
    """Each weight matrix's first update and what Adam's formula says of it, both over the matrix's own norm."""
    model, weights = build(DEEP)
    model.double()
    before = [W.detach().clone() for W in weights]
    F.cross_entropy(model(x.double()), y).backward()
    OPTIMISERS[optimiser](model.parameters()).step()
    eps = 1e-16 if optimiser == "adam_tiny" else 1e-8
    steps, formula = [], []
    for W, old in zip(weights, before, strict=True):
        steps.append(float((W.detach() - old).norm() / old.norm()))
        formula.append(float((RATE * W.grad / (W.grad.abs() + eps)).norm() / old.norm()))
    return {"steps": steps, "formula": formula}


def measure(seed: int = SEED) -> dict:
    """First steps by layer, and test accuracies."""
    data = digits()
    m = {"steps": {}, "formula": {}, "step": {}, "accuracy": {}, "accuracies": {}}
    seeds = derive_seeds(seed, REPLICAS)
    for optimiser in ("sgd", "adam", "adam_tiny"):
        runs = []
        for s in seeds:
            torch.manual_seed(s)
            runs.append(first_step(optimiser, data[0][:BATCH], data[1][:BATCH]))
        m["steps"][optimiser] = band([run["steps"] for run in runs])
        m["step"][optimiser] = m["steps"][optimiser]["median"][0]
        if optimiser != "sgd":
            m["formula"][optimiser] = band([run["formula"] for run in runs])["median"]
    for optimiser, depth in RUNS:
        kind, results = f"{optimiser}_{depth}", []
        for s in seeds[:TRAINED]:
            torch.manual_seed(s)
            model, _ = build(depth)
            generator = torch.Generator().manual_seed(s)
            train(
                model,
                data,
                epochs=EPOCHS,
                lr=RATE,
                optimiser=lambda p, lr, make=OPTIMISERS[optimiser]: make(p),
                generator=generator,
            )
            results.append(accuracy(model, data[2], data[3]))
        m["accuracies"][kind], m["accuracy"][kind] = results, band(results)["median"]
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, row_heights=[0.6, 0.4], vertical_spacing=0.2)
    layers = list(range(1, DEEP + 1))
    for optimiser, steps in m["steps"].items():
        fig.add_traces(band_traces(layers, steps, NAMES[optimiser], ROLES.get(optimiser)), rows=1, cols=1)
    for optimiser, formula in m["formula"].items():
        fig.add_scatter(
            x=layers,
            y=formula,
            name="g / (|g| + ε)",
            legendgroup="theory",
            showlegend=optimiser == "adam",
            mode="lines",
            meta={"role": "theory"},
            row=1,
            col=1,
        )
    labels = [f"{NAMES[optimiser]}, {depth} layers" for optimiser, depth in RUNS]
    bars = [m["accuracies"][f"{optimiser}_{depth}"] for optimiser, depth in RUNS]
    middle = [band(values)["median"] for values in bars]
    fig.add_bar(
        x=middle,
        y=labels,
        error_x={
            "array": [max(values) - at for values, at in zip(bars, middle, strict=True)],
            "arrayminus": [at - min(values) for values, at in zip(bars, middle, strict=True)],
        },
        orientation="h",
        showlegend=False,
        meta={"role": "reference"},
        row=2,
        col=1,
    )
    fig.update_xaxes(title="layer", row=1, col=1)
    fig.update_yaxes(title="first step over weight,<br>norms", type="log", exponentformat="power", row=1, col=1)
    fig.update_xaxes(title="accuracy on test images", range=[0, 1], row=2, col=1)
    fig.update_yaxes(categoryorder="array", categoryarray=labels[::-1], row=2, col=1)
    return fig


def claim_adam_hides_a_vanished_gradient(m):
    """In 15 layers SGD stays at chance, {accuracy.sgd_15:.2f} at a rate of 1 and {accuracy.slow_sgd_15:.2f} at 0.1;
    Adam reaches {accuracy.adam_15:.2f}."""
    for kind in ("sgd_15", "slow_sgd_15"):
        assert max(m["accuracies"][kind]) < 0.15
        assert 0.07 < m["accuracy"][kind] < 0.15
    assert min(m["accuracies"]["adam_15"]) > 0.3
    assert 0.45 < m["accuracy"]["adam_15"] < 0.98


def claim_epsilon_is_where_it_ends(m):
    """In 24 layers Adam stays at chance ({accuracy.adam_24:.2f}); with ε = 10⁻¹⁶ instead of 10⁻⁸ the same networks
    reach {accuracy.adam_tiny_24:.2f}."""
    assert max(m["accuracies"]["adam_24"]) < 0.15
    assert 0.07 < m["accuracy"]["adam_24"] < 0.15
    for tiny, usual in zip(m["accuracies"]["adam_tiny_24"], m["accuracies"]["adam_24"], strict=True):
        assert tiny - usual > 0.15
    assert 0.35 < m["accuracy"]["adam_tiny_24"] < 0.85


def claim_the_first_step_tells(m):
    """In 24 layers the first step moves the first layer's weights by {step.sgd:.0e} of their norm with SGD at a rate
    of 1, by {step.adam:.0e} with Adam and by {step.adam_tiny:.3f} with Adam and ε = 10⁻¹⁶, as its formula has it."""
    assert 2e-11 < m["step"]["sgd"] < 6e-10
    assert 2e-6 < m["step"]["adam"] < 8e-5
    assert 0.011 < m["step"]["adam_tiny"] < 0.016
    for optimiser in ("adam", "adam_tiny"):
        assert m["step"][optimiser] == m["steps"][optimiser]["median"][0]
        for measured, formula in zip(m["steps"][optimiser]["median"], m["formula"][optimiser], strict=True):
            assert abs(measured / formula - 1) < 1e-3
    assert min(m["steps"]["adam_tiny"]["lo"]) > 0.003  # every layer moves
