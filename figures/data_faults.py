"""Five faults of the data, each found by its name, and each gone with one line.

Two hidden layers at most, Adam at 0.003 or 0.01, on handwritten digits, or on eight inputs. The share of the training
examples that are answered rightly in the end, or of the targets' variance that is explained: medians and ranges of
three networks. All but those whose data is beyond help, whatever the rate, are also trained at five rates of Adam and
five of SGD.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, digits, draw_scores, explained, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {
    "rates": {"adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]},
    "steps": 100,
}


def nan_in_the_input(cured: bool) -> Trial:
    """Each pixel standardised by itself; some are the same in all images."""
    pixels, _ = digits()
    deviation = pixels.std(0) + 1e-6 if cured else pixels.std(0)
    return Trial(mlp(64, 64, 10), x=(pixels - pixels.mean(0)) / deviation, swept=False)


def regression() -> tuple[Tensor, Tensor]:
    """Eight inputs, (512, 8), and a quantity that depends on two of them, (512, 1)."""
    x = torch.randn(512, 8)
    return x, x[:, :1] + x[:, 1:2].abs()


def nan_in_the_targets(cured: bool) -> Trial:
    """One quantity in fifty wasn't measured."""
    x, y = regression()
    if not cured:
        y[::50] = torch.nan
    return Trial(mlp(8, 64, 1), F.mse_loss, x, y, explained, rate=1e-2, swept=False)


def inputs_not_scaled(cured: bool) -> Trial:
    """Grey values from 0 to 255."""
    pixels, _ = digits()
    grey = 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return Trial(mlp(64, 64, 64, 10, activation=nn.Tanh), x=(grey - grey.mean()) / grey.std() if cured else grey)


def targets_not_scaled(cured: bool) -> Trial:
    """Prices of houses."""
    x, y = regression()
    y = y if cured else 2e5 + 5e4 * y
    return Trial(mlp(8, 64, 1), F.mse_loss, x, y, explained, rate=1e-2)


def labels_do_not_depend(cured: bool) -> Trial:
    """Rows that were shuffled without their labels, of two classes; too many to be learned by heart."""
    x = torch.randn(20_000, 8)
    y = (x[:, 0] + x[:, 1] > 0).long()
    return Trial(mlp(8, 16, 2), x=x if cured else x[torch.randperm(len(x))], y=y, times=2, swept=False)


FAULTS = {
    "nan in the input": nan_in_the_input,
    "nan in the targets": nan_in_the_targets,
    "inputs not scaled": inputs_not_scaled,
    "targets not scaled": targets_not_scaled,
    "labels do not depend on the inputs": labels_do_not_depend,
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


def claim_it_is_not_the_learning_rate(m):
    """At none of ten rates does a network with unscaled targets explain a twentieth of their variance; one with
    unscaled inputs learns, and remains behind the cured one. At their own rate all sick networks do.
    """
    best, cured = (dict(zip(m["causes"], m[arm], strict=True)) for arm in ("best", "cured"))
    assert best["targets not scaled"]["hi"] < 0.05
    assert best["inputs not scaled"]["median"] < cured["inputs not scaled"]["lo"]
    assert min(band["lo"] for band in m["cured"]) > 0.9
    for sick, healthy in zip(m["sick"], m["cured"], strict=True):
        assert sick["hi"] < healthy["lo"]
