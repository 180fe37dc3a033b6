"""`vgdocs explore`: one setting of the explorer's model, on or off its grid: in words, as JSON or as PyTorch code."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vgdocs.explore import Measurement, Prediction

ACTIVATIONS = "linear, sigmoid, tanh, relu, leaky_relu, elu, selu, gelu, silu."  # known before torch is loaded
GRID = "docs/assets/explore/grid.js"  # from the project's root


@click.command()
@click.option("--activation", default="relu", show_default=True, metavar="NAME", help=ACTIVATIONS)
@click.option("--init", default="he", show_default=True, metavar="NAME", help="lecun, xavier, he, orthogonal, pytorch.")
@click.option("--gain", type=float, default=1.0, show_default=True, help="Multiplies the initialisation's sigma_w.")
@click.option("--norm", default="none", show_default=True, metavar="NAME", help="none, batch, layer, rms.")
@click.option("--skip", default="none", show_default=True, metavar="NAME", help="none, residual, scaled, prenorm.")
@click.option("--depth", type=int, default=50, show_default=True, help="Layers, or residual blocks.")
@click.option("--width", type=int, default=128, show_default=True, help="Units in a layer.")
@click.option("--batch", type=int, default=64, show_default=True, help="Inputs, drawn from N(0, 1).")
@click.option("--seeds", type=click.IntRange(min=1), default=9, show_default=True, help="How many random networks.")
@click.option("--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--code", is_flag=True, help="Print a plain PyTorch script that measures the first seed.")
@click.option("--record", is_flag=True, help="Measure the page's whole grid anew, and write it.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="Processes that record.")
@click.pass_context
def explore(
    context: click.Context,
    /,
    init: str,
    gain: float,
    seeds: int,
    device: str,
    as_json: bool,
    code: bool,
    record: bool,
    jobs: int,
    **chosen: Any,
) -> None:
    """Measure how the gradient fares in a deep network at initialisation."""
    if record:
        _record(context.obj.root / GRID, jobs, device)
        return
    # Here, because it imports torch, which takes longer than all other commands' start.
    from vgdocs import explore as model
    from vgdocs.experiments import derive_seeds

    try:
        setting = model.Setting.named(init=init, gain=gain, **chosen)
        if code:
            click.echo(model.snippet(setting), nl=False)
            return
        measurement = model.measure([setting], derive_seeds(model.SEED, seeds), device)[0]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    prediction = model.predict(setting)
    if as_json:
        click.echo(json.dumps(_content(measurement, prediction, init, gain), indent=1, allow_nan=False))
    else:
        click.echo(_words(measurement, prediction, init, gain))


def _content(measurement: Measurement, prediction: Prediction, init: str, gain: float) -> dict[str, Any]:
    setting, rates, ratios = measurement.setting, measurement.rates, measurement.ratios
    return {
        "activation": setting.activation,
        "init": init,
        "gain": gain,
        "family": setting.family,
        "sigma_w2": setting.sigma_w2,
        **{name: getattr(setting, name) for name in ("norm", "skip", "depth", "width", "batch")},
        "seeds": list(measurement.seeds),
        "gradient_of": "z" if setting.skip == "none" else "h",
        "rate": _json(measurement.rate),
        "rates": [_json(rate) for rate in rates],
        "ratio": _json(measurement.ratio),
        "ratios": [_json(ratio) for ratio in ratios],
        "norms": [_json(norm) for norm in measurement.norms],
        "forward": [_json(size) for size in measurement.forward_sizes],
        "theory_rate": _json(prediction.rate),
        "trouble": measurement.trouble,
    }


def _json(value: float) -> float | str:
    """JSON has no nan and no infinity: they are strings."""
    return value if math.isfinite(value) else str(value)


def _words(measurement: Measurement, prediction: Prediction, init: str, gain: float) -> str:
    setting, rates, ratios = measurement.setting, measurement.rates, measurement.ratios
    norms, layers = measurement.norms, setting.depth
    shown = sorted({1, *(max(1, round(layers * i / 5)) for i in range(1, 6))})
    lines = [
        f"{setting.activation}, {init} x {gain:g} (sigma_w2 {setting.sigma_w2:.4g}, {setting.family}), norm "
        f"{setting.norm}, skip {setting.skip}; {layers} layers of {setting.width}, batch {setting.batch}, "
        f"{len(measurement.seeds)} seeds",
        f"rate    {_number(measurement.rate)} per layer going backward  [{_number(min(rates))}, "
        f"{_number(max(rates))}]; theory {_number(prediction.rate)}",
        f"ratio   {_number(measurement.ratio)} first layer over last  [{_number(min(ratios))}, {_number(max(ratios))}]",
        f"norms   of dL/d{'z' if setting.skip == 'none' else 'h'}: "
        + ", ".join(f"{_number(norms[layer - 1])} at layer {layer}" for layer in shown),
    ]
    return "\n".join(lines + ([f"note    {measurement.trouble}"] if measurement.trouble else []))


def _number(value: float) -> str:
    return f"{value:.4g}"


def _record(path: Path, jobs: int, device: str) -> None:
    from vgdocs import explore_grid

    with click.progressbar(length=1, label="Measuring the explorer’s grid", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        explore_grid.record(path, jobs, device, progress)
    click.echo(f"{GRID} is written")
