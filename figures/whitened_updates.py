"""Adam restores a vanished gradient's size; orthogonalised updates restore directions, and eight sigmoid layers train.

With PyTorch's default weights the gradient of a matrix W_l, the sum over images of delta_l h_{l-1}^T, loses its length
on the way down, with delta, and its *directions* on the way up, with what distinguishes one h from another: its second
singular value, over the first, falls layer by layer. Adam (Kingma & Ba 2015) gives each weight a step of the same size
and leaves a matrix of nearly rank one nearly so. The orthogonalised update replaces by about one those singular values
of the momentum that aren't too small for that: U V^T instead of U S V^T, by five steps of the Newton-Schulz iteration
of Muon (Jordan et al. 2024); it is what Shampoo (Gupta et al. 2018) does without its memory. Here it is scaled by its
largest entry first, so that no constant in a denominator matters.

The control, "normalised", takes the same momentum and a step of the same Frobenius norm in each matrix, and leaves the
singular values alone. Classifiers of 8 x 8 digits, layers of 32 units, 10 epochs in batches of 64, five rates each.
"""

from functools import partial
from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import band, band_traces, bars, best, derive_seeds, digits, sweep

SEED = 0
REPLICAS = 10  # networks whose gradients are measured before training
TRAINED = 5  # networks trained, of each kind at each learning rate
PIXELS, WIDTH = 64, 32  # inputs, and units in a layer
BATCH = 64  # images
DEPTHS = {"sigmoid": 8, "tanh": 16}  # hidden layers
TRIED = {  # optimisers
    "sigmoid": ["momentum", "adam", "adam_tiny", "normalised", "orthogonalised"],
    "tanh": ["adam", "normalised", "orthogonalised"],
}
PHI = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
SWEEP = {
    "rates": {
        "momentum": [0.01, 0.032, 0.1, 0.32, 1.0],
        "adam": [3.2e-4, 1e-3, 3.2e-3, 1e-2, 3.2e-2],
        "adam_tiny": [3.2e-4, 1e-3, 3.2e-3, 1e-2, 3.2e-2],
        "normalised": [1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1],
        "orthogonalised": [1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1],
    },
    "epochs": 10,
}
TOLERANCE = {"accuracy": 0.3, "first": 0.5, "last": 0.5}
WIDER = {
    "first.sigmoid.norm first.tanh.norm": (2.5, "a product over the layers"),
    "first.tanh.second": (2.0, "two singular values of like size"),
    "last.sigmoid.second last.tanh.second": (2.5, "a product over the layers"),
    "last.tanh.restored": (4.1, "a count of one or two"),
    "accuracy.sigmoid.normalised accuracy.sigmoid.normalised.lo": (2.0, "most may stay at guessing"),
    "accuracy.sigmoid.adam.hi accuracy.sigmoid.adam_tiny.hi accuracy.sigmoid.normalised.hi": (2.3, "one of five may"),
    "accuracy.tanh.adam.hi accuracy.tanh.normalised.hi": (4.0, "one or two of five may get further"),
    "first.sigmoid.error first.tanh.error last.sigmoid.error last.tanh.error": (2.2, "rounding errors"),
}
NAMES = {
    "momentum": "SGD with momentum",
    "adam": "Adam",
    "adam_tiny": "Adam, ε = 10⁻³⁰",
    "normalised": "normalised",
    "orthogonalised": "orthogonalised",
}


class Directed(torch.optim.Optimizer):
    """Steps of a given length along the momentum; a matrix's singular values are made equal first, if `whiten`.

    Parameters are those of a `Stack`: (networks, fan_out, fan_in), or (networks, fan_out).
    """

    def __init__(self, params: list, lr: float, whiten: bool) -> None:
        super().__init__(params, {"lr": lr})
        self.whiten = whiten

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.mul_(0.9).add_(p.grad)
                p.sub_(group["lr"] * self.direction(momentum))

    def direction(self, b: Tensor) -> Tensor:
        inner = tuple(range(1, b.dim()))
        x = b / b.abs().amax(inner, keepdim=True)  # first, so that no square underflows
        x = x / torch.linalg.vector_norm(x, dim=inner, keepdim=True)
        if b.dim() == 2:
            return x
        whitened = orthogonalise(x)
        return whitened if self.whiten else x * torch.linalg.vector_norm(whitened, dim=inner, keepdim=True)


