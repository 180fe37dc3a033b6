"""Adam's best rate falls {falls.adam.standard:.0f} times from width 16 to 256 of a ReLU network, under muP it stays.

One step of Adam changes each weight of a matrix by about the rate eta. The changes are made from the activations that
they will be multiplied by, so that their contributions to a pre-activation agree and add up over the n inputs: it moves
further, the wider the layer, and a rate that suits one width is too large for a wider one. The maximal update
parametrisation, muP (Yang et al. 2021), gives each matrix its own power of the width, such that one step changes
pre-activations equally at every width: for Adam, with the width n over a base width, rates of hidden and output weights
are divided by n, and the output's weights start with a standard deviation smaller by another sqrt(n). We write
rates as factors on the weights, which comes to the same.

Three hidden ReLU layers at He's scale, without biases, on 8 x 8 digits: 3 epochs in batches of 64. At the base width
both parametrisations are the same network.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import Data, Stack, band, band_traces, derive_seeds, digits, train

SEED = 0
REPLICAS = 10  # networks whose first step is measured
TRAINED = 3  # networks trained, of each width at each learning rate
WIDTHS = {"width_16": 16, "width_64": 64, "width_256": 256}
ENDS = ("width_16", "width_256")  # the widths whose best rates are compared
BASE = 16
PIXELS, HIDDEN, CLASSES = 64, 3, 10
BATCH = 64  # images
STEP = 2.0**-11  # Adam's rate for the first step
KINDS = {"adam": ["standard", "mup"], "momentum": ["standard"]}
SWEEP = {
    "rates": {
        "adam": [0.00012, 0.00049, 0.002, 0.0078, 0.031, 0.125],
        "momentum": [0.00098, 0.0039, 0.0156, 0.0625, 0.25, 1.0],
    },
    "epochs": 3,
}
TOLERANCE = {"best": 0.5, "falls": 0.5, "lowest": 0.4}
WIDER = {
    "falls.adam.standard falls.adam.mup falls.momentum.standard": (2.0, "two minima of parabolas"),
    "lowest.adam.standard lowest.adam.mup lowest.momentum.standard": (2.2, "three networks"),
}


class Scaled(nn.Module):
    """x W^T with W = factor w, so that Adam's step changes W by factor eta."""

    def __init__(self, fan_in: int, fan_out: int, deviation: float, factor: float, generator: torch.Generator) -> None:
        super().__init__()
        self.factor = factor
        self.w = nn.Parameter(deviation / factor * torch.randn(fan_out, fan_in, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * (x @ self.w.T)


def build(kind: str, width: int, seed: int) -> nn.Sequential:
    """A classifier whose weights start as they would at He's scale, but for muP's output, and learn as `kind` says."""
    generator = torch.Generator().manual_seed(seed)
    n = width / BASE if kind == "mup" else 1.0
    layers: list[nn.Module] = []
    for layer in range(HIDDEN):
        fan_in, factor = (width, 1 / n) if layer else (PIXELS, 1.0)
        layers += [Scaled(fan_in, width, (2 / fan_in) ** 0.5, factor, generator), nn.ReLU()]
    return nn.Sequential(*layers, Scaled(width, CLASSES, (1 / width / n) ** 0.5, 1 / n, generator))


def losses(kind: str, optimiser: str, width: int, seeds: list[int], data: Data) -> dict:
    """The band of the last epoch's training loss at each rate; what is worse than guessing counts as guessing."""
    rates = SWEEP["rates"][optimiser]
    stack = Stack([build(kind, width, s) for _ in rates for s in seeds])
    each, generator = [rate for rate in rates for _ in seeds], torch.Generator().manual_seed(seeds[0])
    result = train(stack, data, epochs=SWEEP["epochs"], lr=each, generator=generator, optimiser=optimiser)
    worst = math.log(CLASSES)
    reached = torch.tensor(result["loss"][-1]).nan_to_num(worst).clamp(max=worst).view(len(rates), -1)
    return band(reached.T.tolist())


def best_rate(rates: list[float], reached: list[float]) -> float:
    """Where the parabola through the lowest loss and its neighbours has its minimum, on logarithmic axes."""
    i = min(max(reached.index(min(reached)), 1), len(rates) - 2)
    left, middle, right = (math.log(loss) for loss in reached[i - 1 : i + 2])
    step = 0.5 * (left - right) / (left - 2 * middle + right)  # in units of the grid
    return rates[i] * (rates[i + 1] / rates[i]) ** min(max(step, -1.0), 1.0)


def first_step(kind: str, width: int, seed: int, data: Data) -> float:
    """How far Adam's first step moves the last hidden layer's pre-activations, relative to them."""
    model, x, y = build(kind, width, seed).double(), data[0][:BATCH].double(), data[1][:BATCH]
    z = model[: 2 * HIDDEN - 1]
    before = z(x).detach()
    F.cross_entropy(model(x), y).backward()
    torch.optim.Adam(model.parameters(), lr=STEP).step()
    return float((z(x).detach() - before).norm() / before.norm())


def measure(seed: int = SEED) -> dict:
    """First steps by width, losses over rates, and best rates, for both parametrisations."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)
    m: dict = {"moved": {}, "losses": {}, "best": {}, "falls": {}, "lowest": {}}
    for kind in KINDS["adam"]:
        steps = {name: band([first_step(kind, w, s, data) for s in seeds]) for name, w in WIDTHS.items()}
        m["moved"][kind] = {name: step["median"] for name, step in steps.items()}
    for optimiser, rates in SWEEP["rates"].items():
        of = m["losses"][optimiser] = {
            kind: {name: losses(kind, optimiser, w, seeds[:TRAINED], data) for name, w in WIDTHS.items()}
            for kind in KINDS[optimiser]
        }
        found = {kind: {w: best_rate(rates, of[kind][w]["median"]) for w in ENDS} for kind in of}
        m["best"][optimiser] = found
        m["falls"][optimiser] = {kind: at["width_16"] / at["width_256"] for kind, at in found.items()}
        m["lowest"][optimiser] = {kind: min(of[kind]["width_256"]["median"]) for kind in of}
    return m


def draw(m: dict) -> go.Figure:
    """Training loss over Adam's rate at three widths: standard above, muP below."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    titles = ("training loss, standard", "training loss, muP")
    for row, (kind, title) in enumerate(zip(KINDS["adam"], titles, strict=True), 1):
        fig.update_yaxes(title=title, type="log", row=row, col=1)
        for width, at in m["losses"]["adam"][kind].items():
            fig.add_traces(band_traces(SWEEP["rates"]["adam"], at, width.replace("_", " ")), rows=row, cols=1)
    return fig.update_xaxes(title="learning rate of Adam", type="log", row=2, col=1)


def claim_adams_best_rate_falls_with_the_width(m):
    """Adam's best rate is {best.adam.standard.width_16:.4f} at width 16 and {best.adam.standard.width_256:.4f} at 256,
    {falls.adam.standard:.0f} times smaller (with other seeds three to eight times); under muP it is
    {best.adam.mup.width_256:.4f} at 256, within a factor of about two."""
    assert 2.3 < m["falls"]["adam"]["standard"] < 15
    assert 0.45 < m["falls"]["adam"]["mup"] < 2.2
    assert m["falls"]["adam"]["standard"] > 3.5 * m["falls"]["adam"]["mup"]
    assert 0.007 < m["best"]["adam"]["standard"]["width_16"] < 0.045
    for optimiser, of in m["best"].items():
        for kind, at in of.items():
            assert math.isclose(at["width_16"] / at["width_256"], m["falls"][optimiser][kind])


def claim_the_first_step_tells(m):
    """Adam's first step at one rate moves the last hidden pre-activations by {moved.standard.width_16:.3f} of their
    size at width 16 and by {moved.standard.width_256:.3f} at 256; under muP by {moved.mup.width_256:.3f}."""
    assert 0.0135 < m["moved"]["standard"]["width_16"] < 0.0255
    assert 0.023 < m["moved"]["standard"]["width_64"] < 0.040
    assert 0.055 < m["moved"]["standard"]["width_256"] < 0.097
    for moved in m["moved"]["mup"].values():
        assert 0.0125 < moved < 0.0255
    assert m["moved"]["mup"]["width_256"] < 0.023


def claim_gradient_descent_shows_little_of_it(m):
    """With momentum the best rate falls {falls.momentum.standard:.1f} times over the same widths."""
    assert 0.75 < m["falls"]["momentum"]["standard"] < 2.7


def claim_the_loss_at_the_best_rate_is_another_matter(m):
    """At width 256 and its best rate Adam gets to a loss of {lowest.adam.standard:.2f}, under muP with a base width of
    16 to {lowest.adam.mup:.2f}; gradient descent to {lowest.momentum.standard:.2f}."""
    assert 0.021 < m["lowest"]["adam"]["standard"] < 0.09
    assert 0.046 < m["lowest"]["adam"]["mup"] < 0.2
    assert m["lowest"]["adam"]["standard"] < m["lowest"]["adam"]["mup"]
    assert 0.033 < m["lowest"]["momentum"]["standard"] < 0.14
