"""Six deep networks whose gradient vanishes or explodes, each found by what makes it do so.

Handwritten digits, fourteen to thirty layers of 64 units, Adam at 0.001, thirty steps. Gaussian weights of variance 2
/ fan-in (He et al. 2015, section 2.2) and no biases, where nothing else is said. Each is cured as its finding
proposes: by the scale of its weights, by its activation, by skips, or by scaling their branches. Of the last the probe
doesn't see the cause, and says so. The share of the training examples that are answered rightly in the end: medians
and ranges of three networks.
"""

import plotly.graph_objects as go
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, draw_scores, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {"reason": "init_training, trainable_ratio and batchnorm_explosion sweep the rates; these are diagnosed"}
STEPS = 30


def gaussian(network: nn.Module, sigma_w2: float = 2.0) -> nn.Module:
    """Weights of variance sigma_w2 / fan-in, and no biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=(sigma_w2 / layer.in_features) ** 0.5)
            nn.init.zeros_(layer.bias)
    return network


def initialisation(cured: bool) -> Trial:
    """PyTorch's weights."""
    network = mlp(*[64] * 21, 10)
    return Trial(gaussian(network) if cured else network, rate=1e-3)


def activation(cured: bool) -> Trial:
    return Trial(gaussian(mlp(*[64] * 15, 10, activation=nn.ReLU if cured else nn.Sigmoid)), rate=1e-3)


def gain(cured: bool) -> Trial:
    return Trial(gaussian(mlp(*[64] * 15, 10), sigma_w2=2.0 if cured else 16.0), rate=1e-3)


class Block(nn.Module):
    """A layer with a skip, or without."""

    def __init__(self, skip: bool, scale: float, *norm: nn.Module) -> None:
        super().__init__()
        self.skip, self.scale, self.branch = skip, scale, nn.Sequential(nn.Linear(64, 64), *norm, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        branch = self.scale * self.branch(x)
        return x + branch if self.skip else branch


def unscaled_residuals(cured: bool) -> Trial:
    blocks = [Block(True, 16**-0.5 if cured else 1.0) for _ in range(16)]
    return Trial(gaussian(nn.Sequential(*blocks, nn.Linear(64, 10))), rate=1e-3)


def batch_normalisation(cured: bool) -> Trial:
    blocks = [Block(cured, 1.0, nn.BatchNorm1d(64)) for _ in range(30)]
    return Trial(nn.Sequential(*blocks, nn.Linear(64, 10)), rate=1e-3)


def unknown(cured: bool) -> Trial:
    """Something takes two thirds away between the layers."""
    blocks = [Block(False, 1.0 if cured else 0.3) for _ in range(14)]
    return Trial(gaussian(nn.Sequential(*blocks, nn.Linear(64, 10))), rate=1e-3)


FAULTS = {
    "initialisation": initialisation,
    "activation": activation,
    "gain": gain,
    "unscaled residuals": unscaled_residuals,
    "batch normalisation": batch_normalisation,
    "unknown": unknown,
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


def claim_the_cured_are_ahead(m):
    """After thirty steps the median cured network gets more answers right than the sick one, by a tenth at least."""
    for sick, cured in zip(m["sick"], m["cured"], strict=True):
        assert cured["median"] > sick["median"] + 0.1