def orthogonalise(x: Tensor) -> Tensor:
    """U S V^T becomes roughly U V^T: small singular values of a matrix of norm 1 grow 3.4445 times in each step."""
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x


OPTIMISERS = {
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "adam_tiny": partial(torch.optim.Adam, eps=1e-30),
    "normalised": partial(Directed, whiten=False),
    "orthogonalised": partial(Directed, whiten=True),
}


def build(phi: str, seed: int) -> nn.Sequential:
    """A classifier of 8 x 8 images with PyTorch's default weights."""
    torch.manual_seed(seed)
    sizes = [PIXELS] + [WIDTH] * DEPTHS[phi]
    layers = [module for n, m in pairwise(sizes) for module in (nn.Linear(n, m), PHI[phi]())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradients(phi: str, seed: int, dtype: torch.dtype, data: tuple) -> list[Tensor]:
    """The loss's gradient with respect to each hidden layer's weights, of one batch, in float64 when returned."""
    model = build(phi, seed).to(dtype)
    loss = F.cross_entropy(model(data[0][:BATCH].to(dtype)), data[1][:BATCH])
    return [g.double() for g in torch.autograd.grad(loss, [layer.weight for layer in model[:-1:2]])]


def at_start(phi: str, seed: int, data: tuple) -> dict[str, list[float]]:
    """By layer: the gradient's norm over the last one's, its second singular value over the first, the relative error
    of float32, and how many singular values of the orthogonalised gradient come to at least a half."""
    exact, rounded = (gradients(phi, seed, dtype, data) for dtype in (torch.float64, torch.float32))
    singular = [torch.linalg.svdvals(g) for g in exact]
    return {
        "norm": [float(g.norm() / exact[-1].norm()) for g in exact],
        "second": [float(s[1] / s[0]) for s in singular],
        "error": [float((r - g).norm() / g.norm()) for g, r in zip(exact, rounded, strict=True)],
        "restored": [float((torch.linalg.svdvals(orthogonalise(g / g.norm())) > 0.5).sum()) for g in exact],
    }


def measure(seed: int = SEED) -> dict:
    """Gradients before training, layer by layer, and test accuracies over learning rates."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)
    m: dict = {"start": {}, "swept": {}, "accuracy": {}, "first": {}, "last": {}}
    for phi in DEPTHS:
        found = m["start"][phi] = band([at_start(phi, s, data) for s in seeds])
        m["first"][phi] = {key: of["median"][0] for key, of in found.items()}
        m["last"][phi] = {key: of["median"][-1] for key, of in found.items() if key != "norm"}  # whose norm is 1
        settings = SWEEP | {"rates": {name: SWEEP["rates"][name] for name in TRIED[phi]}, "seeds": seeds[:TRAINED]}
        m["swept"][phi] = sweep(partial(build, phi), data, optimisers=OPTIMISERS, **settings)
        m["accuracy"][phi] = {name: best({name: swept}) for name, swept in m["swept"][phi].items()}
    return m


def draw(m: dict) -> go.Figure:
    """The gradient's length and its second direction before training, by layer; below, accuracy by optimiser."""
    fig = make_subplots(rows=2, cols=1, row_heights=[0.55, 0.45], vertical_spacing=0.2)
    for phi, depth in DEPTHS.items():
        layers = list(range(1, depth + 1))
        dash = {"line": {"dash": "dot"}} if phi == "tanh" else {}
        for key, name, role in [("norm", "norm, over last layer’s", "vanishing"), ("second", "σ₂ / σ₁", None)]:
            traces = band_traces(layers, m["start"][phi][key], f"{name}: {phi}", role)
            traces[1].update(dash)
            fig.add_traces(traces, rows=1, cols=1)
    for phi, depth in DEPTHS.items():
        reached = bars([m["accuracy"][phi][name] for name in TRIED[phi]], "x") | {"orientation": "h"}
        fig.add_bar(y=[NAMES[name] for name in TRIED[phi]], **reached, name=f"{depth} layers, {phi}", row=2, col=1)
    fig.update_xaxes(title="layer", row=1, col=1)
    fig.update_yaxes(title="gradient of weights", type="log", row=1, col=1)
    fig.update_xaxes(title="accuracy on test images, best of five rates", range=[0, 1], row=2, col=1)
    return fig.update_yaxes(categoryorder="array", categoryarray=list(NAMES.values())[::-1], row=2, col=1)


def claim_size_alone_is_not_enough(m):
    """In the median eight sigmoid layers stay at {accuracy.sigmoid.momentum:.2f} with momentum, and at the best of five
    rates get to {accuracy.sigmoid.adam:.2f} by Adam, to {accuracy.sigmoid.adam_tiny:.2f} with ε = 10⁻³⁰ and to
    {accuracy.sigmoid.normalised:.2f} by normalised steps; sixteen tanh layers to {accuracy.tanh.adam:.2f} by Adam and
    to {accuracy.tanh.normalised:.2f} by normalised steps."""
    momentum = m["accuracy"]["sigmoid"]["momentum"]
    assert 0.07 < momentum["lo"] <= momentum["median"] <= momentum["hi"] < 0.145
    for phi, of in m["accuracy"].items():
        for name in of.keys() - {"momentum", "orthogonalised"}:
            least = 0.07 if (phi, name) == ("sigmoid", "normalised") else 0.13  # most may stay at guessing
            assert least < of[name]["lo"] <= of[name]["median"] < 0.35
            most = 0.45 if phi == "sigmoid" else 0.8  # one or two of five may get further
            assert of[name]["median"] <= of[name]["hi"] < most


def claim_directions_are(m):
    """By orthogonalised steps, as long as the normalised ones, the sigmoid network reaches
    {accuracy.sigmoid.orthogonalised:.2f} and the tanh network {accuracy.tanh.orthogonalised:.2f}."""
    for of in m["accuracy"].values():
        reached = of["orthogonalised"]
        assert 0.75 < reached["lo"] <= reached["median"] <= reached["hi"] < 0.99


def claim_length_goes_down_and_directions_go_up(m):
    """With sigmoids the first layer's gradient is {first.sigmoid.norm:.0e} of the last one's; its second singular
    value is {first.sigmoid.second:.2f} of its first, the last one's {last.sigmoid.second:.0e}. With tanh:
    {first.tanh.norm:.0e}, {first.tanh.second:.2f} and {last.tanh.second:.0e}."""
    assert 1.7e-6 < m["first"]["sigmoid"]["norm"] < 9e-6
    assert 1.3e-3 < m["first"]["tanh"]["norm"] < 6e-3
    assert 0.4 < m["first"]["sigmoid"]["second"] < 0.85
    assert 0.33 < m["first"]["tanh"]["second"] < 0.95
    assert 5e-7 < m["last"]["sigmoid"]["second"] < 2.7e-6
    assert 5e-4 < m["last"]["tanh"]["second"] < 2.6e-3


def claim_five_steps_reach_so_far(m):
    """Orthogonalising brings {first.sigmoid.restored:.0f} of 32 singular values to a half in the first sigmoid layer
    and {last.sigmoid.restored:.0f} in the last; with tanh {first.tanh.restored:.0f} and {last.tanh.restored:.0f}."""
    assert 18 < m["first"]["sigmoid"]["restored"] < 30
    assert 22 < m["first"]["tanh"]["restored"] <= 32
    assert m["last"]["sigmoid"]["restored"] == 1
    assert 0.5 < m["last"]["tanh"]["restored"] < 4


def claim_the_first_layers_gradient_is_sharp(m):
    """Float32 errs by {first.sigmoid.error:.0e} of the first sigmoid layer's gradient, by {last.sigmoid.error:.0e} of
    the last one's; with tanh by {first.tanh.error:.0e} and {last.tanh.error:.0e}."""
    for at in (*m["first"].values(), *m["last"].values()):
        assert 1.3e-7 < at["error"] < 4.3e-7
