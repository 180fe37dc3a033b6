"""What several figures share: weights, bands over seeds, the handwritten digits, one small training loop.

Nothing here sets a global seed, a number of threads or a default dtype: whatever is random takes a generator.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIGMA_W2 = {
    "pytorch": 1 / 3,
    "lecun": 1.0,
    "xavier": 1.0,
    "he": 2.0,
}  # fan_in x weight variance, square layers

Data: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]  # x_train, y_train, x_test, y_test
Optimiser: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def weight(
    fan_out: int,
    fan_in: int,
    init: str | float = "he",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """A Gaussian weight matrix, (fan_out, fan_in), ready for `x @ W.T`.

    `init` is a name from SIGMA_W2, or sigma_w2 itself: the variance of one weight is sigma_w2 / fan_in, for
    "xavier" 2 / (fan_in + fan_out). PyTorch's own default draws from a uniform distribution; here it is a
    Gaussian of the same variance, 1 / (3 fan_in), which is all that the gradient's rate depends on.

    Raises ValueError for an unknown name or a negative sigma_w2.
    """
    if isinstance(init, str):
        if init not in SIGMA_W2:
            raise ValueError(f"unknown init {init!r}; known: {', '.join(SIGMA_W2)}")
        variance = 2 / (fan_in + fan_out) if init == "xavier" else SIGMA_W2[init] / fan_in
    else:
        variance = init / fan_in
    if not variance >= 0:
        raise ValueError(f"sigma_w2 is at least 0, not {init}")
    return math.sqrt(variance) * torch.randn(fan_out, fan_in, generator=generator, dtype=dtype)


def derive_seeds(seed: int, replicas: int) -> list[int]:
    """`replicas` different seeds that follow from `seed`; a longer list begins with the shorter one.

    Neighbouring seeds share nothing, as they would with seed, seed + 1, seed + 2.
    """
    generator = torch.Generator().manual_seed(seed)
    seeds: list[int] = []
    while len(seeds) < replicas:
        candidate = int(torch.randint(2**31, (), generator=generator))
        if candidate not in seeds:
            seeds.append(candidate)
    return seeds


def band(values: Sequence[float] | Sequence[Sequence[float]]) -> dict[str, Any]:
    """{"median", "lo", "hi"} over replicas, where lo and hi are the smallest and the largest.

    `values` holds one number per replica, which gives three numbers, or one list per replica, all of one
    length, which gives three lists, taken element by element.

    Raises ValueError if there are no replicas, if their lengths differ or if a value is not finite.
    """
    if len(values) == 0:
        raise ValueError("a band needs at least one replica")
    tensor = torch.tensor(values, dtype=torch.float64)  # (replicas,) or (replicas, points); ragged lists raise
    if not torch.isfinite(tensor).all():
        raise ValueError("a band is made of finite values; report the replicas that are not finite beside it")
    if tensor.dim() == 1:
        replicas: list[float] = tensor.tolist()
        return {"median": statistics.median(replicas), "lo": min(replicas), "hi": max(replicas)}
    points: list[list[float]] = tensor.T.tolist()
    return {
        "median": [statistics.median(point) for point in points],
        "lo": [min(point) for point in points],
        "hi": [max(point) for point in points],
    }


def band_traces(
    x: Sequence[float], band: dict[str, Any], name: str, meta: str | dict[str, Any] | None = None
) -> list[go.Scatter]:
    """The filled area from lo to hi and, on top of it, the line of the median, for `fig.add_traces`.

    `meta` is the trace's role ("vanishing", "healthy", "exploding", "theory", "reference") or a dict that has
    one. The area carries the same meta and `"band": True`, and shares its line's legend group, so that the
    site's theme gives both one colour and a tap on the legend hides both.

    Raises ValueError unless x and the band are equally long.
    """
    role = {"role": meta} if isinstance(meta, str) else dict(meta or {})
    x = list(x)
    if not len(x) == len(band["median"]) == len(band["lo"]) == len(band["hi"]):
        raise ValueError(f"{name}: {len(x)} places on the x axis for {len(band['median'])} values")
    area = go.Scatter(
        x=x + x[::-1],
        y=list(band["hi"]) + list(band["lo"])[::-1],
        name=name,
        legendgroup=name,
        mode="lines",
        line={"width": 0},
        fill="toself",
        showlegend=False,
        hoverinfo="skip",
        meta={**role, "band": True},
    )
    line = go.Scatter(
        x=x,
        y=list(band["median"]),
        name=name,
        legendgroup=name,
        mode="lines" if len(x) > 20 else "lines+markers",
        meta=role or None,
    )
    return [area, line]


def digits() -> Data:
    """Scikit-learn's 8 x 8 handwritten digits: x_train, y_train, x_test, y_test.

    1437 images to train on and 360 to test on, always the same split, each class in proportion. x is float32,
    (n, 64), row by row, shifted and scaled by the mean and the standard deviation of all training pixels (one
    of each: some pixels are almost always blank). y is int64, (n,). Guessing scores 0.10.
    """
    # Here, because importing scikit-learn takes longer than most figures measure.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        torch.tensor(pixels, dtype=torch.float32).numpy(),
        labels,
        test_size=360,
        random_state=0,
        stratify=labels,
    )
    mean, deviation = x_train.mean(), x_train.std()
    return (
        torch.tensor((x_train - mean) / deviation),
        torch.tensor(y_train),
        torch.tensor((x_test - mean) / deviation),
        torch.tensor(y_test),
    )


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Share of rows of `x` whose largest output is the class in `y`.

    A module is put into evaluation mode meanwhile and then back. An output that holds a NaN is never right.
    """
    if isinstance(model, nn.Module):
        was_training = model.training
        model.eval()
        logits = model(x)  # (n, classes)
        model.train(was_training)
    else:
        logits = model(x)
    right = (logits.argmax(1) == y) & ~logits.isnan().any(1)
    return float(right.double().mean())


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    lr: float,
    generator: torch.Generator,
    optimiser: str | Optimiser = "adam",
    batch_size: int = 64,
    clip: float | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train a classifier with cross-entropy, in place, and say how well it does.

    `data` is (x_train, y_train, x_test, y_test) as from `digits`; `generator` shuffles the training rows anew
    each epoch. `optimiser` is "adam", "sgd" (no momentum) or a function of the parameters, which sets its own
    rate. `clip` bounds the gradient's overall norm. Callbacks: `on_step(step, loss)` after each backward
    pass, before clipping and the update, so that the parameters' `.grad` can be read, and
    `on_epoch(epoch, loss)` with the mean loss after each epoch; steps and epochs count from 1.

    Returns {"test_accuracy", "train_accuracy", "loss"}: two shares and the mean loss of each epoch, a list of
    `epochs` floats. The loss may be nan or inf where training blew up; the accuracies are finite in any case.
    Raises ValueError for an unknown optimiser.
    """
    x_train, y_train, x_test, y_test = data
    if callable(optimiser):
        update = optimiser(model.parameters())
    elif optimiser == "adam":
        update = torch.optim.Adam(model.parameters(), lr=lr)
    elif optimiser == "sgd":
        update = torch.optim.SGD(model.parameters(), lr=lr)
    else:
        raise ValueError(f"unknown optimiser {optimiser!r}: adam, sgd or a function of the parameters")
    model.train()
    losses: list[float] = []
    step = 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.split(torch.randperm(len(x_train), generator=generator), batch_size):
            step += 1
            loss = F.cross_entropy(model(x_train[rows]), y_train[rows])
            update.zero_grad()
            torch.autograd.backward(loss)
            if on_step:
                on_step(step, loss.detach())
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            update.step()
            total += loss.item() * len(rows)
        losses.append(total / len(x_train))
        if on_epoch:
            on_epoch(epoch, losses[-1])
    return {
        "test_accuracy": accuracy(model, x_test, y_test),
        "train_accuracy": accuracy(model, x_train, y_train),
        "loss": losses,
    }
