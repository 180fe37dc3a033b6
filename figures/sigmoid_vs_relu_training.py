"""At 3 layers sigmoid and ReLU both train, at 24 both may fail: what counts is the gradient that reaches the weights.

The comparison that many pages announce, run: sigmoid against ReLU on the same images of digits, in classifiers of 3 and
24 hidden layers of 64 units, from three initialisations, 6 epochs in batches of 64, by Adam and by gradient descent at
five learning rates each. A bar is the best of the ten. Above it stands the gradient with respect to the pre-activations
at the first hidden layer over the last one's, before training. Theory has it as the rate per layer to the power of the
layers between, sqrt(fan_in var(W) E[phi'²]) each (Schoenholz et al. 2017).

ReLU with Xavier's weights is the odd one: its gradient vanishes, and by Adam it trains. Adam divides the gradient of a
weight by its recent size plus epsilon = 1e-8 (Kingma & Ba 2015, algorithm 1). Three controls show that this epsilon
decides, and not whether the weights' gradients are equally large in all layers, as they are at Xavier's scale without
biases (Glorot & Bengio 2010, section 4.2.1).
"""

import math
from functools import partial
from itertools import product

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs import experiments, theory
from vgdocs.experiments import SIGMA_W2, band, bars, best, derive_seeds, digits, sweep
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks of each kind, at each learning rate
DEPTHS = {"shallow": 3, "deep": 24}  # hidden layers
WIDTH = 64  # units in a layer, and pixels
SWEEP = {
    "rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.03, 0.1, 0.3, 1.0, 3.0]},
    "epochs": 6,
    "batch_size": 64,
}

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}
INITS = {"pytorch": "PyTorch", "xavier": "Xavier", "he": "He"}
CONTROLS = {  # init, biases, and what is tried; all of 24 ReLU layers
    "xavier_biases": ("xavier", True, {"adam": [3e-4, 3e-3]}),
    "pytorch_no_biases": ("pytorch", False, {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}),
    "pytorch_small_epsilon": ("pytorch", True, {"small_epsilon": [1e-3, 3e-3]}),
}
OPTIMISERS = experiments.OPTIMISERS | {"small_epsilon": partial(torch.optim.Adam, eps=1e-16)}
# Training magnifies rounding: data scaled by 1 + 1e-6 took the worst relu_xavier_deep from 0.34 to 0.29, the best from
# 0.72 to 0.43 at one of its rates. What is measured before training doesn't move.
TOLERANCE = {
    "accuracy": 0.1,
    "accuracy.relu_he_deep": 0.3,
    "accuracy.relu_xavier_deep": 1.0,
    "ratio": 0.05,
    "control": 0.9,
    "weight_gradient": 0.05,
    "slow": 0.3,
}
WIDER = {
    "ratio.sigmoid_xavier_shallow ratio.sigmoid_he_shallow": (2.0, "theory is for layers far from the input"),
    "ratio.sigmoid_pytorch_deep ratio.sigmoid_xavier_deep": (7.0, "a product over 23 layers of finite width"),
    "ratio.sigmoid_he_deep ratio.relu_pytorch_deep": (7.0, "a product over 23 layers of finite width"),
    "ratio.relu_xavier_deep ratio.relu_he_deep": (7.0, "a product over 23 layers of finite width"),
    "weight_gradient.pytorch_first weight_gradient.pytorch_last "
    "weight_gradient.xavier_first weight_gradient.xavier_last "
    "weight_gradient.xavier_biases_first weight_gradient.xavier_biases_last "
    "weight_gradient.pytorch_no_biases_first "
    "weight_gradient.pytorch_no_biases_last": (9.0, "products over 23 layers of finite width"),
    "accuracy.relu_xavier_deep accuracy.relu_xavier_deep.lo accuracy.relu_xavier_deep.hi "
    "control.xavier_biases control.pytorch_small_epsilon": (3.0, "half-trained networks differ"),
    "control.pytorch_no_biases": (2.3, "now and then two of three have learnt two classes of ten"),
    "slow.sigmoid": (3.0, "half-trained networks differ"),
}


def build(activation: str, init: str, depth: int, biases: bool, seed: int) -> nn.Sequential:
    """A classifier of 8 x 8 images; biases are PyTorch's or zero."""
    torch.manual_seed(seed)  # PyTorch's own initialisation takes no generator
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH)
        if init == "xavier":
            nn.init.xavier_normal_(linear.weight)
        elif init == "he":
            nn.init.kaiming_normal_(linear.weight)
        if not biases:
            nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradients(model: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, float]:
    """Gradient w.r.t. pre-activations, first hidden layer over last, and root mean square of that w.r.t. weights."""
    *hidden, output = model
    z, h = [], x
    for linear, phi in zip(hidden[::2], hidden[1::2], strict=True):
        z.append(linear(h))  # (images, WIDTH)
        h = phi(z[-1])
    wrt = [z[0], z[-1], hidden[0].weight, hidden[-2].weight]
    norms = norms_of_gradients(F.cross_entropy(output(h), y), wrt)
    return {"ratio": ratio(norms[:2]), "first": norms[2] / WIDTH, "last": norms[3] / WIDTH}


