"""A program in a few words: its layers, loss, optimizer and data, run as Keras would under a probe.

Keras' start is Glorot's (uniform), its losses take probabilities, cut at 1e-7, and so small is the epsilon of Adam and
RMSprop. Its categorical cross-entropy first divides the outputs by their sum, whatever they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.probe import Probe, Verdict, diagnose

EPSILON = 1e-7
LOOKS = 30  # full looks of the probe at a program, about
ACTIVATIONS = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softmax": lambda: nn.Softmax(dim=-1),
}

Data = Callable[[], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Training:
    """`layers` names a layer by its units and its activation: "30 sigmoid", "conv 8 3 relu", "pool 2", "drop 0.5".

    `start` is Keras' name of an initialisation; `rate` and `more` are the optimizer's.
    """

    data: Data
    layers: str
    loss: str
    optimizer: str
    rate: float
    batch: int
    steps: int
    start: str = "glorot"
    more: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Program:
    """One of the study's programs, and what its patch changes.

    `faults` are the study's, in its words; `causes` what we call them, empty where we have no name for one. `seen`:
    yes, partly or no, whether signals of its training can show them. `data` is "own" or "stand-in"; `network` is
    "own" where the question's code could be read, "smaller" with fewer units or pixels, and "described" where only
    the study's description was at hand. `left`: what the patch leaves as it was, by our names.
    """

    post: str
    faults: str
    causes: tuple[str, ...]
    seen: str
    data: str
    network: str
    sick: Training
    patch: dict[str, Any] | None
    left: tuple[str, ...] = ()

    @property
    def mended(self) -> Training | None:
        return None if self.patch is None else replace(self.sick, **self.patch)


NESTEROV = (("momentum", 0.9), ("nesterov", True))


def build(layers: str, x: Tensor, start: str) -> nn.Sequential:
    """Layers in a row, each as wide as what comes in asks for."""
    model = nn.Sequential()
    for words in (layer.split() for layer in layers.split(", ")):
        kind, *more = words if not words[0].isdigit() else ("dense", *words)
        if kind == "dense":
            model.append(nn.Linear(x.shape[-1], int(more[0])))
        elif kind in ("conv", "valid"):
            padding = "same" if kind == "conv" else 0
            model.append(nn.Conv2d(x.shape[1], int(more[0]), int(more[1]), padding=padding))
        elif kind == "lstm":
            model.append(Sequence(x.shape[-1], int(more[0])))
        else:
            single = {"pool": nn.MaxPool2d, "drop": nn.Dropout, "flatten": nn.Flatten, "embed": nn.Embedding}
            arguments = [float(word) if "." in word else int(word) for word in more]
            model.append(nn.BatchNorm1d(x.shape[-1]) if kind == "norm" else single[kind](*arguments))
            more = []
        initialise(model[-1], start)
        if more and more[-1] in ACTIVATIONS:
            model.append(ACTIVATIONS[more[-1]]())
        with torch.no_grad():
            x = model[-2:](x) if more and more[-1] in ACTIVATIONS else model[-1](x)
    return model


class Sequence(nn.Module):
    """An LSTM that reads in both directions and answers at each step."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.cell = nn.LSTM(features, units, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


@torch.no_grad()
def initialise(layer: nn.Module, start: str) -> None:
    for name, p in layer.named_parameters():
        if "weight_hh" in name:
            for gate in p.chunk(4):
                nn.init.orthogonal_(gate)
        elif p.dim() > 1 and start == "glorot":
            nn.init.xavier_uniform_(p)
        elif p.dim() > 1 and start == "he":
            nn.init.kaiming_normal_(p)
        elif p.dim() > 1 and start == "uniform":
            nn.init.uniform_(p, -0.05, 0.05)
        elif start == "standard normal":
            nn.init.normal_(p)
        elif p.dim() > 1:
            nn.init.normal_(p, std=0.05)
        elif not isinstance(layer, nn.BatchNorm1d):
            nn.init.zeros_(p)


def categorical(p: Tensor, y: Tensor) -> Tensor:
    """Of probabilities and targets that are one for each class."""
    p = (p / p.sum(-1, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
    return -(y * p.log()).sum(-1).mean()


def binary(p: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(p.clamp(EPSILON, 1 - EPSILON), y)


def binary_of_anything(p: Tensor, y: Tensor) -> Tensor:
    """The same of targets outside 0 to 1, which PyTorch refuses and Keras takes."""
    return F.binary_cross_entropy_with_logits(torch.logit(p.clamp(EPSILON, 1 - EPSILON)), y)


LOSSES: dict[str, Loss] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "categorical": categorical,
    "binary": binary,
    "binary of anything": binary_of_anything,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": lambda p, lr, **more: torch.optim.Adam(p, lr, eps=EPSILON, **more),
    "rmsprop": lambda p, lr, **more: torch.optim.RMSprop(p, lr, alpha=0.9, eps=EPSILON, **more),
    "adadelta": lambda p, lr, **more: torch.optim.Adadelta(p, lr, rho=0.95, eps=EPSILON, **more),
}


def run(training: Training, seed: int = 0, looks: int = LOOKS) -> tuple[Verdict, list[float], float]:
    """The verdict on a program, its losses, and the seconds of processor that it took."""
    began = time.process_time()
    torch.manual_seed(seed)
    x, y = training.data()
    model = build(training.layers, x[:2], training.start)
    optimizer = OPTIMIZERS[training.optimizer](model.parameters(), training.rate, **dict(training.more))
    loss_of, losses = LOSSES[training.loss], []
    with Probe(model, optimizer, every=max(1, training.steps // looks)) as probe:
        while len(losses) < training.steps:
            for rows in torch.randperm(len(x)).split(training.batch)[: training.steps - len(losses)]:
                optimizer.zero_grad()
                loss = loss_of(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    return diagnose(probe.record), losses, time.process_time() - began
