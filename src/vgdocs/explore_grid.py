"""The explorer's grid: every setting that its page offers, measured once and shipped in one small file.

Settings that are equal by scale invariance share one measurement: `canonical` says which. What is left is measured on
nine seeds and kept as decimal logarithms in whole numbers of small steps, each as its distance from what its
neighbours lead one to expect, so that most fit into one character, which gzip then packs. `docs/assets/explore/grid.js`
assigns the whole to `window.vgGrid`, because a script, unlike a fetch, also loads from a file:// address.
"""

import datetime
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from vgdocs import theory
from vgdocs.explore import (
    ACTIVATIONS,
    EPS,
    FAMILIES,
    FILLINGS,
    HOMOGENEOUS,
    NORMS,
    SEEDS,
    SKIPS,
    SNIPPET,
    Measurement,
    Setting,
    measure,
    predict,
)

SIGMA_W2 = (0.1, 1 / 3, 0.6, 1.0, 1.4, 2.0, 3.0, 6.0, 20.0, 100.0, 128.0)  # has the marks, and sigmoid's 103
KNOTS = {
    10: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    20: (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20),
    50: (1, 2, 4, 8, 13, 19, 25, 31, 37, 43, 48, 50),
    100: (1, 2, 4, 8, 15, 25, 38, 52, 66, 80, 92, 100),
}  # depth -> layers whose norms are shipped


def offered() -> Iterator[Setting]:
    """Every setting of the page."""
    # Neighbours are alike, which keeps the file small.
    for activation, norm, skip, sigma_w2, depth, family in product(
        ACTIVATIONS, NORMS, SKIPS, SIGMA_W2, KNOTS, FAMILIES
    ):
        yield Setting(activation, family, sigma_w2, norm, skip, depth)


def canonical(setting: Setting) -> Setting:
    """The setting whose measurement serves this one too.

    Without a skip a norm undoes the weights' scale. Without a skip or a norm, a phi with phi(c z) = c phi(z) only
    multiplies each layer by sigma_w: see `power`. And before or inside the branch, no norm is no norm.
    """
    if setting.skip == "prenorm" and setting.norm == "none":
        return replace(setting, skip="residual")
    if setting.skip == "none" and (setting.norm != "none" or setting.activation in HOMOGENEOUS):
        return replace(setting, sigma_w2=1.0)
    return setting


def power(setting: Setting) -> float:
    """log10 of what each layer of a setting has more than its canonical one's: sigma_w, or nothing."""
    scales = setting.skip == "none" and setting.norm == "none" and setting.activation in HOMOGENEOUS
    return math.log10(setting.sigma_w2) / 2 if scales else 0.0


def measured() -> list[Setting]:
    """The settings that are measured, in the order in which the file holds them."""
    return [setting for setting in offered() if canonical(setting) == setting]


@dataclass(frozen=True)
class Raw:
    """One setting on one seed: natural numbers as measured, before they are rounded."""

    gradient: tuple[float, ...]  # norms, one a knot
    forward: tuple[float, ...]  # root mean squares, one a knot
    rate: float
    ratio: float


def raw(measurement: Measurement) -> list[Raw]:
    """What the grid keeps of a measurement, seed by seed."""
    knots = [layer - 1 for layer in KNOTS[measurement.setting.depth]]
    return [
        Raw(tuple(gradient), tuple(forward), rate, ratio)
        for gradient, forward, rate, ratio in zip(
            measurement.gradient[:, knots].tolist(),
            measurement.forward[:, knots].tolist(),
            measurement.rates,
            measurement.ratios,
            strict=True,
        )
    ]


def _task(family: str, seed: int, device: str) -> tuple[list[Raw], float]:
    import torch

    torch.set_num_threads(1)
    start = time.process_time()
    settings = [setting for setting in measured() if setting.family == family]
    return [raw(measurement)[0] for measurement in measure(settings, [seed], device)], time.process_time() - start


def measure_all(
    jobs: int = 2, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> tuple[list[list[Raw]], float]:
    """Measure the grid in `jobs` processes: for each of `measured()` one Raw a seed, and the processors' seconds.

    `progress` is told how many of how many parts are done.
    """
    tasks = list(product(FAMILIES, SEEDS))
    done: dict[tuple[str, int], list[Raw]] = {}
    seconds = 0.0
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_task, *task, device): task for task in tasks}
        for future in as_completed(futures):
            done[futures[future]], spent = future.result()
            seconds += spent
            if progress:
                progress(len(done), len(tasks))
    results = []
    position = dict.fromkeys(FAMILIES, 0)
    for setting in measured():
        results.append([done[setting.family, seed][position[setting.family]] for seed in SEEDS])
        position[setting.family] += 1
    return results, seconds