def measure(seed: int = SEED) -> dict:
    """Gradient before and accuracy after training, for each activation, initialisation and depth; and the controls."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)

    def untrained(*kind) -> dict[str, float]:
        before = band([gradients(build(*kind, s), *data[:2]) for s in seeds])
        return {name: of_seeds["median"] for name, of_seeds in before.items()}

    m = {"accuracy": {}, "swept": {}, "ratio": {}, "theory": {}, "weight_gradient": {}, "control": {}}
    for depth, init, activation in product(DEPTHS, INITS, ACTIVATIONS):
        kind, parts = f"{activation}_{init}_{depth}", (activation, init, DEPTHS[depth], init == "pytorch")
        m["swept"][kind] = sweep(partial(build, *parts), data, seeds=seeds, **SWEEP)
        m["accuracy"][kind] = best(m["swept"][kind])
        before = untrained(*parts)
        m["ratio"][kind] = before["ratio"]
        rate = theory.rate(theory.ACTIVATIONS[activation], SIGMA_W2[init])
        m["theory"][kind] = [rate ** (DEPTHS[depth] - 1)]
        if kind in ("relu_xavier_deep", "relu_pytorch_deep"):
            m["weight_gradient"] |= {f"{init}_first": before["first"], f"{init}_last": before["last"]}
    slow = {"sigmoid": "sigmoid_pytorch", "sigmoid_he": "sigmoid_he", "relu": "relu_pytorch"}
    at = SWEEP["rates"]["adam"].index(1e-3)
    m["slow"] = {name: m["swept"][f"{kind}_shallow"]["adam"]["median"][at] for name, kind in slow.items()}
    for name, (init, biases, rates) in CONTROLS.items():
        parts, settings = ("relu", init, DEPTHS["deep"], biases), SWEEP | {"rates": rates, "optimisers": OPTIMISERS}
        m["control"][name] = best(sweep(partial(build, *parts), data, seeds=seeds, **settings))["median"]
        if name != "pytorch_small_epsilon":
            before = untrained(*parts)
            m["weight_gradient"] |= {f"{name}_first": before["first"], f"{name}_last": before["last"]}
    return m


def brief(value: float) -> str:
    return f"{value:.1g}" if value > 0.01 else f"10<sup>−{round(-math.log10(value))}</sup>"


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    groups = list(product(DEPTHS, INITS))
    for activation, name in {"sigmoid": "sigmoid", "relu": "ReLU"}.items():
        kinds = [f"{activation}_{init}_{depth}" for depth, init in groups]
        fig.add_bar(
            x=[[f"{DEPTHS[depth]} layers" for depth, _ in groups], [INITS[init] for _, init in groups]],
            **bars([m["accuracy"][kind] for kind in kinds]),
            text=[brief(m["ratio"][kind]) for kind in kinds],
            textposition="outside",
            name=name,
        )
    fig.update_xaxes(title="initialisation; above the bars: ‖∂L/∂z‖, first / last layer")
    fig.update_yaxes(title="accuracy on test images", range=[0, 1.1])
    return fig.update_layout(barmode="group", height=460)


def claim_at_three_layers_both_train(m):
    """In 3 layers and at its best learning rate the sigmoid reaches {accuracy.sigmoid_pytorch_shallow:.2f} with
    PyTorch's default weights, {accuracy.sigmoid_xavier_shallow:.2f} with Xavier's and
    {accuracy.sigmoid_he_shallow:.2f} with He's; ReLU {accuracy.relu_pytorch_shallow:.2f},
    {accuracy.relu_xavier_shallow:.2f} and {accuracy.relu_he_shallow:.2f}."""
    for kind, accuracy in m["accuracy"].items():
        assert accuracy["lo"] <= accuracy["median"] <= accuracy["hi"] <= 1
        if kind.endswith("shallow"):
            assert accuracy["lo"] > 0.85


def claim_three_layers_of_sigmoids_depend_on_the_rate(m):
    """By Adam at 0.001 the sigmoid with PyTorch's default weights is at {slow.sigmoid:.2f} when ReLU is at
    {slow.relu:.2f}; at 0.01 it has made up most of that. From He's weights the sigmoid is at {slow.sigmoid_he:.2f} at
    0.001."""
    assert 0.2 < m["slow"]["sigmoid"] < 0.75
    assert 0.5 < m["slow"]["sigmoid_he"] < 0.83
    assert 0.85 < m["slow"]["relu"] <= 1
    at_ten_times = m["swept"]["sigmoid_pytorch_shallow"]["adam"]["median"][SWEEP["rates"]["adam"].index(0.01)]
    assert m["slow"]["relu"] - at_ten_times < (m["slow"]["relu"] - m["slow"]["sigmoid"]) / 2
    assert m["slow"]["sigmoid"] < m["slow"]["sigmoid_he"] < at_ten_times


def claim_at_24_layers_the_initialisation_decides(m):
    """In 24 layers the sigmoid stays at chance from every initialisation and at each of ten learning rates (at best
    {accuracy.sigmoid_pytorch_deep:.2f}, {accuracy.sigmoid_xavier_deep:.2f}, {accuracy.sigmoid_he_deep:.2f}), and so
    does ReLU from PyTorch's default ({accuracy.relu_pytorch_deep:.2f}); from Xavier's it reaches
    {accuracy.relu_xavier_deep:.2f}, from He's {accuracy.relu_he_deep:.2f}."""
    for kind in ("sigmoid_pytorch_deep", "sigmoid_xavier_deep", "sigmoid_he_deep", "relu_pytorch_deep"):
        assert 0.07 < m["accuracy"][kind]["lo"] <= m["accuracy"][kind]["median"] <= m["accuracy"][kind]["hi"] < 0.14
        assert max(max(at["hi"]) for at in m["swept"][kind].values()) < 0.15
    by_sgd = m["swept"]["relu_xavier_deep"]["sgd"]
    assert max(by_sgd["median"]) < 0.15
    assert max(by_sgd["hi"]) < 0.25  # one network of another seed came to 0.17
    assert m["accuracy"]["relu_xavier_deep"]["lo"] > 0.15
    assert 0.25 < m["accuracy"]["relu_xavier_deep"]["median"] < 0.9
    assert m["accuracy"]["relu_he_deep"]["lo"] > 0.7


