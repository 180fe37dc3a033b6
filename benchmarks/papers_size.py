"""Four experiments of this site at the sizes of the papers that they come from, for one GPU.

    python benchmarks/papers_size.py [--device cuda] [--only NAME] [--data FOLDER] [--small]

    mean_field    tanh layers 4,096 wide, 1,000 deep: the gradient's rate beside mean-field theory (Poole et al. 2016,
                  Schoenholz et al. 2017)
    ten_thousand  a plain tanh network of 10,000 convolutions, delta-orthogonal or Gaussian (Xiao et al. 2018)
    residual      ResNet-110 beside the same network without skips (He et al. 2016a, section 4.2)
    transformer   an encoder of 1,000 layers with DeepNorm beside post-LN (Wang et al. 2022)

Before anything is measured, a few steps of each tell how long it will take and how much memory. Then each network is
kept in build/papers_size as soon as it is done: the same command goes on where the last one ended, however it ended.
What is complete goes into docs/about/papers_size.json, which the page "At the papers' size" shows. Each arm is trained
at five learning rates over two decades with two seeds, and told by the best of them. A network whose loss is no longer
finite is stopped, and counts with what it guesses then.

By arithmetic, not by measurement, `ten_thousand` needs some 13 GB, a third of it for weights, gradients and momenta;
`transformer` some 17 GB, most of it for weights and Adam, as each layer is computed again on the way back; `mean_field`
less than 2 GB, as each matrix is drawn again on the way back (all together are 134 GB); `residual` less than 4 GB.

`mean_field` takes float64, in which a rate of 0.5 stays in range over 1,000 layers; in float32 one of 0.88 doesn't. The
networks that are trained take float32 without TF32, whose mantissa of ten bits would round each of 10,000 layers.

Nothing is downloaded. The images are a stand-in: scikit-learn's 8 x 8 digits, enlarged, turned and shifted at random,
for `residual` coloured and on clutter, as many and as large as MNIST's or CIFAR-10's. They can show whether a network
can be trained. They can't show the papers' error rates, nor how a network generalises: 1,437 drawings are behind them.
`--data FOLDER` takes CIFAR-10 instead, from a folder cifar-10-batches-py. `--small` tries all of it within minutes,
on the CPU unless a device is named, and leaves the result file alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vgdocs.experiments import OPTIMISERS, Data, Optimiser, accuracy, band, derive_seeds, digits, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import chi, critical_sigma_w2, fixed_point

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "build/papers_size"
RECORDED = ROOT / "docs/about/papers_size.json"
SEEDS = (1, 2)
START = 32  # images that a network is measured with before it is trained
STEP = 1e-5  # Adam's rate of the step that is looked at
FITTED = 0.95  # share of the training images from which a network counts as trained

Run = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Experiment:
    """What is measured: networks by name, each apart from the others."""

    runs: dict[str, Run]
    seconds: Callable[[], float]  # tries a little of it and says how long one run will take
    rows: Callable[[dict[str, dict]], list[dict]]  # of the table, from what the runs gave
    trained: Callable[[dict[str, dict]], bool] = lambda done: True  # whether the arm that should train does


# --- data ------------------------------------------------------------------------------------------------------------


def stand_in(channels: int, side: int, train: int, test: int, clutter: float) -> Data:
    """Digits at random places: x (n, channels, side, side) of mean 0 and deviation 1, y (n,), for training and test.

    Those to test on are made from other drawings. `clutter` is the strength of a smooth background and, twice that of
    noise, beside ink of strength 1 to 2; with several channels the ink of each is light or dark at random.
    """
    g = torch.Generator().manual_seed(0)

    def drawn(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(x), (count,), generator=g)
        ink = ((x[rows] - x.min()) / (x.max() - x.min())).view(-1, 1, 8, 8)
        angle, size, left, up = (torch.rand(4, count, generator=g) - 0.5).unbind()
        scale = 1.25 + 0.5 * size  # the image's side over the digit's
        cos, sin = scale * torch.cos(0.5 * angle), scale * torch.sin(0.5 * angle)
        places = torch.stack([cos, -sin, 0.4 * left, sin, cos, 0.4 * up], dim=1).view(-1, 2, 3)
        grid = F.affine_grid(places, [count, 1, side, side], align_corners=False)
        ink = F.grid_sample(ink, grid, align_corners=False)
        colour = 1 + torch.rand(count, channels, 1, 1, generator=g)
        if channels > 1:
            colour *= torch.randint(2, colour.shape, generator=g) * 2 - 1
        smooth = F.interpolate(torch.randn(count, channels, 4, 4, generator=g), size=side, mode="bilinear")
        noise = torch.randn(count, channels, side, side, generator=g)
        return ink * colour + clutter * (smooth + 0.5 * noise), y[rows]

    known = digits()
    return standardised(*drawn(*known[:2], train), *drawn(*known[2:], test))


def cifar(folder: Path) -> Data:
    """CIFAR-10 from its folder cifar-10-batches-py, as `stand_in` gives it.

    Raises SystemExit if it isn't there.
    """

    def read(names: Iterable[str]) -> tuple[Tensor, Tensor]:
        batches = [pickle.loads((folder / name).read_bytes(), encoding="bytes") for name in names]
        x = torch.cat([torch.from_numpy(batch[b"data"]) for batch in batches]).view(-1, 3, 32, 32)
        return x.float(), torch.cat([torch.tensor(batch[b"labels"]) for batch in batches])

    try:
        return standardised(*read(f"data_batch_{i}" for i in range(1, 6)), *read(["test_batch"]))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} isn't there: --data takes the folder cifar-10-batches-py") from None


def standardised(x_train: Tensor, y_train: Tensor, x_test: Tensor, y_test: Tensor) -> Data:
    mean, deviation = (of.view(-1, 1, 1) for of in (x_train.mean((0, 2, 3)), x_train.std((0, 2, 3))))
    return (x_train - mean) / deviation, y_train, (x_test - mean) / deviation, y_test


# --- training --------------------------------------------------------------------------------------------------------


def fit(
    model: nn.Module, data: Data, optimiser: Optimiser, *, lr: float, steps: int, batch: int, seed: int, name: str = ""
) -> dict[str, float]:
    """Train in place and say how well it does; `name` is for the progress, and nothing is told without one.

    As in He et al. 2016a, the rate is divided by ten after a half and after three quarters of the steps; over the first
    tenth it grows.
    """
    x, y, x_test, y_test = data
    update = optimiser(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        update,
        lambda step: min(1.0, 10 * (step + 1) / steps) * 0.1 ** ((2 * step >= steps) + (4 * step >= 3 * steps)),
    )
    generator, losses = torch.Generator().manual_seed(seed), []
    for step in range(steps):
        rows = torch.randint(len(x), (batch,), generator=generator).to(x.device)
        loss = F.cross_entropy(model(x[rows]), y[rows])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        update.zero_grad()
        loss.backward()
        update.step()
        schedule.step()
        if name and (step + 1) % max(1, steps // 10) == 0:
            print(f"    {name}: step {step + 1} of {steps}, loss {losses[-1]:.3f}", flush=True)
    return {
        "train_accuracy": share_right(model, x[: len(x_test)], y[: len(x_test)]),
        "test_accuracy": share_right(model, x_test, y_test),
        "steps": len(losses),
    }


def share_right(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Accuracy, of a few hundred images at a time, so that it needs no more memory than a step of training."""
    parts = zip(x.split(500), y.split(500), strict=True)
    return sum(accuracy(model, *part) * len(part[1]) for part in parts) / len(x)


