"""Tools that figures share: weights, bands over seeds, the handwritten digits, one training loop and its sweep.

Nothing here sets a global seed, a number of threads or a default dtype: whatever is random takes a generator.
"""

import copy
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_, stack_module_state

SIGMA_W2 = {"pytorch": 1 / 3, "lecun": 1.0, "xavier": 1.0, "he": 2.0}  # fan_in x weight variance, square layers

Data: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]  # x_train, y_train, x_test, y_test
Optimiser: TypeAlias = Callable[..., torch.optim.Optimizer]  # of the parameters, and lr=

OPTIMISERS: dict[str, Optimiser] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
}


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
    Gaussian of the same variance, 1 / (3 fan_in), which is all that the gradient's rate depends on in wide networks.

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


def band(values: Sequence[Any]) -> dict[str, Any]:
    """{"median", "lo", "hi"} over replicas, where lo and hi are the smallest and the largest.

    `values` holds, for each replica, one number, which gives three numbers; or one list, all of one length, which
    gives three lists, taken element by element; or one dictionary of such, which gives a band for each of its keys.

    Raises ValueError if there are no replicas, if their lengths or keys differ or if a value is not finite.
    """
    if len(values) == 0:
        raise ValueError("a band needs at least one replica")
    if isinstance(values[0], Mapping):
        if any(one.keys() != values[0].keys() for one in values):
            raise ValueError("the replicas have different keys")
        return {key: band([one[key] for one in values]) for key in values[0]}
    tensor = torch.tensor(values, dtype=torch.float64)  # (replicas,) or (replicas, points); ragged lists raise
    if not torch.isfinite(tensor).all():
        raise ValueError("a band is made of finite values; report the replicas that are not finite beside it")
    ends: dict[str, Callable[[list[float]], float]] = {"median": statistics.median, "lo": min, "hi": max}
    if tensor.dim() == 1:
        return {end: of(tensor.tolist()) for end, of in ends.items()}
    return {end: [of(point) for point in tensor.T.tolist()] for end, of in ends.items()}


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
    named = {"name": name, "legendgroup": name}
    area = go.Scatter(
        x=x + x[::-1],
        y=list(band["hi"]) + list(band["lo"])[::-1],
        **named,
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
        **named,
        mode="lines" if len(x) > 20 else "lines+markers",
        meta=role or None,
    )
    return [area, line]


def bars(bands: Mapping[str, Any] | Sequence[Mapping[str, Any]], axis: str = "y") -> dict[str, Any]:
    """Medians with error bars from lo to hi along `axis`, as the arguments of a trace: `fig.add_bar(x=x, **bars(b))`.

    `bands` is a band of numbers, a band of lists or a list of bands of numbers.
    """
    together = bands if isinstance(bands, Mapping) else {end: [b[end] for b in bands] for end in ("median", "lo", "hi")}
    median, lo, hi = (torch.tensor(together[end], dtype=torch.float64).reshape(-1) for end in ("median", "lo", "hi"))
    error = {"array": (hi - median).tolist(), "arrayminus": (median - lo).tolist()}
    return {axis: median.tolist(), f"error_{axis}": error}


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
        pixels.astype("float32"), labels, test_size=360, random_state=0, stratify=labels
    )
    mean, deviation = x_train.mean(), x_train.std()
    x_train, x_test = (x_train - mean) / deviation, (x_test - mean) / deviation
    return torch.tensor(x_train), torch.tensor(y_train), torch.tensor(x_test), torch.tensor(y_test)


