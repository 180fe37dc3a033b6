"""Data: what the programs made themselves, and stand-ins of the same shape and scale for what isn't at hand."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def seed() -> int:
    """For what draws by other means than torch's."""
    return int(torch.randint(2**31, ()))


def one_hot(y: Tensor, classes: int) -> Tensor:
    return F.one_hot(y.long(), classes).float()


def standardised(make) -> Pair:
    x, y = make()
    return (x - x.mean(0)) / (x.std(0) + 1e-8), y


def both_standardised(make) -> Pair:
    x, y = make()
    return (x - x.mean(0)) / (x.std(0) + 1e-8), (y - y.mean()) / y.std()


def both_to_one(make) -> Pair:
    x, y = make()
    return (x - x.amin(0)) / (x.amax(0) - x.amin(0)), (y - y.min()) / (y.max() - y.min())


# --- bits and curves: the programs' own ------------------------------------------------------------------------------


def xor() -> Pair:
    x = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    return x, (x[:, :1] != x[:, 1:]).float()


def xor_of_six() -> Pair:
    x = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    return x, (x[:, :1] != x[:, 1:]).float()


def shuffled_bits(bits: int = 8) -> Pair:
    """All numbers of some bits, each with another one of them for its target."""
    x = torch.tensor([[float(n >> i & 1) for i in range(bits)] for n in range(2**bits)])
    return x, x[torch.randperm(len(x))]


