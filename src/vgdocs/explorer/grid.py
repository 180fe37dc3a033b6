"""The explorer's grid: every setting that its page offers, measured once and recorded as plain numbers.

`docs/assets/explore/` has a file for each norm and skip, and grid.js, which says what is common to them. Each is JSON
that a script hands over, because a script, unlike a fetch, also loads from a file:// address:

    (window.vgGrid ??= {})["layer-none"] = {"rate": {"10": [[-1212, ...], [3, ...], [2, ...]], ...

By quantity and depth it holds one number for each of `rows`, or such a list for each of LAYERS: decimal logarithms, in
whole UNITS. A band over the nine seeds is three of those: the median, and how far the smallest lies below it and the
largest above. Settings that are equal by scale invariance were measured once: `canonical` says which.
"""

import datetime
import importlib.metadata
import json
import math
import multiprocessing
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vgdocs import theory
from vgdocs.explorer.model import (
    ACTIVATIONS,
    FAMILIES,
    HOMOGENEOUS,
    NORMS,
    SEEDS,
    SKIPS,
    Measurement,
    Setting,
    measure,
    predict,
)
from vgdocs.explorer.snippet import FILLINGS, SNIPPET

SIGMA_W2 = (0.1, 1 / 3, 0.6, 1.0, 1.4, 2.0, 3.0, 6.0, 20.0, 100.0, 128.0)  # has the marks, and sigmoid's 103
LAYERS = {
    10: (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    20: (1, 2, 4, 6, 8, 12, 14, 16, 18, 20),
    50: (1, 2, 4, 8, 13, 19, 25, 31, 43, 50),
    100: (1, 4, 8, 15, 25, 38, 52, 66, 92, 100),
}  # depth -> layers that are recorded
UNITS = {
    "rate": 2e-4,
    "theory_rate": 2e-4,
    "ratio": 2e-4,
    "first": 8e-7,  # the first seed's rate, which whoever repeats it is held to: 1e-6
    "gradient": 0.01,
    "forward": 0.01,
    "theory": 0.01,
}  # quantity -> decades
BANDS = ("rate", "ratio", "gradient", "forward")  # over the seeds: median, smallest, largest
MARKS = {1 / 3: ["PyTorch’s default"], 1.0: ["LeCun", "Xavier"], 2.0: ["He"], 128.0: ["unscaled N(0, 1)"]}
PRESETS = {
    "pytorch_relu": Setting("relu", sigma_w2=1 / 3),
    "xavier_sigmoid": Setting("sigmoid"),
    "batchnorm_relu": Setting("relu", sigma_w2=2.0, norm="batch"),
    "residual_relu": Setting("relu", sigma_w2=2.0, skip="residual"),
    "unscaled_tanh": Setting("tanh", sigma_w2=128.0),  # the width, so that each weight has variance 1
    "layernorm_sigmoid": Setting("sigmoid", norm="layer"),
}
PARTS = tuple(product(NORMS, SKIPS))  # a file each
OPENING, CLOSING = '(window.vgGrid ??= {{}})["{}"] = ', ";\n"
COMMAND = "vgdocs explore --record"

Entry = dict[str, Tensor]  # decimal logarithms of the quantities of UNITS, () or (layers,); bands have 3 rows of them


def offered() -> Iterator[Setting]:
    """Every setting of the page."""
    for activation, norm, skip, sigma_w2, depth, family in product(
        ACTIVATIONS, NORMS, SKIPS, SIGMA_W2, LAYERS, FAMILIES
    ):
        yield Setting(activation, family, sigma_w2, norm, skip, depth)


def rows(norm: str, skip: str, depth: int) -> list[Setting]:
    """The settings of one file and depth, in its order."""
    axes = product(FAMILIES, ACTIVATIONS, SIGMA_W2)
    return [Setting(activation, family, sigma_w2, norm, skip, depth) for family, activation, sigma_w2 in axes]


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
    """The settings that are measured."""
    return [setting for setting in offered() if canonical(setting) == setting]


def summarise(measurement: Measurement, setting: Setting | None = None) -> Entry:
    """What is recorded, unrounded: of the measured setting, or of one that is equal to it but for `power`."""
    setting = setting or measurement.setting
    prediction, depth, p = predict(setting), setting.depth, power(setting)
    layers = torch.tensor(LAYERS[depth])
    rates, ratios = (torch.tensor(x, dtype=torch.float64) for x in (measurement.rates, measurement.ratios))

    def band(values: Tensor, shift: Tensor | float) -> Tensor:
        logs = values.log10() + shift
        return torch.stack([logs.median(0).values, logs.amin(0), logs.amax(0)])  # nan where one is

    return {
        "rate": band(rates, p),
        "theory_rate": torch.tensor(prediction.rate, dtype=torch.float64).log10(),
        "ratio": band(ratios, p * (depth - 1)),
        "first": rates[0].log10() + p,
        "gradient": band(measurement.gradient[:, layers - 1], p * (depth - layers)),
        "forward": band(measurement.forward[:, layers - 1], p * layers),
        "theory": torch.tensor(prediction.profile, dtype=torch.float64)[layers - 1],  # relative to the last layer
    }


def read(folder: Path) -> dict[Setting, Entry]:
    """Every setting of the page; raises ValueError for files that are damaged or were recorded for another page."""
    content = load(folder / "grid.js")
    if stale := [name for name, value in header().items() if content.get(name) != value]:
        raise ValueError(f"{folder.name} was recorded for another {', '.join(stale)}: run `{COMMAND}`")
    entries: dict[Setting, Entry] = {}
    for norm, skip in PARTS:
        path = folder / f"{norm}-{skip}.js"
        try:
            table = load(path)
            for depth in LAYERS:
                columns = [_decades(name, table[name][str(depth)]).unbind(-1) for name in UNITS]
                for setting, *values in zip(rows(norm, skip, depth), *columns, strict=True):
                    entries[setting] = dict(zip(UNITS, values, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} is damaged ({error}): run `{COMMAND}`") from None
    return entries


def _decades(name: str, steps: Any) -> Tensor:
    """A quantity of a table as logarithms, with the settings last: what `_steps` has made of them."""
    x = torch.tensor(steps, dtype=torch.float64)
    return UNITS[name] * (torch.stack([x[0], x[0] - x[1], x[0] + x[2]]) if name in BANDS else x)


def _steps(name: str, entries: list[Entry]) -> Any:
    x = (torch.stack([entry[name] for entry in entries], -1) / UNITS[name]).round()
    return _whole((torch.stack([x[0], x[0] - x[1], x[2] - x[0]]) if name in BANDS else x).tolist())


def _whole(x: Any) -> Any:
    """Numbers as integers, but for nan and infinity, which a script knows as well as Python's JSON does."""
    if isinstance(x, list):
        return [_whole(item) for item in x]
    return int(x) if math.isfinite(x) else x


def header() -> dict[str, Any]:
    """What the page needs beside the measurements; a grid that was recorded for another one is refused."""
    named = {"activation": ACTIVATIONS, "family": FAMILIES, "sigma_w2": SIGMA_W2, "norm": NORMS, "skip": SKIPS}
    return {
        "axes": {name: list(values) for name, values in (named | {"depth": LAYERS}).items()},
        "layers": {str(depth): list(layers) for depth, layers in LAYERS.items()},
        "units": UNITS,
        "marks": [{"sigma_w2": sigma_w2, "names": names} for sigma_w2, names in MARKS.items()],
        "width": Setting.width,
        "batch": Setting.batch,
        "seeds": list(SEEDS),
        "snippet": {"script": SNIPPET, "fillings": FILLINGS},
    }


def load(path: Path) -> dict[str, Any]:
    """The JSON that a file hands over; raises ValueError where it holds something else."""
    before, text, after = path.read_text(encoding="utf-8").partition(OPENING.format(path.stem))
    if before or not text or not after.endswith(CLOSING):
        raise ValueError(f"{path.name} hands over no part of the grid")
    content: dict[str, Any] = json.loads(after.removesuffix(CLOSING))
    return content


def write(folder: Path, entries: Mapping[Setting, Entry], provenance: dict[str, Any]) -> None:
    """Write all files, each whole or not at all."""
    critical = {activation: _critical(activation) for activation in ACTIVATIONS}
    contents: dict[str, Any] = {"grid": {**header(), "critical": critical, "provenance": provenance}}
    for norm, skip in PARTS:
        its = {str(depth): [entries[setting] for setting in rows(norm, skip, depth)] for depth in LAYERS}
        table = {name: {depth: _steps(name, found) for depth, found in its.items()} for name in UNITS}
        contents[f"{norm}-{skip}"] = table
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        aside = folder / f"{name}.tmp"
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        aside.write_text(f"{OPENING.format(name)}{text}{CLOSING}", encoding="utf-8")
        aside.replace(folder / f"{name}.js")


def _critical(activation: str) -> float | None:
    """The sigma_w2 at which plain networks neither vanish nor explode, or None where the rate jumps across 1."""
    try:
        return round(theory.critical_sigma_w2(theory.ACTIVATIONS[activation]), 4)
    except ValueError:
        return None


def record(folder: Path, jobs: int = 2, device: str = "cpu", progress: Callable[[], None] = lambda: None) -> None:
    """Measure the whole grid in `jobs` processes and write it; `progress` is called after each of PARTS."""
    entries: dict[Setting, Entry] = {}
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(partial(_measure, device=device), PARTS):
            entries |= found
            progress()
    provenance = {
        "command": COMMAND,
        "date": datetime.date.today().isoformat(),
        "versions": {"python": platform.python_version(), "torch": importlib.metadata.version("torch")},
        "machine": torch.cuda.get_device_name() if device != "cpu" else f"{platform.system()} {platform.machine()}",
        "measured": len(measured()),
    }
    write(folder, entries, provenance)


def _measure(part: tuple[str, str], device: str) -> dict[Setting, Entry]:
    """The entries of one file."""
    torch.set_num_threads(1)
    settings = [setting for depth in LAYERS for setting in rows(*part, depth)]
    unique = list(dict.fromkeys(map(canonical, settings)))
    found = dict(zip(unique, measure(unique, device=device), strict=True))
    return {setting: summarise(found[canonical(setting)], setting) for setting in settings}