def claim_the_gradient_is_that_of_theory(m):
    """Before training, the gradient at the first layer over the last is {ratio.sigmoid_pytorch_shallow:.2f} for the
    sigmoid and {ratio.relu_pytorch_shallow:.2f} for ReLU in 3 layers with PyTorch's default weights, and
    {ratio.sigmoid_pytorch_deep:.0e} and {ratio.relu_pytorch_deep:.0e} in 24: the rate of theory, layer for layer."""
    for kind in m["ratio"]:
        allowed = 1.4 if kind.endswith("shallow") else 2.5
        (expected,) = m["theory"][kind]
        assert abs(math.log(m["ratio"][kind] / expected)) < math.log(allowed)


def claim_adams_epsilon_decides(m):
    """A weight's gradient at the first of 24 ReLU layers is {weight_gradient.xavier_first:.0e} with Xavier's weights,
    far above Adam's epsilon, and {weight_gradient.pytorch_first:.0e} with PyTorch's, far below. With an epsilon of
    1e-16 the latter begin to train, to {control.pytorch_small_epsilon:.2f}."""
    assert 1.2e-7 < m["weight_gradient"]["xavier_first"] < 7e-6
    assert 1e-12 < m["weight_gradient"]["pytorch_first"] < 5e-11
    assert 0.15 < m["control"]["pytorch_small_epsilon"] < 0.85


def claim_level_or_not_does_not(m):
    """With Xavier's weights and PyTorch's biases the last layer's weights get {weight_gradient.xavier_biases_last:.0e}
    and the first layer's {weight_gradient.xavier_biases_first:.0e}, and the network trains, to
    {control.xavier_biases:.2f}. With PyTorch's weights and no biases all get about the same, from
    {weight_gradient.pytorch_no_biases_first:.0e} to {weight_gradient.pytorch_no_biases_last:.0e}, and it stays at
    {control.pytorch_no_biases:.2f}."""
    g = m["weight_gradient"]
    assert 10 < g["xavier_biases_last"] / g["xavier_biases_first"] < 400
    assert 2e-7 < g["xavier_biases_first"] < 1e-5
    assert 1 / 6 < g["pytorch_no_biases_last"] / g["pytorch_no_biases_first"] < 4.5
    assert 5e-13 < g["pytorch_no_biases_first"] < 5e-11
    assert 1 / 6 < g["xavier_last"] / g["xavier_first"] < 3.8
    assert 1e-5 < g["pytorch_last"] < 4e-4
    assert 0.07 < m["control"]["pytorch_no_biases"] < 0.23
    assert 0.25 < m["control"]["xavier_biases"] < 0.95
