"""Five computations at the edge of what floating point holds, each found by its name.

One or two hidden layers, Adam at 0.003 or 0.01, on handwritten digits or a regression of eight inputs. Weights in
float16 are trained by SGD on a loss times 2e-6, at a rate that makes up for it; cured they are in bfloat16. The
share of the training examples that are answered rightly in the end, or of the targets' variance that is explained:
medians and ranges of three networks.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, draw_scores, explained, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {"reason": "what is nan remains nan at any rate, and the claims compare nothing else"}
STEPS = 60


def logarithm_of_zero(cured: bool) -> Trial:
    """Weights so large that some class has a probability of 0 in float32."""

    def by_hand(z: Tensor, y: Tensor) -> Tensor:
        return F.nll_loss(torch.log(torch.softmax(z, 1)), y)

    network = mlp(64, 64, 10)
    nn.init.normal_(network[2].weight, std=10.0)
    return Trial(network, F.cross_entropy if cured else by_hand)


def overflow(cured: bool) -> Trial:
    """A softmax by hand, at a temperature so low that the exponentials are beyond float32."""
    temperature = 1.0 if cured else 0.002

    def by_hand(z: Tensor, y: Tensor) -> Tensor:
        e = torch.exp(z / temperature)
        return F.nll_loss(torch.log(e / e.sum(1, keepdim=True) + 1e-8), y)

    return Trial(mlp(64, 64, 10), by_hand)


def infinite_slope(cured: bool) -> Trial:
    """The distance between the scores of an image and of its partner, which in an odd batch is once itself."""

    def with_distance(z: Tensor, y: Tensor) -> Tensor:
        distance = torch.sqrt((z - z.flip(0)).square().sum(1) + (1e-8 if cured else 0.0))
        return F.cross_entropy(z, y) + 0.1 * (distance * (y == y.flip(0))).mean()

    return Trial(mlp(64, 64, 10), with_distance, batch=63)


def division_by_zero(cured: bool) -> Trial:
    """An error as a share of the target, and half of the targets are 0."""
    x = torch.randn(512, 8)
    y = (x[:, :1] + x[:, 1:2]).clamp(min=0)

    def relative(z: Tensor, y: Tensor) -> Tensor:
        return ((z - y) / (y + 1 if cured else y)).square().mean()

    return Trial(mlp(8, 64, 1), relative, x, y, explained, rate=1e-2)


class Half(nn.Module):
    """Computes in sixteen bits."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.body = dtype, mlp(64, 64, 64, 10).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.to(self.dtype)).float()


def underflow(cured: bool) -> Trial:
    def small(z: Tensor, y: Tensor) -> Tensor:
        return 2e-6 * F.cross_entropy(z, y)

    return Trial(Half(torch.bfloat16 if cured else torch.float16), small, optimiser="sgd", rate=6e4)


FAULTS = {
    "logarithm of zero": logarithm_of_zero,
    "infinite slope": infinite_slope,
    "division by zero": division_by_zero,
    "overflow": overflow,
    "underflow": underflow,
}


def measure(seed: int = SEED) -> dict:
    return before_and_after(FAULTS, derive_seeds(seed, REPLICAS), steps=STEPS)


def draw(m: dict) -> go.Figure:
    return draw_scores(m)


def claim_the_cause_is_named_first(m):
    """In each of the {networks} networks the cause is the first that the diagnosis names."""
    assert m["named"] == m["networks"] == REPLICAS * len(FAULTS)


def claim_nothing_is_found_after_the_cure(m):
    """In the cured networks it finds nothing: {accused} of them are accused."""
    assert m["accused"] == 0


def claim_they_end_as_nan_or_stand_still(m):
    """Four of the five end with answers that are nan, and the fifth at a guess, or nearly; cured, each network gets
    more than 0.7."""
    for cause, sick, cured in zip(m["causes"], m["sick"], m["cured"], strict=True):
        assert sick["hi"] < 0.2 if cause == "underflow" else sick["hi"] == 0
        assert cured["lo"] > 0.7
