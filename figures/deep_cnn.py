"""With PyTorch's filters SGD leaves the first ones of a plain convolutional net of 31 layers exactly as they were.

31 convolutions of 3 x 3 with 8 channels on the 8 x 8 digits, as PyTorch initialises them, two to a block

    plain      h <-     conv(relu(conv(relu(h))))
    residual   h <- h + conv(relu(conv(relu(h))))

and a linear layer. Above, the gradient with respect to each layer's filters before training; below, how far an epoch
of SGD moves them, ||W - W_0|| / ||W_0||, at a rate of 0.1, the best of SGD's for the residual nets. The accuracies are
those of the best of ten settings. PyTorch's default has a sixth of He's variance (Glorot & Bengio 2010, equation 15;
He et al. 2015, section 2.2), so a plain layer passes on sqrt(1/6) of the gradient, and the padding's zeros cost another
factor (1 + 2 cos(pi/9)) / 3 on images of 8 x 8. What reaches the first filters is lost to rounding when it is added to
them. The control: with He's variance a plain layer passes on nearly all of the gradient. (There it is the one with
respect to the pre-activations. He's zero biases leave the filters' gradient level at any scale.)
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs import gradients
from vgdocs.experiments import band, band_traces, best, derive_seeds, digits, sweep

SEED = 0
REPLICAS = 10  # networks of each kind whose gradient is measured
TRAINED = 3  # of them are trained at each learning rate
SWEEP = {
    "rates": {"sgd": [0.01, 0.03, 0.1, 0.3, 1.0], "adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]},
    "epochs": 1,  # of SEEN / 16 steps, after which the residual nets have converged
    "batch_size": 16,
}
SEEN = 960  # training images
LR = 0.1  # SGD's rate in the lower panel
BLOCKS, CHANNELS = 15, 8
LAYERS = 2 * BLOCKS + 1  # convolutions
IMAGES = 64  # for the gradient before training
TOLERANCE = {"residual.first_moved": 0.3, "residual.test_accuracy": 0.05}
WIDER = {
    "plain.unmoved": (2.0, "a count of layers at the edge of rounding"),
    "plain.first_over_last": (100.0, "29 factors that vary from net to net"),
    "residual.first_moved": (4.0, "trained filters"),
}


class Net(nn.Module):
    """Convolutions on (n, 64) digits: "plain" ones, "he" with He's weights, or "residual" ones with skips."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # PyTorch's own initialisation takes no generator
        self.skip = 1 if kind == "residual" else 0
        sizes = [1] + [CHANNELS] * (LAYERS - 1)
        self.convs = nn.ModuleList(nn.Conv2d(size, CHANNELS, 3, padding=1) for size in sizes)
        for conv in self.convs if kind == "he" else []:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        self.out = nn.Linear(64 * CHANNELS, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.convs[0](x.view(-1, 1, 8, 8))
        for one, two in zip(self.convs[1::2], self.convs[2::2], strict=True):
            h = self.skip * h + two(torch.relu(one(torch.relu(h))))
        return self.out(torch.relu(h).flatten(1))

    def filters(self) -> list[Tensor]:
        return [conv.weight for conv in self.convs]


def untrained(net: Net, by: str) -> list[float]:
    """Norms of the gradient with respect to each layer's filters, or to its outputs, the pre-activations."""
    x, y = (part[:IMAGES] for part in digits()[:2])
    outputs: list[Tensor] = []
    for conv in net.double().convs:
        conv.register_forward_hook(lambda _conv, _inputs, output: outputs.append(output))
    loss = F.cross_entropy(net(x.double()), y)
    return gradients.norms_of_gradients(loss, net.filters() if by == "filters" else outputs)


def trained(kind: str, seeds: list[int]) -> tuple[dict, list[list[float]]]:
    """What the sweep finds, and how far each layer's filters move by SGD at LR: (networks, layers)."""
    x_train, y_train, *test = digits()
    nets: list[Net] = []  # in the order of the sweep, the rates of SGD first

    def build(s: int) -> Net:
        nets.append(Net(kind, s))
        return nets[-1]

    swept = sweep(build, (x_train[:SEEN], y_train[:SEEN], *test), seeds=seeds, **SWEEP)
    at_lr, moved = nets[SWEEP["rates"]["sgd"].index(LR) * len(seeds) :], []
    for s, net in zip(seeds, at_lr, strict=False):
        pairs = zip(net.filters(), Net(kind, s).filters(), strict=True)
        moved.append([((W - before).norm() / before.norm()).item() for W, before in pairs])
    return swept, moved


def measure(seed: int = SEED) -> dict:
    """Gradient of each layer's filters before training; their movement and the accuracies after it."""
    seeds = derive_seeds(seed, REPLICAS)
    m: dict = {"layer": list(range(1, LAYERS + 1)), "theory_rate": (1 + 2 * math.cos(math.pi / 9)) / 3 / math.sqrt(6)}
    he = band([untrained(Net("he", s), "outputs") for s in seeds])["median"]
    m["he"] = {"rate": gradients.rate(he, first=3)}
    for kind in ("plain", "residual"):
        gradient = band([untrained(Net(kind, s), "filters") for s in seeds])
        swept, moved = trained(kind, seeds[:TRAINED])
        m[kind] = {
            "gradient": gradient,
            "moved": band(moved),
            "first_moved": band(moved)["median"][0],
            "test_accuracy": best(swept),
            "swept": swept,
            "first_over_last": gradients.ratio(gradient["median"][1:]),  # layer 1 has other filters
        }
    m["plain"]["unmoved"] = m["plain"]["moved"]["median"].count(0)
    m["plain"]["rate"] = gradients.rate(m["plain"]["gradient"]["median"], first=3)
    return m


def draw(m: dict) -> go.Figure:
    """Above, the gradient of each layer's filters; below, how far they moved (no mark: not at all)."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for kind, role in {"plain": "vanishing", "residual": "healthy"}.items():
        fig.add_traces(band_traces(m["layer"], m[kind]["gradient"], kind, role), rows=1, cols=1)
        moved = [distance if distance > 0 else None for distance in m[kind]["moved"]["median"]]
        fig.add_scatter(x=m["layer"], y=moved, name=kind, mode="lines+markers", meta=role, row=2, col=1)
    last = m["plain"]["gradient"]["median"][-1]
    theory = [last * m["theory_rate"] ** (LAYERS - layer) for layer in m["layer"]]
    fig.add_scatter(x=m["layer"], y=theory, name="theory", mode="lines", meta="theory", row=1, col=1)
    fig.update_xaxes(title="convolution", row=2, col=1)
    fig.update_yaxes(title="‖∂L/∂W‖ at first", type="log", row=1, col=1)
    return fig.update_yaxes(title="‖W − W₀‖ / ‖W₀‖", type="log", row=2, col=1)


def claim_the_gradient_never_reaches_the_first_filters(m):
    """A plain layer passes back {plain.rate:.2f} of the gradient, in theory {theory_rate:.2f}, so that the second layer
    gets {plain.first_over_last:.0e} of the last one's; with skips it gets {residual.first_over_last:.1f} times it."""
    assert math.isclose(m["theory_rate"], 0.3918, rel_tol=1e-3)
    assert math.isclose(m["plain"]["rate"], m["theory_rate"], rel_tol=0.15)
    assert 1e-12 < m["plain"]["first_over_last"] < 2e-10
    assert 0.75 < m["residual"]["first_over_last"] < 1.35


def claim_the_scale_is_what_it_lacks(m):
    """With He's variance a plain layer passes back {he.rate:.2f} of the gradient; in theory all but what the padding
    costs."""
    assert math.isclose(m["he"]["rate"], math.sqrt(6) * m["theory_rate"], rel_tol=0.15)


def claim_the_first_filters_do_not_move(m):
    """An epoch of SGD at 0.1 moves the plain net's first filters by {plain.first_moved:.0f}, and {plain.unmoved} of its
    layers not by one bit; it moves the residual net's by {residual.first_moved:.1f} of their norm."""
    assert m["plain"]["first_moved"] == 0
    assert m["plain"]["moved"]["hi"][0] == 0
    assert 8 <= m["plain"]["unmoved"] <= 20
    assert all(value > 0.002 for value in m["residual"]["moved"]["lo"])
    assert 0.14 < m["residual"]["first_moved"] < 1.3


def claim_only_the_residual_net_learns(m):
    """At the best of five rates of SGD and five of Adam the plain net has {plain.test_accuracy:.2f}, the residual one
    {residual.test_accuracy:.2f}."""
    for swept in m["plain"]["swept"].values():
        assert max(swept["hi"]) < 0.16
    for key in ("lo", "median", "hi"):
        assert 0.09 < m["plain"]["test_accuracy"][key] < 0.14
        assert 0.8 < m["residual"]["test_accuracy"][key] <= 1
