"""Three networks, cut off, rounded or without an activation, each found by its name.

Two or three layers, Adam at 0.01: a bottleneck of eight units on handwritten digits, cut off by detach() or rounded,
and the sign of a product, which no straight line divides, without an activation. The share of the training examples
that are answered rightly in the end: medians and ranges of three networks. The sick ones are also trained at five
rates of Adam and five of SGD.
"""

from collections.abc import Callable

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, draw_scores, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {
    "rates": {"adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]},
    "steps": 60,
}


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def not_connected(cured: bool) -> Trial:
    way = Apply(lambda h: h if cured else h.detach())
    return Trial(nn.Sequential(nn.Linear(64, 8), way, nn.Tanh(), nn.Linear(8, 10)), rate=1e-2)


def exactly_zero(cured: bool) -> Trial:
    """Rounding; cured by the straight-through estimator."""
    way = Apply(lambda h: h + (torch.round(h) - h).detach() if cured else torch.round(h))
    return Trial(nn.Sequential(nn.Linear(64, 8), way, nn.Linear(8, 10)), rate=1e-2)


def no_activations(cured: bool) -> Trial:
    x = torch.randn(512, 2)
    network = mlp(2, 64, 64, 2, activation=nn.ReLU if cured else nn.Identity)
    return Trial(network, x=x, y=(x[:, 0] * x[:, 1] > 0).long(), rate=1e-2)


FAULTS = {"not connected": not_connected, "exactly zero": exactly_zero, "no activations": no_activations}


def measure(seed: int = SEED) -> dict:
    return before_and_after(FAULTS, derive_seeds(seed, REPLICAS), **SWEEP)


def draw(m: dict) -> go.Figure:
    return draw_scores(m)


def claim_the_cause_is_named_first(m):
    """In each of the {networks} networks the cause is the first that the diagnosis names."""
    assert m["named"] == m["networks"] == REPLICAS * len(FAULTS)


def claim_nothing_is_found_after_the_cure(m):
    """In the cured networks it finds nothing: {accused} of them are accused."""
    assert m["accused"] == 0


def claim_no_learning_rate_makes_up_for_it(m):
    """At its own rate and at the best of ten each remains behind the cured one by a tenth of the answers at least."""
    for sick, best, cured in zip(m["sick"], m["best"], m["cured"], strict=True):
        assert max(sick["median"], best["median"]) < cured["lo"] - 0.1