# How the numbers are kept ---------------------------------------------------------------------------------------------

PROFILE = 0.01  # decades to a step: of the profiles, and of the ratio's spread
RATE = 2e-4  # decades to a step of the rate
RATIO = 2e-3  # decades to a step of the ratio's median
FIRST = 8e-7  # decades to a step of the first seed's rate and ratio, which a reader's own run is held to: 1e-6
STREAMS = (
    *("theory_rate", "rate", "rate_spread", "ratio", "ratio_spread", "first", "theory"),
    *(f"{signal}{part}" for signal in ("gradient", "forward") for part in ("", "_lo", "_hi")),
)
ALPHABET = "".join(chr(code) for code in range(35, 123) if chr(code) not in "<\\")[:85]  # none that needs escaping
MIDDLE = len(ALPHABET) // 2  # the character at which 0 stands
WIDE = len(ALPHABET) ** 2  # what two characters can tell apart

Step = int | float  # a whole number of steps, or nan, inf or -inf


@dataclass(frozen=True)
class Band:
    """Decimal logarithms: the median over the seeds, the smallest and the largest."""

    median: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Entry:
    """What the page can show of a setting; everything but `layers` is a decimal logarithm, -inf for an underflow."""

    layers: tuple[int, ...]
    gradient: list[Band]  # norm of dL/dz_l, or of dL/dh_l where there is a skip, at each of `layers`
    forward: list[Band]  # root mean square of h_l
    theory: list[float]  # the gradient by theory, which starts from the measured median at the last layer
    rate: Band
    theory_rate: float
    ratio: Band
    first_rate: float  # the first seed's, to 1e-6
    first_ratio: float


def _steps(value: float, step: float) -> Step:
    return math.floor(value / step + 0.5) if math.isfinite(value) else value


def _log(value: float) -> float:
    if value > 0:
        return math.log10(value)
    return -math.inf if value == 0 else math.nan


def _band(values: Iterable[float]) -> Band:
    logs = [_log(value) for value in values]
    if any(math.isnan(log) for log in logs):
        return Band(math.nan, math.nan, math.nan)
    return Band(statistics.median(logs), min(logs), max(logs))


@dataclass(frozen=True)
class Summary:
    """What several seeds come to: decimal logarithms."""

    gradient: list[Band]
    forward: list[Band]
    rate: Band
    ratio: Band


def summarise(seeds: Sequence[Raw]) -> Summary:
    """Medians and ends over the seeds; nan where one of them is."""
    return Summary(
        gradient=[_band(norms) for norms in zip(*(one.gradient for one in seeds), strict=True)],
        forward=[_band(sizes) for sizes in zip(*(one.forward for one in seeds), strict=True)],
        rate=_band([one.rate for one in seeds]),
        ratio=_band([one.ratio for one in seeds]),
    )


