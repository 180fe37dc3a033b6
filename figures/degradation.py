"""Sixty plain layers fit {plain_60:.2f} of the training digits where five fit {plain_5:.2f}, and no gradient vanishes.

ReLU networks of width 64 with He's weights, which hold the gradient's norm, and residual ones of h + c W relu(h)
with c = 1/sqrt(depth), trained alike by Adam. Above, the share of the *training* digits they get right, so that
this is not overfitting. Below, the gradient with respect to the first hidden layer's pre-activations (the first
state of the residual trunk) over the last one's, each network's geometric mean over its epochs. The weights' gradient
would prove nothing: in a ReLU net without biases its profile over the layers doesn't depend on the weights' scale.

He et al. 2016 (deep residual learning), section 4.1, saw the same in plain nets with batch norm: the training error
rises with depth though the gradients are healthy. They hold it unlikely that gradients vanish there, and suspect
that convergence is slow.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs import experiments, gradients
from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 3  # networks of each kind and depth
DEPTHS = [5, 10, 20, 60]  # hidden layers
EPOCHS, LR = 8, 1e-3
WIDTH = 64
IMAGES = 256  # over which the gradient is taken after each epoch


class Net(nn.Module):
    """Hidden layers skip * h + branch * W relu(h), between a first and a last matrix."""

    def __init__(self, depth: int, skip: float, branch: float, g: torch.Generator) -> None:
        super().__init__()
        sizes = [(WIDTH, 64)] + [(WIDTH, WIDTH)] * (depth - 1) + [(10, WIDTH)]
        self.weights = nn.ParameterList(weight(*size, "he", g, torch.float32) for size in sizes)
        self.skip, self.branch = skip, branch

    def states(self, x: Tensor) -> list[Tensor]:
        """Pre-activations of every hidden layer, or the trunk after every block: (batch, width) each."""
        first, *hidden, _ = self.weights
        h = [x @ first.T]
        for W in hidden:
            h.append(self.skip * h[-1] + self.branch * torch.relu(h[-1]) @ W.T)
        return h

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.states(x)[-1])

    def classify(self, h: Tensor) -> Tensor:
        return torch.relu(h) @ self.weights[-1].T


def run(depth: int, residual: bool, data: experiments.Data, seed: int) -> tuple[float, float]:
    """Share of training digits right after training, and the gradient's first over last, geometric mean."""
    g = torch.Generator().manual_seed(seed)
    net = Net(depth, 1.0, 1 / math.sqrt(depth), g) if residual else Net(depth, 0.0, 1.0, g)
    logs = []

    def health(*_: float) -> None:
        states = net.states(data[0][:IMAGES])
        loss = F.cross_entropy(net.classify(states[-1]), data[1][:IMAGES])
        logs.append(math.log(gradients.ratio(gradients.norms_of_gradients(loss, states))))

    health()
    result = experiments.train(net, data, epochs=EPOCHS, lr=LR, generator=g, on_epoch=health)
    return result["train_accuracy"], math.exp(sum(logs) / len(logs))


def measure(seed: int = SEED) -> dict:
    """Training accuracy and gradient ratio over depth, plain and residual."""
    data = experiments.digits()
    m: dict = {"depth": DEPTHS}
    for kind in ("plain", "residual"):
        seeds = derive_seeds(seed, REPLICAS)
        runs = [[run(depth, kind == "residual", data, s) for depth in DEPTHS] for s in seeds]
        m[kind] = {
            "accuracy": band([[accuracy for accuracy, _ in nets] for nets in runs]),
            "ratio": band([[ratio for _, ratio in nets] for nets in runs]),
        }
        for i, depth in ((0, 5), (-1, 60)):
            m[f"{kind}_{depth}"] = m[kind]["accuracy"]["median"][i]
    m["plain_ratio"] = m["plain"]["ratio"]["median"][-1]
    return m


def draw(m: dict) -> go.Figure:
    """Above, how well the training digits are fitted; below, what is left of the gradient meanwhile."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for kind in ("plain", "residual"):
        fig.add_traces(band_traces(m["depth"], m[kind]["accuracy"], kind), rows=1, cols=1)
        for trace in band_traces(m["depth"], m[kind]["ratio"], kind):
            fig.add_trace(trace.update(showlegend=False), row=2, col=1)
    fig.update_xaxes(type="log", tickvals=m["depth"])
    fig.update_xaxes(title="hidden layers", row=2, col=1)
    fig.update_yaxes(title="training fit", range=[0, 1.05], row=1, col=1)
    fig.update_yaxes(
        title="‖∂L/∂z‖, first / last", type="log", range=[-3, 1], exponentformat="power", dtick=1, row=2, col=1
    )
    return fig


def claim_deep_plain_nets_fit_worse(m):
    """In eight epochs plain nets of 60 layers fit {plain_60:.2f} of the training digits, of 5 layers {plain_5:.2f}."""
    assert 0.1 <= m["plain_60"] < 0.39
    assert m["plain"]["accuracy"]["hi"][-1] < 0.6
    assert 0.9 < m["plain_5"] <= 1
    assert m["plain"]["accuracy"]["lo"][0] > m["plain"]["accuracy"]["hi"][-1] + 0.3


def claim_their_gradients_are_healthy(m):
    """Meanwhile the gradient at the 60-layer net's first layer is {plain_ratio:.2f} times that at its last."""
    assert 0.22 < m["plain_ratio"] < 1.9
    assert all(0.1 < value < 10 for value in [*m["plain"]["ratio"]["lo"], *m["plain"]["ratio"]["hi"]])


def claim_residual_nets_of_the_same_depth_fit(m):
    """Residual nets of 60 layers fit {residual_60:.2f}, those of 5 {residual_5:.2f}."""
    assert 0.9 < m["residual_60"] <= 1
    assert 0.9 < m["residual_5"] <= 1
    assert m["residual"]["accuracy"]["lo"][-1] > m["plain"]["accuracy"]["hi"][-1] + 0.3


TOLERANCE = {"plain_60": 0.5, "plain_5": 0.02, "residual_60": 0.02, "residual_5": 0.02, "plain_ratio": 1.0}
WIDER = {
    "plain_60": (2.0, "the median of three networks, chance being 0.1"),
    "plain_ratio": (4.0, "networks of finite width, and trained"),
}