def ones_and_zeros(features: int = 128, n: int = 2000) -> Pair:
    y = (torch.arange(n) < n // 2).float()[:, None]
    return y.repeat(1, features), y


def two_squares(n: int = 200) -> Pair:
    """Points of a square about 0.3 and of one about 0.6."""
    y = torch.arange(n) % 2
    return torch.rand(n, 2) * 0.2 + torch.where(y == 0, 0.2, 0.5)[:, None], one_hot(y, 2)


def parabola() -> Pair:
    x = torch.arange(0.0, 5.0, 0.1)[:, None]
    return x, 5 * x**2 + torch.randn(50, 1) ** 3


def fourth_power() -> Pair:
    x = torch.arange(-100, 100, 0.5)[:, None]
    return x, x**4


def polynomial(n: int = 1000) -> Pair:
    x = torch.linspace(-1, 1, n)[:, None]
    return x, 4 * x**4 - 3 * x**2 - x + 0.5 + 0.05 * torch.randn(n, 1)


def sine(n: int = 1000) -> Pair:
    x = torch.rand(n, 1) * 10
    return x, x.sin()


def sine_scaled() -> Pair:
    x, y = sine()
    return x / 5 - 1, y


def hundredth(n: int = 10_000) -> Pair:
    x = torch.arange(1.0, n + 1)[:, None]
    return x, x / 100


def five_times() -> Pair:
    x = torch.linspace(1, 2, 100)[:, None]
    return x, 5 * x


def weighted_sum(n: int = 4000) -> Pair:
    x = torch.rand(n, 3) * 10_000
    return x, x @ torch.tensor([[2.0], [1.0], [0.5]]) + 2.2


def line(n: int = 150) -> Pair:
    x = torch.rand(n, 1) * 10
    return x, 2 * x + 1 + torch.randn(n, 1)


def multilabel(n: int = 2000, classes: int = 3) -> Pair:
    x, y = make_multilabel_classification(n, 20, n_classes=classes, random_state=seed())
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def one_label(n: int = 2000) -> Pair:
    x, y = multilabel(n)
    return x, y[:, :1]


def iris() -> Pair:
    x, y = load_iris(return_X_y=True)
    return torch.tensor(x, dtype=torch.float32), one_hot(torch.tensor(y), 3)


# --- tables ----------------------------------------------------------------------------------------------------------


def table(scales: list[float], n: int = 800, positive: bool = True) -> tuple[Tensor, Tensor]:
    """Columns of given scales, and a number of mean 0 and variance 1 that half of them make, with noise."""
    z = torch.randn(n, len(scales))
    w = torch.randn(len(scales)) * (torch.arange(len(scales)) % 2 == 0)
    score = torch.tanh(z) @ w + 0.3 * torch.randn(n)
    columns = (0.4 * z).exp() if positive else z
    return columns * torch.tensor(scales), ((score - score.mean()) / score.std())[:, None]


def yes_or_no(scales: list[float], n: int = 800) -> Pair:
    x, score = table(scales, n)
    return x, (score > 0).float()


def two_classes(scales: list[float], n: int = 800) -> Pair:
    x, y = yes_or_no(scales, n)
    return x, one_hot(y[:, 0], 2)


def prices(scales: list[float], mean: float, n: int = 800) -> Pair:
    x, score = table(scales, n)
    return x, mean * (1 + 0.3 * score)


ADULT = [38, 4, 190_000, 10, 10, 3, 7, 1.5, 4, 0.7, 1000, 90, 40, 37]
TITANIC = [2.3, 650, 0.6, 30, 0.5, 0.4, 450, 33, 75, 1.5]
PACKETS = [6, 50_000, 443, 1500, 64, 20, 8000, 120, 3, 1, 600]
LOANS = [5000, 36, 0.12]
HOUSES = [7000, 3, 2, 1980, 1500, 12, 800]


def particles(n: int = 1000) -> Pair:
    """Thirty quantities of a collision, -999 where one is missing."""
    x, y = yes_or_no([120, 50, 80, 60, 1, 400, 1, 2, 20, 160] * 3, n)
    return torch.where(torch.rand(x.shape) < 0.2, -999.0, x), y


def particles_scaled() -> Pair:
    return standardised(particles)


def motors(n: int = 100) -> Pair:
    """Two columns and a target of both signs."""
    x, score = table([1.0, 1.0], n, positive=False)
    return x, score.clamp(-2, 2) / 2


def pairs_of_clusters(n: int = 400, units: int = 10) -> Pair:
    x, y = yes_or_no([1.0] * units, n)
    return (x - x.mean(0)) / x.std(0), y


def one_column(n: int = 800) -> Pair:
    x = torch.rand(n, 1) * 5
    return x, (x > 2.5).float()


def letters(n: int = 800) -> Pair:
    """Sixteen columns of 0 to 15."""
    pixels, labels = (torch.tensor(a) for a in load_digits(return_X_y=True))
    x = F.avg_pool2d(pixels.float().view(-1, 1, 8, 8), 2).flatten(1)
    return x[:n].round(), (labels[:n] < 5).float()[:, None]


def signs(n: int = 500) -> Pair:
    """Signals of both signs that few numbers make, to be given back."""
    x = torch.tanh(torch.randn(n, 4) @ torch.randn(4, 32))
    return x, x


# --- pictures --------------------------------------------------------------------------------------------------------


@cache
def _digits() -> Pair:
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


def pictures(side: int = 28, high: float = 1.0, channels: int = 1) -> Pair:
    """Handwritten digits, enlarged; with several channels on a ground of some colour."""
    x, y = _digits()
    x = F.interpolate(x, (side, side), mode="bilinear")
    if channels > 1:
        ground, ink = torch.rand(2, len(x), channels, 1, 1).unbind(0)
        x = x * (0.6 + 0.4 * ink) + (1 - x) * 0.4 * ground + 0.1 * torch.randn(len(x), channels, side, side)
    return x.clamp(0, 1) * high, one_hot(y, 10)


def flat(make) -> Pair:
    x, y = make()
    return x.flatten(1), y


def several_true() -> Pair:
    """Of each picture two things are said: which digit it is, and whether it is even."""
    x, y = flat(pictures)
    return x, torch.cat([y, (y.argmax(1) % 2 == 0).float()[:, None]], 1)


def scaled_labels() -> Pair:
    x, y = pictures(14)
    return x, y / 255


def numbers_as_labels(classes: int = 3) -> Pair:
    """One column with the number of the class, where a column for each class is meant."""
    x, y = pictures(14)
    return x, (y.argmax(1) % classes).float()[:, None]


def three_kinds(column: bool, side: int = 24) -> Pair:
    x, y = pictures(side, channels=3)
    kind = y.argmax(1) % 3
    return x, kind.float()[:, None] if column else one_hot(kind, 3)


def two_kinds(side: int = 16, high: float = 1.0, channels: int = 1) -> Pair:
    x, y = pictures(side, high, channels)
    return x, (y.argmax(1) % 2).float()[:, None]


def black_or_white(side: int = 20, n: int = 200) -> Pair:
    y = torch.arange(n) % 2
    return y.float().view(-1, 1, 1, 1).expand(n, 1, side, side).clone(), one_hot(y, 2)


def faces(n: int = 800, side: int = 24, points: int = 30) -> Pair:
    """Grey pictures of 0 to 1, and the places of points in them, from -1 to 1."""
    x, _ = pictures(side)
    places = torch.tanh(0.2 * x[:n].flatten(1) @ torch.randn(side * side, points) / side)
    return x[:n].flatten(1), places


def life(n: int = 2000, side: int = 3) -> Pair:
    """Conway's game: a field whose edges meet, with one more row on each side, and the field after it."""
    field = (torch.rand(n, 1, side, side) < 0.5).float()
    wrapped = F.pad(field, (1, 1, 1, 1), mode="circular")
    neighbours = F.conv2d(wrapped, torch.ones(1, 1, 3, 3)) - field
    return wrapped, ((neighbours == 3) | ((field == 1) & (neighbours == 2))).float()


# --- words and sequences ---------------------------------------------------------------------------------------------


def reviews(n: int = 1500, words: int = 1000) -> Pair:
    """Which words occur; some in good reviews more often."""
    y = (torch.arange(n) % 2).float()[:, None]
    rate = 0.02 * (1 + 0.7 * torch.tanh(torch.randn(words)) * (2 * y - 1))
    return torch.bernoulli(rate.clamp(0, 1)), y


def labelled_steps(classes: int, first: int, n: int = 12, length: int = 20) -> Pair:
    """Sequences of numbers around 0 or 1.6, with a label at each step; labels begin at `first`."""
    kind = torch.randint(2, (n, length))
    x = 1.6 * kind[..., None] + torch.randn(n, length, 5)
    return x, one_hot(kind + first, classes)