class Stack(nn.Module):
    """Networks of one architecture side by side, to be trained at once, each at a learning rate of its own.

    A batch (n, ...) goes through all of them, which gives (networks, n, classes), as `train` and `accuracy` take it.
    `networks` are the modules that were given; their parameters have become views of the stack's, so that they can be
    looked at whenever one likes. Batch normalisation keeps no running statistics here: it always takes the batch's
    own, in evaluation those of the whole set. Networks that keep other state in buffers can't be stacked.

    Raises ValueError for such buffers and RuntimeError for networks that differ in shape.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        for network in networks:
            replace_all_batch_norm_modules_(network)
            if list(network.buffers()):
                raise ValueError("a network with buffers can't be stacked")
        self.networks = tuple(networks)
        stacked, _ = stack_module_state(list(networks))
        self._names = tuple(stacked)
        self._stacked = nn.ParameterList(stacked.values())
        for i, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.data = stacked[name].data[i]
        self._one = (copy.deepcopy(networks[0]).to("meta"),)  # in a tuple, so that its parameters aren't the stack's

    def forward(self, x: Tensor) -> Tensor:
        (one,) = self._one
        one.train(self.training)
        weights = dict(zip(self._names, self._stacked, strict=True))
        apply = torch.vmap(lambda w: functional_call(one, w, (x,)), randomness="different")
        logits: Tensor = apply(weights)
        return logits


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Any:
    """Share of rows of `x` whose largest output is the class in `y`; of a `Stack`, a list with each network's.

    A module is put into evaluation mode meanwhile and then back. An output that holds a NaN is never right.
    """
    if isinstance(model, nn.Module):
        was_training = model.training
        model.eval()
        logits = model(x)  # ([networks,] n, classes)
        model.train(was_training)
    else:
        logits = model(x)
    right = (logits.argmax(-1) == y) & ~logits.isnan().any(-1)
    return right.double().mean(-1).tolist()


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    lr: float | Sequence[float],
    generator: torch.Generator,
    optimiser: str | Optimiser = "adam",
    batch_size: int = 64,
    clip: float | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
    on_epoch: Callable[[int, Any], None] | None = None,
) -> dict[str, Any]:
    """Train a classifier, or a `Stack` of them, with cross-entropy, in place, and say how well it does.

    `data` is (x_train, y_train, x_test, y_test) as from `digits`; `generator` shuffles the training rows anew
    each epoch. `optimiser` is a name from OPTIMISERS ("momentum" is SGD with 0.9) or a function of the parameters and
    `lr`. `clip` bounds the gradient's overall norm. Callbacks: `on_step(step, loss)` after each backward
    pass, before clipping and the update, so that the parameters' `.grad` can be read, and
    `on_epoch(epoch, loss)` with the mean loss after each epoch; steps and epochs count from 1.

    For a stack, `lr` may be a sequence, a rate for each network; all see the same batches, each is clipped by its own
    norm, and what is a number below is a list of one for each network.

    Returns {"test_accuracy", "train_accuracy", "loss"}: two shares and the mean loss of each epoch, a list of
    `epochs` floats. The loss may be nan or inf where training blew up; the accuracies are finite in any case.
    Raises ValueError for an unknown optimiser, and for one whose step is not in proportion to its rate.
    """
    x_train, y_train, x_test, y_test = data
    if isinstance(optimiser, str) and optimiser not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {optimiser!r}: {', '.join(OPTIMISERS)} or a function of the parameters")
    make = OPTIMISERS[optimiser] if isinstance(optimiser, str) else optimiser
    parameters, stacked = list(model.parameters()), isinstance(model, Stack)
    update = make(parameters, lr=lr).step if isinstance(lr, float | int) else _steps_at(lr, parameters, make)
    loss_of = torch.vmap(F.cross_entropy, (0, None)) if stacked else F.cross_entropy
    model.train()
    losses: list[Any] = []
    step = 0
    for epoch in range(1, epochs + 1):
        total = torch.zeros((), dtype=torch.float64)
        for rows in torch.split(torch.randperm(len(x_train), generator=generator), batch_size):
            step += 1
            loss = loss_of(model(x_train[rows]), y_train[rows])  # (), or (networks,)
            model.zero_grad()
            torch.autograd.backward(loss.sum())
            if on_step:
                on_step(step, loss.detach())
            if clip is not None:
                _clip(parameters, clip, stacked)
            update()
            total = total + loss.detach().double().cpu() * len(rows)
        losses.append((total / len(x_train)).tolist())
        if on_epoch:
            on_epoch(epoch, losses[-1])
    return {
        "test_accuracy": accuracy(model, x_test, y_test),
        "train_accuracy": accuracy(model, x_train, y_train),
        "loss": losses,
    }


def _steps_at(rates: Sequence[float], parameters: list[nn.Parameter], make: Optimiser) -> Callable[[], None]:
    """A function that takes one step, each network of the stack at its own rate.

    No optimiser of torch has a rate for each slice of a tensor. So it steps from zero at rate 1, and we scale that.
    """
    steps = [torch.zeros_like(parameter) for parameter in parameters]
    update = make(steps, lr=1.0)
    if any(group.get("weight_decay") for group in update.param_groups):
        raise ValueError("weight decay is not in proportion to the rate: give each rate a stack of its own")

    @torch.no_grad()
    def step_once() -> None:
        for step, parameter in zip(steps, parameters, strict=True):
            step.zero_()
            step.grad = parameter.grad
        update.step()
        for step, parameter in zip(steps, parameters, strict=True):
            rate = torch.tensor(rates, dtype=step.dtype, device=step.device)
            parameter.addcmul_(step, rate.view(-1, *[1] * (step.dim() - 1)))

    return step_once


@torch.no_grad()
def _clip(parameters: list[nn.Parameter], largest: float, stacked: bool) -> None:
    """Scale gradients so that their overall norm, in a stack each network's, is at most `largest`."""
    if not stacked:
        nn.utils.clip_grad_norm_(parameters, largest)
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]).norm(dim=0)  # (networks,)
    for g in gradients:
        g *= (largest / (norm + 1e-6)).clamp(max=1).view(-1, *[1] * (g.dim() - 1))


