"""Six layers whose units say nothing, or all the same, each found by its name.

Handwritten digits, one or two hidden layers, Adam at 0.003 or 0.001, and attention over the eight rows of an image.
The share of the training examples that are answered rightly in the end: medians and ranges of three networks. All sick
ones but attention are also trained at five rates of Adam and five of SGD.
"""

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
WIDTH = 128  # of attention


def symmetric_weights(cured: bool) -> Trial:
    network = mlp(64, 64, 10)
    for parameter in [] if cured else network.parameters():
        nn.init.constant_(parameter, 0.02)
    return Trial(network)


def dropout(cured: bool) -> Trial:
    """A share that is kept, taken for the share that is dropped, or the other way round."""
    drop = nn.Dropout(0.1 if cured else 0.98)
    return Trial(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 10))
    )


def batch_statistics(cured: bool) -> Trial:
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    return Trial(model, batch=64 if cured else 2)


class Attention(nn.Module):
    """The rows of an image attend to each other."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.embed, self.answer = scale, nn.Linear(8, WIDTH), nn.Linear(WIDTH, 10)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        for layer in (self.embed, self.query, self.key):
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.view(-1, 8, 8))  # (batch, rows, WIDTH)
        weights = torch.softmax(self.scale * (self.query(h) @ self.key(h).transpose(1, 2)), dim=-1)
        return self.answer(torch.relu(weights @ self.value(h)).mean(1))


def attention_logits(cured: bool) -> Trial:
    return Trial(Attention(WIDTH**-0.5 if cured else 1.0), batch=32, swept=False)


def saturation(cured: bool) -> Trial:
    network = mlp(64, 64, 64, 10, activation=nn.Tanh)
    for layer in network[:-1:2]:
        nn.init.normal_(layer.weight, std=64**-0.5 if cured else 2.0)
    return Trial(network, rate=1e-3)


def dead_relus(cured: bool) -> Trial:
    network = mlp(64, 64, 64, 10)
    for layer in network[:-1:2]:
        nn.init.constant_(layer.bias, 0.0 if cured else -7.0)
    return Trial(network)


FAULTS = {
    "symmetric weights": symmetric_weights,
    "dropout": dropout,
    "batch statistics": batch_statistics,
    "attention logits": attention_logits,
    "saturation": saturation,
    "dead ReLUs": dead_relus,
}


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


def claim_four_are_beyond_any_rate(m):
    """At none of ten rates do equal units, a dropout of 0.98 or dead units get a third of the answers right, or in the
    median normalisation over two examples, of which sixty steps see 120, two thirds; saturated units learn at another
    rate than their own.
    """
    sick, best, cured = (dict(zip(m["causes"], m[arm], strict=True)) for arm in ("sick", "best", "cured"))
    for cause in ("symmetric weights", "dropout", "dead ReLUs"):
        assert max(sick[cause]["hi"], best[cause]["hi"]) < 1 / 3
    assert max(sick["batch statistics"]["median"], best["batch statistics"]["median"]) < 2 / 3
    assert best["saturation"]["median"] > 0.8 > sick["saturation"]["hi"]
    assert min(cured[cause]["lo"] for cause in m["causes"] if cause != "attention logits") > 0.85


def claim_attention_that_looks_at_one_place_still_learns(m):
    """Attention without its scale is named, though it gets more than 0.4 of the answers right here, and within 0.25 of
    what it gets with it."""
    sick, cured = (m[arm][m["causes"].index("attention logits")] for arm in ("sick", "cured"))
    assert sick["median"] > 0.4
    assert abs(cured["median"] - sick["median"]) < 0.25