class _Writer:
    """Writes each number as its distance from the expected one."""

    def __init__(self) -> None:
        self.streams: dict[str, list[str]] = {name: [] for name in STREAMS}

    def __call__(self, stream: str, expected: int, value: Step | None) -> Step:
        assert value is not None
        self.streams[stream].append(_token(value if isinstance(value, float) else value - expected))
        return value

    def wide(self, stream: str, expected: int, value: Step | None) -> Step:
        """The same with two characters more, for numbers whose last digits nothing foretells."""
        assert value is not None
        if isinstance(value, float):
            self.streams[stream].append(_token(value))
        else:
            high, low = divmod(value - expected + WIDE // 2, WIDE)
            first, second = divmod(low, len(ALPHABET))
            self.streams[stream].append(_token(high) + ALPHABET[first] + ALPHABET[second])
        return value


def _token(value: Step) -> str:
    if isinstance(value, int) and -MIDDLE <= value <= MIDDLE:
        return ALPHABET[value + MIDDLE]
    return f"{{{value}}}"


class _Reader:
    """Reads what a _Writer wrote, if it is asked in the same order."""

    def __init__(self, streams: dict[str, str]) -> None:
        self.tokens = {name: iter(re.findall(r"\{[^}]*\}|.", text)) for name, text in streams.items()}
        self.place = {character: i for i, character in enumerate(ALPHABET)}

    def __call__(self, stream: str, expected: int, value: Step | None = None) -> Step:
        token = next(self.tokens[stream])
        if len(token) == 1:
            return self.place[token] - MIDDLE + expected
        return float(token[1:-1]) if token[1:-1] in ("nan", "inf", "-inf") else int(token[1:-1]) + expected

    def wide(self, stream: str, expected: int, value: Step | None = None) -> Step:
        high = self(stream, 0)
        if isinstance(high, float):
            return high
        first, second = self.place[next(self.tokens[stream])], self.place[next(self.tokens[stream])]
        return high * WIDE + first * len(ALPHABET) + second - WIDE // 2 + expected


def _finite(value: Step, otherwise: int = 0) -> int:
    return value if isinstance(value, int) else otherwise


@dataclass
class _Record:
    """An entry in whole steps, as it is written and read."""

    theory_rate: Step | None = None
    rate: Sequence[Step | None] = (None,) * 3
    ratio: Sequence[Step | None] = (None,) * 3
    first: Sequence[Step | None] = (None,) * 2
    theory: Sequence[Step | None] = ()
    gradient: Sequence[Sequence[Step | None]] = ()
    forward: Sequence[Sequence[Step | None]] = ()


def _transfer(code: _Writer | _Reader, record: _Record, depth: int, previous: int) -> _Record:
    """Pass a record through: a writer is given the whole one, a reader fills in an empty one, in the same order."""
    layers = KNOTS[depth]
    theory_rate = code("theory_rate", previous, record.theory_rate)
    rate = code("rate", _finite(theory_rate), record.rate[0])
    rates = [rate, *(code("rate_spread", _finite(rate), end) for end in record.rate[1:])]

    nothing = [(None,) * 3] * len(layers)
    backward = list(zip(layers, record.gradient or nothing, record.theory or [None] * len(layers), strict=True))[::-1]
    gradient: list[list[Step]] = []
    theory: list[Step] = []
    expected, below, above, off = 196, 0, 0, 0  # the norm of v is some 10**1.96
    after = depth
    for layer, (middle, lo, hi), predicted in backward:
        # Rounded down after adding a half: the same in Python and in JavaScript.
        expected += (_finite(rate) * (after - layer) * 2 + 50) // 100
        median = code("gradient", expected, middle)
        expected, after = _finite(median, expected), layer
        ends = [code("gradient_lo", expected - below, lo), code("gradient_hi", expected + above, hi)]
        below, above = expected - _finite(ends[0], expected), _finite(ends[1], expected) - expected
        gradient.append([median, *ends])
        theory.append(code("theory", expected + off, predicted))
        off = _finite(theory[-1], expected) - expected

    forward: list[list[Step]] = []
    level, slope, below, above, before = 0, (0, 1), 0, 0, 0
    for layer, (middle, lo, hi) in zip(layers, record.forward or nothing, strict=True):
        expected = level + (2 * slope[0] * (layer - before) + slope[1]) // (2 * slope[1])
        median = code("forward", expected, middle)
        slope = (_finite(median, expected) - level, layer - before)
        level, before = _finite(median, expected), layer
        ends = [code("forward_lo", level - below, lo), code("forward_hi", level + above, hi)]
        below, above = level - _finite(ends[0], level), _finite(ends[1], level) - level
        forward.append([median, *ends])

    fall = _finite(gradient[-1][0]) - _finite(gradient[0][0])
    ratio = code("ratio", fall * 5, record.ratio[0])  # PROFILE / RATIO
    ratios = [ratio, *(code("ratio_spread", _finite(ratio) // 5, end) for end in record.ratio[1:])]
    first = [
        code.wide("first", _finite(rate) * 250, record.first[0]),  # RATE / FIRST
        code.wide("first", _finite(ratio) * 2500, record.first[1]),  # RATIO / FIRST
    ]
    return _Record(theory_rate, rates, ratios, first, theory[::-1], gradient[::-1], forward)


def _record(setting: Setting, seeds: Sequence[Raw]) -> _Record:
    """Raw numbers in whole steps."""
    summary, prediction = summarise(seeds), predict(setting)

    def steps(band: Band, middle: float = PROFILE, ends: float = PROFILE) -> list[Step]:
        return [_steps(band.median, middle), _steps(band.lo, ends), _steps(band.hi, ends)]

    last = summary.gradient[-1].median
    return _Record(
        _steps(_log(prediction.rate), RATE),
        steps(summary.rate, RATE, RATE),
        steps(summary.ratio, RATIO),
        [_steps(_log(seeds[0].rate), FIRST), _steps(_log(seeds[0].ratio), FIRST)],
        [_steps(last + prediction.profile[layer - 1], PROFILE) for layer in KNOTS[setting.depth]],
        [steps(band) for band in summary.gradient],
        [steps(band) for band in summary.forward],
    )


def encode(results: Iterable[Sequence[Raw]]) -> dict[str, str]:
    """The streams of characters that stand for the results of `measured()`, in its order."""
    writer = _Writer()
    previous = 0
    for setting, seeds in zip(measured(), results, strict=True):
        record = _transfer(writer, _record(setting, seeds), setting.depth, previous)
        previous = _finite(record.theory_rate or 0)
    return {name: "".join(tokens) for name, tokens in writer.streams.items()}


def decode(streams: dict[str, str]) -> dict[Setting, Entry]:
    """What `encode` was given, to within half a step, for each of `measured()`."""
    reader = _Reader(streams)
    entries = {}
    previous = 0
    for setting in measured():
        record = _transfer(reader, _Record(), setting.depth, previous)
        previous = _finite(record.theory_rate or 0)
        entries[setting] = _entry(record, setting.depth)
    return entries


def _entry(record: Any, depth: int) -> Entry:
    return Entry(
        layers=KNOTS[depth],
        gradient=[Band(*(step * PROFILE for step in steps)) for steps in record.gradient],
        forward=[Band(*(step * PROFILE for step in steps)) for steps in record.forward],
        theory=[step * PROFILE for step in record.theory],
        rate=Band(*(step * RATE for step in record.rate)),
        theory_rate=record.theory_rate * RATE,
        ratio=Band(record.ratio[0] * RATIO, record.ratio[1] * PROFILE, record.ratio[2] * PROFILE),
        first_rate=record.first[0] * FIRST,
        first_ratio=record.first[1] * FIRST,
    )


# The file -------------------------------------------------------------------------------------------------------------

OPENING, CLOSING = "window.vgGrid = ", ";\n"
COMMAND = "vgdocs explore --record"
MARKS = {
    1 / 3: ["PyTorch’s default"],
    1.0: ["LeCun", "Xavier"],
    2.0: ["He"],
    128.0: ["unscaled N(0, 1)"],
}  # named points of the axis; 128 is the width, so that each weight has variance 1
LABELS = {
    "activation": dict(
        zip(
            ACTIVATIONS, ("linear", "sigmoid", "tanh", "ReLU", "leaky ReLU", "ELU", "SELU", "GELU", "SiLU"), strict=True
        )
    ),
    "family": {"gaussian": "Gaussian", "orthogonal": "orthogonal"},
    "norm": {"none": "none", "batch": "batch", "layer": "layer", "rms": "RMS"},
    "skip": {"none": "none", "residual": "residual", "scaled": "residual, scaled by 1/√L", "prenorm": "pre-norm"},
}
PRESETS = {
    "pytorch_relu": ("PyTorch’s default with ReLU", Setting("relu", sigma_w2=1 / 3)),
    "xavier_sigmoid": ("Xavier with sigmoid", Setting("sigmoid", sigma_w2=1.0)),
    "batchnorm_relu": ("Batch normalisation without skips", Setting("relu", sigma_w2=2.0, norm="batch")),
    "residual_relu": ("Residuals without scaling", Setting("relu", sigma_w2=2.0, skip="residual")),
    "unscaled_tanh": ("Unscaled N(0, 1) weights", Setting("tanh", sigma_w2=128.0)),
    "layernorm_sigmoid": ("Layer normalisation with sigmoid", Setting("sigmoid", sigma_w2=1.0, norm="layer")),
}


class Grid:
    """The recorded grid, read from its file."""

    def __init__(self, path: Path) -> None:
        self.content = read(path)
        expected = header()
        stale = [name for name, value in expected.items() if self.content.get(name) != value]
        if stale:
            raise ValueError(f"{path.name} was recorded for another {', '.join(stale)}: run `{COMMAND}`")
        self.entries = decode(self.content["streams"])

    def at(self, setting: Setting) -> Entry:
        """What was measured of a setting on the grid; raises KeyError for another one."""
        entry, p, depth = self.entries[canonical(setting)], power(setting), setting.depth
        return Entry(
            layers=entry.layers,
            gradient=[
                _shift(band, p * (depth - layer)) for layer, band in zip(entry.layers, entry.gradient, strict=True)
            ],
            forward=[_shift(band, p * layer) for layer, band in zip(entry.layers, entry.forward, strict=True)],
            theory=[log + p * (depth - layer) for layer, log in zip(entry.layers, entry.theory, strict=True)],
            rate=_shift(entry.rate, p),
            theory_rate=entry.theory_rate + p,
            ratio=_shift(entry.ratio, p * (depth - 1)),
            first_rate=entry.first_rate + p,
            first_ratio=entry.first_ratio + p * (depth - 1),
        )


def _shift(band: Band, by: float) -> Band:
    return Band(band.median + by, band.lo + by, band.hi + by)


def header() -> dict[str, Any]:
    """What the page needs beside the measurements; a file that was recorded for another one is refused."""
    one = Setting("relu")
    return {
        "format": 1,
        "axes": {
            "activation": list(ACTIVATIONS),
            "family": list(FAMILIES),
            "sigma_w2": list(SIGMA_W2),
            "norm": list(NORMS),
            "skip": list(SKIPS),
            "depth": list(KNOTS),
        },
        "knots": {str(depth): list(layers) for depth, layers in KNOTS.items()},
        "homogeneous": list(HOMOGENEOUS),
        "labels": LABELS,
        "marks": [{"sigma_w2": sigma_w2, "names": names} for sigma_w2, names in MARKS.items()],
        "presets": [
            {
                "id": name,
                "name": title,
                "setting": {axis: getattr(setting, axis) for axis in (*LABELS, "sigma_w2", "depth")},
            }
            for name, (title, setting) in PRESETS.items()
        ],
        "width": one.width,
        "batch": one.batch,
        "eps": EPS,
        "seeds": list(SEEDS),
        "steps": {"profile": PROFILE, "rate": RATE, "ratio": RATIO, "first": FIRST},
        "alphabet": ALPHABET,
        "snippet": {"script": SNIPPET, "fillings": FILLINGS},
    }


def read(path: Path) -> dict[str, Any]:
    """The JSON in grid.js; raises ValueError where the file holds something else."""
    text = path.read_text(encoding="utf-8")
    if not (text.startswith(OPENING) and text.endswith(CLOSING)):
        raise ValueError(f"{path.name} does not assign a grid")
    content: dict[str, Any] = json.loads(text[len(OPENING) : -len(CLOSING)])
    return content


def write(path: Path, results: Iterable[Sequence[Raw]], provenance: dict[str, Any]) -> None:
    """Write grid.js, whole or not at all."""
    content = {
        **header(),
        "critical": {activation: critical(activation) for activation in ACTIVATIONS},
        "provenance": provenance,
        "streams": encode(results),
    }
    aside = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(
        OPENING + json.dumps(content, ensure_ascii=False, separators=(",", ":")) + CLOSING, encoding="utf-8"
    )
    aside.replace(path)


def critical(activation: str) -> float | None:
    """The sigma_w2 at which plain networks neither vanish nor explode, or None where the rate jumps across 1."""
    try:
        return round(theory.critical_sigma_w2(theory.ACTIVATIONS[activation]), 4)
    except ValueError:
        return None


def record(path: Path, jobs: int = 2, device: str = "cpu", progress: Callable[[int, int], None] | None = None) -> None:
    """Measure the whole grid and write it to `path`, with where it comes from."""
    results, seconds = measure_all(jobs, device, progress)
    write(path, results, provenance(device, seconds))


def provenance(device: str, seconds: float) -> dict[str, Any]:
    """What was run, with what and on what kind of machine."""
    return {
        "command": COMMAND,
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), "torch": importlib.metadata.version("torch")},
        "machine": f"{platform.system()} {platform.machine()}, {_processor(device)}",
        "processor_minutes": round(seconds / 60, 1),
        "measured": len(measured()),
    }


def _processor(device: str) -> str:
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name()
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    name = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return f"{name[1] if name else platform.processor() or 'unknown processor'}, {os.cpu_count()} cores"