def gradient(model: Net, x: Tensor) -> dict[str, float]:
    """The norm of a random function's gradient at the first layer, over that at the last, in float64."""
    with torch.enable_grad():
        ends = model.double().ends(x.double())
        v = torch.randn(ends[1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x.device)
        first, last = norms_of_gradients((ends[1] * v).sum(), ends)
    model.float()
    return {"gradient": first / last}


def compared(
    arms: dict[str, Callable[[int], Net]],
    data: Data,
    optimiser: Optimiser,
    *,
    rates: list[float],
    start: Callable[[Net], dict[str, float]] | None = None,
    **budget: int,
) -> Experiment:
    """Train each arm, `build(seed)`, at each rate; the first one is the one that should train.

    `start` measures a network before that; its gradient, unless it is given.
    """
    first = data[0][:START]

    def run(arm: str, lr: float, seed: int) -> dict[str, float]:
        model = arms[arm](seed)
        return (start(model) if start else gradient(model, first)) | fit(
            model, data, optimiser, lr=lr, seed=seed, name=f"{arm}, rate {lr:g}, seed {seed}", **budget
        )

    def seconds() -> float:
        def steps(count: int) -> float:
            model, began = arms[next(iter(arms))](0), time.perf_counter()
            short = tuple(part[: budget["batch"]] for part in data)
            fit(model, short, optimiser, lr=rates[0], steps=count, batch=budget["batch"], seed=0)
            return time.perf_counter() - began

        steps(1)  # what is loaded and tuned at first
        return (steps(5) - steps(1)) / 4 * budget["steps"]

    def best(arm: str, done: dict[str, dict]) -> tuple[float, list[dict]]:
        found = {lr: [done[f"{arm}, rate {lr:g}, seed {seed}"] for seed in SEEDS] for lr in rates}
        return max(found.items(), key=lambda one: band([of["train_accuracy"] for of in one[1]])["median"])

    def rows(done: dict[str, dict]) -> list[dict]:
        table = []
        for arm in arms:
            lr, networks = best(arm, done)
            middle = band([{key: of[key] for key in of if key not in ("steps", "seconds")} for of in networks])
            fitted, right = middle.pop("train_accuracy"), middle.pop("test_accuracy")
            table.append(
                {"network": arm, "best rate": lr, "fitted": fitted["median"], "least": fitted["lo"]}
                | {"most": fitted["hi"], "test accuracy": right["median"]}
                | {key: of["median"] for key, of in middle.items()}
            )
        return table

    def trained(done: dict[str, dict]) -> bool:
        return min(of["train_accuracy"] for of in best(next(iter(arms)), done)[1]) >= FITTED

    runs = {
        f"{arm}, rate {lr:g}, seed {seed}": partial(run, arm, lr, seed)
        for arm in arms
        for lr in rates
        for seed in SEEDS
    }
    return Experiment(runs, seconds, rows, trained)


# --- the four --------------------------------------------------------------------------------------------------------

PLACES = {"far below": 0.6, "below": 0.8, "on the line": 1.0, "above": 1.25, "far above": 1.6}  # times the line's
SIGMA_B2 = 0.05  # variance of the biases, with which the variance settles at once on either side of the line


def mean_field(device: str, data: Data | None, *, width: int, depth: int, batch: int, seeds: int) -> Experiment:
    """The rate of ||dL/dz|| per layer of tanh networks, with weights on the critical line and on both sides of it."""
    line = critical_sigma_w2(torch.tanh, SIGMA_B2)

    def network(sigma_w2: float, seed: int, depth: int = depth) -> dict[str, float]:
        def layer(z: Tensor, seed: int) -> Tensor:
            # Here, not around the loop: the way back draws the same matrix again, on a GPU in a thread of its own.
            torch.manual_seed(seed)
            with torch.device(device):
                W = weight(width, width, sigma_w2)
                b = math.sqrt(SIGMA_B2) * torch.randn(width, dtype=torch.float64)
            return torch.tanh(z) @ W.T + b

        q = fixed_point(torch.tanh, sigma_w2, SIGMA_B2)
        torch.manual_seed(seed)
        x, v = torch.randn(2, batch, width, dtype=torch.float64, device=device)
        z = [(math.sqrt(q) * x).requires_grad_()]
        for own in derive_seeds(seed, depth - 1):
            z.append(checkpoint(layer, z[-1], own, use_reentrant=False, preserve_rng_state=False))
        return {"rate": rate(norms_of_gradients((torch.tanh(z[-1]) * v).sum(), z))}

    def seconds() -> float:
        short = max(8, depth // 20)
        network(line, 0, short)
        began = time.perf_counter()
        network(line, 0, short)
        return (time.perf_counter() - began) * depth / short

    def rows(done: dict[str, dict]) -> list[dict]:
        table = []
        for place, factor in PLACES.items():
            measured = band([done[f"{place}, seed {seed}"]["rate"] for seed in range(1, seeds + 1)])
            sigma_w2 = factor * line
            theory = math.sqrt(chi(torch.tanh, fixed_point(torch.tanh, sigma_w2, SIGMA_B2), sigma_w2))
            scales = [0.5 / abs(math.log(of)) for of in (measured["median"], theory)]
            table.append(
                {"weights": place, "σw²": sigma_w2, "rate": measured["median"], "least": measured["lo"]}
                | {"most": measured["hi"], "theory": theory, "depth scale": scales[0]}
                | {"its theory": scales[1] if scales[1] < 1e6 else "∞"}
            )
        return table

    runs = {
        f"{place}, seed {seed}": partial(network, factor * line, seed)
        for place, factor in PLACES.items()
        for seed in range(1, seeds + 1)
    }
    return Experiment(runs, seconds, rows)


class Net(nn.Module):
    """A classifier of images, with its two ends for the gradient to be taken at."""

    last: nn.Module

    def ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the first layer gives, and what the last one before the classes does."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.ends(x)[1])
        return logits


class Plain(Net):
    """Convolutions of 3 x 3 with tanh between them, no skips, no normalisation, on the 4 x 4 patches of an image.

    "delta-orthogonal" kernels are an orthogonal matrix at the centre and zero around it, "Gaussian" ones have variance
    1 / fan-in: both are critical for tanh.
    """

    def __init__(self, kind: str, depth: int, channels: int, image: Tensor, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)

        def kernel(size: int, fan_in: int) -> Tensor:
            return weight(channels, fan_in * size**2, 1.0, g, torch.float32).view(channels, fan_in, size, size)

        def delta_orthogonal() -> Tensor:
            W = torch.zeros(channels, channels, 3, 3)
            W[:, :, 1, 1] = nn.init.orthogonal_(torch.empty(channels, channels), generator=g)
            return W

        self.first = nn.Parameter(kernel(4, len(image)))
        self.kernels = nn.ParameterList(
            delta_orthogonal() if kind == "delta-orthogonal" else kernel(3, channels) for _ in range(depth)
        )
        self.last = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(channels * (image.shape[-1] // 4) ** 2, 10))

    def ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = z = F.conv2d(x, self.first, stride=4)  # (batch, channels, side / 4, side / 4)
        for W in self.kernels:
            z = F.conv2d(torch.tanh(z), W, padding=1)
        return first, z


def ten_thousand(
    device: str, data: Data | None, *, depth: int, channels: int, images: dict, rates: list[float], **budget: int
) -> Experiment:
    """Can so many plain layers be trained? `rates` are times 1 / depth, as those that train are."""
    data = on(device, data or stand_in(**images))

    def build(kind: str, seed: int) -> Net:
        torch.manual_seed(seed)  # for the last layer
        return Plain(kind, depth, channels, data[0][0], seed).to(device)

    arms = {kind: partial(build, kind) for kind in ("delta-orthogonal", "Gaussian")}
    return compared(arms, data, OPTIMISERS["momentum"], rates=[of / depth for of in rates], **budget)


class ResNet(Net):
    """6 n + 2 layers (He et al. 2016a, section 4.2), with identity skips (their option A) or without."""

    def __init__(self, skip: bool, n: int, channels: int, colours: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.skip = skip
        self.first = self.unit(colours, channels, 1)
        self.pairs = nn.ModuleList()
        for stage in range(3):
            for block in range(n):
                out, stride = channels * 2**stage, 2 if stage and not block else 1
                self.pairs.append(nn.ModuleList([self.unit(out // stride, out, stride), self.unit(out, out, 1)]))
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * channels, 10))

    @staticmethod
    def unit(fan_in: int, out: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(fan_in, out, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        return nn.Sequential(conv, nn.BatchNorm2d(out))

    def ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(x)
        h = torch.relu(first)
        for one, two in self.pairs:
            branch = two(torch.relu(one(h)))
            if self.skip:
                stride = h.shape[2] // branch.shape[2]
                branch = branch + F.pad(h[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, branch.shape[1] - h.shape[1]))
            h = torch.relu(branch)
        return first, h


def residual(
    device: str, data: Data | None, *, n: int, channels: int, images: dict, rates: list[float], **budget: int
) -> Experiment:
    """Do skips let so many normalised layers fit their training images? Without the paper's augmentation."""
    data = on(device, data or stand_in(**images))

    def build(skip: bool, seed: int) -> Net:
        return ResNet(skip, n, channels, data[0].shape[1], seed).to(device)

    arms = {f"ResNet-{6 * n + 2}": partial(build, True), f"plain-{6 * n + 2}": partial(build, False)}
    return compared(arms, data, partial(OPTIMISERS["momentum"], weight_decay=1e-4), rates=rates, **budget)


class Layer(nn.Module):
    """An encoder's layer that normalises after the addition, LN(alpha x + branch), twice.

    Weights are Xavier's; those of the branches, but for queries and keys, are multiplied by beta.
    """

    def __init__(self, width: int, heads: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.heads, self.alpha = heads, alpha
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        for linear in (self.query, self.key, self.value, self.out, self.up, self.down):
            nn.init.xavier_normal_(linear.weight, gain=1.0 if linear in (self.query, self.key) else beta)
            nn.init.zeros_(linear.bias)

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = (of(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for of in (self.query, self.key, self.value))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.alpha * x + self.attention(x))
        return self.norms[1](self.alpha * x + self.down(torch.relu(self.up(x))))


class Encoder(Net):
    """A Transformer over the 4 x 4 patches of an image; the mean of its outputs is read."""

    def __init__(self, deepnorm: bool, depth: int, width: int, heads: int, image: Tensor, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        alpha, beta = ((2 * depth) ** 0.25, (8 * depth) ** -0.25) if deepnorm else (1.0, 1.0)
        self.first = nn.Conv2d(len(image), width, 4, stride=4)
        self.places = nn.Parameter(torch.randn((image.shape[-1] // 4) ** 2, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads, alpha, beta) for _ in range(depth))
        self.last = nn.Linear(width, 10)

    def ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = h = self.norm(self.first(x).flatten(2).transpose(1, 2) + self.places)  # (batch, tokens, width)
        for layer in self.layers:
            h = checkpoint(layer, h, use_reentrant=False, preserve_rng_state=False)
        return first, h

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.ends(x)[1].mean(1))


def transformer(
    device: str,
    data: Data | None,
    *,
    depth: int,
    width: int,
    heads: int,
    images: dict,
    rates: list[float],
    **budget: int,
) -> Experiment:
    """Does DeepNorm train an encoder that post-LN doesn't? Both with a warm-up."""
    data = on(device, data or stand_in(**images))

    def build(deepnorm: bool, seed: int) -> Net:
        return Encoder(deepnorm, depth, width, heads, data[0][0], seed).to(device)

    def start(model: Net) -> dict[str, float]:
        """Also how far Adam's first step moves the outputs, relative to them: what DeepNorm is made to bound."""
        moved, (x, y) = copy.deepcopy(model), (part[:START] for part in data[:2])
        F.cross_entropy(moved(x), y).backward()
        torch.optim.Adam(moved.parameters(), lr=STEP).step()
        with torch.no_grad():
            before, after = model.ends(x)[1], moved.ends(x)[1]
            return gradient(model, x) | {"moved": ((after - before).norm() / before.norm()).item()}

    arms = {"DeepNorm": partial(build, True), "post-LN": partial(build, False)}
    return compared(arms, data, OPTIMISERS["adam"], rates=rates, start=start, **budget)


def on(device: str, data: Data) -> Data:
    x, y, x_test, y_test = (part.to(device) for part in data)
    return x, y, x_test, y_test


MNIST = {"channels": 1, "side": 28, "train": 60_000, "test": 10_000, "clutter": 0.0}
CIFAR = {"channels": 3, "side": 32, "train": 50_000, "test": 10_000, "clutter": 0.5}
SMALL = {"channels": 1, "side": 12, "train": 500, "test": 250, "clutter": 0.0}
SGD, ADAM = [0.01, 0.03, 0.1, 0.3, 1.0], [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]
EXPERIMENTS: dict[str, tuple[Callable[..., Experiment], dict, dict]] = {  # at the paper's size, and small
    "mean_field": (
        mean_field,
        {"width": 4096, "depth": 1000, "batch": 16, "seeds": 5},
        {"width": 128, "depth": 40, "batch": 16, "seeds": 3},
    ),
    "ten_thousand": (
        ten_thousand,
        {"depth": 10_000, "channels": 64, "images": MNIST, "rates": [0.1, 0.3, 1, 3, 10], "steps": 2_000, "batch": 64},
        {"depth": 60, "channels": 8, "images": SMALL, "rates": [0.3, 1], "steps": 60, "batch": 32},
    ),
    "residual": (
        residual,
        {"n": 18, "channels": 16, "images": CIFAR, "rates": SGD, "steps": 16_000, "batch": 128},
        {"n": 5, "channels": 8, "images": SMALL, "rates": [0.03, 0.1], "steps": 40, "batch": 32},
    ),
    "transformer": (
        transformer,
        {"depth": 1000, "width": 256, "heads": 8, "images": MNIST, "rates": ADAM, "steps": 2_000, "batch": 64},
        {"depth": 16, "width": 16, "heads": 2, "images": SMALL, "rates": [3e-3, 1e-2], "steps": 40, "batch": 32},
    ),
}

# --- measuring, keeping, recording -----------------------------------------------------------------------------------


def machine(device: str) -> dict[str, Any]:
    """What a measurement was made with."""
    cuda = torch.device(device).type == "cuda"
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    return {
        "device": torch.cuda.get_device_name(device) if cuda else device,
        "versions": versions | ({"CUDA": str(torch.version.cuda)} if cuda else {}),
    }


def write(path: Path, content: dict) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def kept(path: Path, made_with: dict) -> dict:
    """What an earlier call has measured, to be gone on with.

    Raises SystemExit if that was another size, another device or other versions.
    """
    if not path.exists():
        return made_with | {"runs": {}, "peak_gb": 0.0}
    content = json.loads(path.read_text(encoding="utf-8"))
    if differs := [key for key, value in made_with.items() if content[key] != value]:
        raise SystemExit(f"{path} was measured with another {' and '.join(differs)}: delete it to begin anew")
    return content


def peak(device: str) -> float:
    """Most memory of the GPU that was taken at once since the last call, in GB."""
    if torch.device(device).type != "cuda":
        return 0.0
    most = torch.cuda.max_memory_allocated(device) / 1e9
    torch.cuda.reset_peak_memory_stats(device)
    return most


def told(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def measured(experiment: Experiment, content: dict, path: Path, device: str) -> None:
    """Make the runs that are missing, each kept as soon as it is there."""
    for at, (name, run) in enumerate(experiment.runs.items(), 1):
        if name in content["runs"]:
            continue
        print(f"  {at} of {len(experiment.runs)}: {name}", flush=True)
        began = time.perf_counter()
        found = run()
        content["runs"][name] = found | {"seconds": round(time.perf_counter() - began, 1)}
        content["peak_gb"] = max(content["peak_gb"], round(peak(device), 1))
        content["made"] = datetime.now(UTC).date().isoformat()
        write(path, content)


def record(name: str, experiment: Experiment, content: dict) -> None:
    """Write what the page shows of a complete experiment, and all runs behind it, beside the other experiments."""
    found = content | {
        "hours": round(sum(run["seconds"] for run in content["runs"].values()) / 3600, 2),
        "rows": experiment.rows(content["runs"]),
        "trained": experiment.trained(content["runs"]),
    }
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    write(RECORDED, recorded | {name: found})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=EXPERIMENTS, help="this experiment; may be repeated")
    parser.add_argument("--device", help="cuda, cuda:1, …; with --small, cpu unless you say otherwise")
    parser.add_argument("--data", type=Path, help="the folder cifar-10-batches-py, instead of a stand-in")
    parser.add_argument("--small", action="store_true", help="small networks, for a trial")
    options = parser.parse_args(arguments)
    device = options.device or ("cpu" if options.small else "cuda")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA device here; --small tries all of it on the CPU")
    torch.backends.cudnn.allow_tf32 = False  # see above; that of matrix products is off unless one asks for it
    data = cifar(options.data) if options.data else None

    begun: dict[str, tuple[Experiment, dict, Path]] = {}
    failed = []
    for name in options.only or EXPERIMENTS:
        make, full, small = EXPERIMENTS[name]
        size = small if options.small else full
        if data and "images" in size:
            size = size | {"images": "CIFAR-10"}
        path = KEPT / ("small" if options.small else "full") / f"{name}.json"
        content = kept(path, {"size": size} | machine(device))
        try:
            experiment = make(device, data, **size)
            missing = sum(run not in content["runs"] for run in experiment.runs)
            if missing:
                peak(device)
                each = experiment.seconds()
                memory = f", {most:.1f} GB" if (most := peak(device)) else ""
                print(
                    f"{name}: {missing} of {len(experiment.runs)} networks to go, about {told(missing * each)}{memory}"
                )
            begun[name] = experiment, content, path
        except RuntimeError as error:
            print(f"{name} is left out: {error}")
            failed.append(name)
    for name, (experiment, content, path) in begun.items():
        print(name, flush=True)
        try:
            measured(experiment, content, path, device)
        except RuntimeError as error:
            print(f"{name} failed: {error}\n  What was measured until then is kept in {path}")
            failed.append(name)
            continue
        for row in experiment.rows(content["runs"]):
            print("   ", {key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()})
        if not options.small:
            record(name, experiment, content)
            print(f"  written to {RECORDED}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
