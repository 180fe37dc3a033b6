"""A fault and its cure: one small network trained with it and without it, and what the diagnosis says of either.

    def softmax_twice(cured: bool) -> Trial:
        network = mlp(64, 64, 10)
        return Trial(network if cured else nn.Sequential(network, nn.Softmax(dim=1)))

    before_and_after({"softmax twice": softmax_twice}, [0, 1, 2], rates={"adam": [1e-3, 1e-2]}, steps=80)

The probe looks in full at every fourth step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs import experiments
from vgdocs.experiments import OPTIMISERS, accuracy, band, bars
from vgdocs.probe.diagnosis import diagnose
from vgdocs.probe.finding import Finding
from vgdocs.probe.watch import Probe

if TYPE_CHECKING:
    import plotly.graph_objects as go

EVERY = 4
ARMS = (  # name among what was found, name in a legend, role
    ("sick", "with the fault", "vanishing"),
    ("best", "with it, at the best of its rates", "reference"),
    ("cured", "cured", "healthy"),
)


@cache
def digits() -> tuple[Tensor, Tensor]:
    """The handwritten digits to train on, (n, 64), and their labels, (n,)."""
    return experiments.digits()[:2]


def mlp(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these sizes, with an activation between them and PyTorch's weights."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


def right(answers: Tensor, y: Tensor) -> float:
    """The share of examples (n,) whose class has the largest score, or of (n, 1) those whose sign is right."""
    return float(accuracy(lambda x: x, answers, y) if y.dim() == 1 else ((answers > 0) == (y > 0)).double().mean())


def explained(answers: Tensor, y: Tensor) -> float:
    """The share of the targets' variance that the answers explain; 0 if they are worse than the mean, or nan."""
    left = float((answers - y).square().sum() / (y - y.mean(0)).square().sum())
    return max(0.0, 1 - left) if left == left else 0.0


@dataclass
class Trial:
    """What is trained and how: by Adam at 0.003, on digits, by cross-entropy, unless something else is said.

    In the end `score` judges the answers of `ask`, or of the model, to all of `x`, from 0 to 1. The optimiser has
    `options`, holds `held` or the whole model, and takes `times` as many steps as asked for. `between` is called with
    the model between the backward pass and the optimiser's step; `zero_grad` before both if `clear`. `swept` is false
    of a fault that no learning rate could make up for, or that is one.
    """

    model: nn.Module
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    x: Tensor = field(default_factory=lambda: digits()[0])
    y: Tensor = field(default_factory=lambda: digits()[1])
    score: Callable[[Tensor, Tensor], float] = right
    ask: Callable[[Tensor], Tensor] | None = None
    optimiser: str = "adam"
    rate: float = 3e-3
    options: dict[str, float] = field(default_factory=dict)
    held: nn.Module | None = None
    batch: int = 64
    times: int = 1
    clear: bool = True
    between: Callable[[nn.Module], object] = lambda model: None
    swept: bool = True

    def run(self, steps: int, watch: bool = False) -> tuple[float, tuple[Finding, ...]]:
        """Train, by torch's global generator: the score, and what is found if a probe watches."""
        parameters = (self.held or self.model).parameters()
        optimizer = OPTIMISERS[self.optimiser](parameters, lr=self.rate, **self.options)
        probe = Probe(self.model, optimizer, every=EVERY) if watch else None
        with probe or nullcontext():
            for _ in range(steps * self.times):
                rows = torch.randint(len(self.x), (self.batch,))
                if self.clear:
                    optimizer.zero_grad()
                self.loss(self.model(self.x[rows]), self.y[rows]).backward()
                self.between(self.model)
                optimizer.step()
        self.model.eval()
        with torch.no_grad():
            score = self.score((self.ask or self.model)(self.x), self.y)
        return score, diagnose(probe.record).findings if probe else ()


def before_and_after(
    faults: Mapping[str, Callable[[bool], Trial]],
    seeds: Sequence[int],
    *,
    steps: int,
    rates: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Train each sick network and the cured one once a seed, and ask the diagnosis about both.

    `faults` holds, by the cause that is to be named, a function that makes the trial, given whether it is cured. The
    sick one is trained at all of `rates` as well, learning rates by optimiser: what then still tells it from the cured
    one isn't a rate that was ill chosen.

    Returns lists, an item for each fault: "causes", their names; "rows", with what is found at the first seed and the
    medians of the scores; the bands of the scores, "sick" and "cured", and "best", the sick one's at the best of the
    rates, or None. And counts of networks: "networks" with a fault, "named" those whose cause is named first,
    "accused" the cured ones with a finding.
    """
    found: dict[str, Any] = {"causes": list(faults), "rows": [], "sick": [], "best": [], "cured": []}
    counts = {"networks": 0, "named": 0, "accused": 0}
    for cause, make in faults.items():
        sick = [_run(make, False, seed, steps, watch=True) for seed in seeds]
        cured = [_run(make, True, seed, steps, watch=True) for seed in seeds]
        swept = [
            band([_run(make, False, seed, steps, optimiser=name, rate=rate)[0] for seed in seeds])
            for name, of_name in (rates or {}).items()
            for rate in of_name
            if make(False).swept
        ]
        found["sick"].append(band([score for score, _ in sick]))
        found["cured"].append(band([score for score, _ in cured]))
        found["best"].append(max(swept, key=lambda one: float(one["median"]), default=None))
        found["rows"].append(_row(cause, sick[0][1], found["sick"][-1]["median"], found["cured"][-1]["median"]))
        counts["networks"] += len(sick)
        counts["named"] += sum(bool(findings) and findings[0].cause == cause for _, findings in sick)
        counts["accused"] += sum(bool(findings) for _, findings in cured)
    return found | counts


def _run(
    make: Callable[[bool], Trial], cured: bool, seed: int, steps: int, watch: bool = False, **changes: Any
) -> tuple[float, tuple[Finding, ...]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return replace(make(cured), **changes).run(steps, watch)


def _row(cause: str, findings: Sequence[Finding], before: float, after: float) -> dict[str, Any]:
    told = next((finding for finding in findings if finding.cause == cause), None)
    row = {"cause": cause, "evidence": "", "remedy": "", "before": before, "after": after, "page": ""}
    if told:
        stem = told.page.partition(".")[0].rpartition("/")[2].replace("-", " ")
        row |= {"evidence": told.evidence, "remedy": told.remedy, "page": {"text": stem, "page": told.page}}
    return row


def draw_scores(found: Mapping[str, Any]) -> go.Figure:
    """What `before_and_after` found, a line for each fault: medians of the scores, and ranges over the seeds."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for arm, name, role in ARMS:
        shown = [(cause, scores) for cause, scores in zip(found["causes"], found[arm], strict=True) if scores]
        if shown:
            causes, scores = zip(*shown, strict=True)
            figure.add_scatter(y=causes, **bars(scores, axis="x"), name=name, mode="markers", meta=role)
    figure.update_xaxes(title="accuracy, or R²", range=[-0.02, 1.02])
    figure.update_yaxes(autorange="reversed", title=None)
    return figure.update_layout(height=110 + 60 * len(found["causes"]))