def sweep(
    build: Callable[[int], nn.Module],
    data: Data,
    *,
    seeds: Sequence[int],
    rates: Mapping[str, Sequence[float]],
    epochs: int,
    score: str = "test_accuracy",
    optimisers: Mapping[str, Optimiser] = OPTIMISERS,
    **settings: Any,
) -> dict[str, Any]:
    """Train one network a seed at every learning rate by every optimiser; those of one optimiser at once.

    `build(seed)` makes an untrained network; `rates` lists the rates by the optimiser's name in `optimisers`; `score`
    is a key of what `train` returns, and `settings` are its other settings. Declared in a script as
    `SWEEP = {"rates": {"adam": [...], "sgd": [...]}, "epochs": 10}`, it is `sweep(build, data, seeds=seeds, **SWEEP)`.

    Returns for each optimiser {"rates", "median", "lo", "hi"}, four lists: the rates and the `band` of the scores
    over the seeds at each. A network that blew up counts with the score that it has, which is that of no guess.
    """
    found: dict[str, Any] = {}
    for name, of_optimiser in rates.items():
        stack = Stack([build(seed) for _ in of_optimiser for seed in seeds])
        result = train(
            stack,
            data,
            epochs=epochs,
            lr=[rate for rate in of_optimiser for _ in seeds],
            generator=torch.Generator().manual_seed(seeds[0]),
            optimiser=optimisers[name],
            **settings,
        )
        scores = torch.tensor(result[score], dtype=torch.float64).view(len(of_optimiser), len(seeds))
        found[name] = {"rates": list(of_optimiser), **band(scores.T.tolist())}
    return found


def best(swept: Mapping[str, Any]) -> dict[str, Any]:
    """The band at the best rate of what `sweep` returns: the rate, of any optimiser, with the highest median.

    To have it of one optimiser alone, give `{"adam": swept["adam"]}`.
    """
    bands = [
        {key: at[key][i] for key in ("median", "lo", "hi")} for at in swept.values() for i in range(len(at["rates"]))
    ]
    return max(bands, key=lambda band: band["median"])
