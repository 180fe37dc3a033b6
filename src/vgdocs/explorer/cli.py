"""`vgdocs explore`: one setting of the explorer's model, on or off its grid: in words, as JSON or as PyTorch code.

`vgdocs train`: one setting of the page "Watch it train", trained by PyTorch.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from vgdocs.explorer import train as training

if TYPE_CHECKING:
    from vgdocs.explorer.model import Measurement, Prediction

GRID = "docs/assets/explore"  # from the project's root
OF_RECORD = {"record", "jobs", "device"}


@click.command(context_settings={"show_default": True})
@click.option("--activation", default="relu", metavar="NAME", help=f"{', '.join(training.ACTIVATIONS)}.")
@click.option("--init", default="he", metavar="NAME", help="lecun, xavier, he, orthogonal, pytorch.")
@click.option("--gain", type=float, default=1.0, help="Multiplies the initialisation's sigma_w.")
@click.option("--norm", default="none", metavar="NAME", help="none, batch, layer, rms.")
@click.option("--skip", default="none", metavar="NAME", help="none, residual, scaled, prenorm.")
@click.option("--depth", type=int, default=50, help="Layers, or residual blocks.")
@click.option("--width", type=int, default=128, help="Units in a layer.")
@click.option("--batch", type=int, default=64, help="Inputs, drawn from N(0, 1).")
@click.option("--seeds", type=click.IntRange(min=1), default=9, help="How many random networks.")
@click.option("--device", default="cpu", metavar="DEVICE", help="cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--code", is_flag=True, help="Print a plain PyTorch script that measures the first seed.")
@click.option("--record", is_flag=True, help="Measure the page's whole grid anew: with --jobs and --device alone.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, help="Processes that record.")
@click.pass_context
def explore(context: click.Context, /, init: str, gain: float, **options: Any) -> None:
    """Measure how the gradient fares in a deep network at initialisation."""
    others = ("seeds", "device", "as_json", "code", "record", "jobs")
    seeds, device, as_json, code, record, jobs = (options.pop(name) for name in others)
    given = {n for n in context.params if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE}
    if strange := given - OF_RECORD if record else given & {"jobs"}:
        names = ", ".join(sorted(f"--{name.removeprefix('as_')}" for name in strange))
        raise click.UsageError(f"{names}: {'nothing to --record' if record else 'for --record alone'}")
    # Here, because it imports torch, which takes longer than all other commands' start.
    from vgdocs.experiments import derive_seeds
    from vgdocs.explorer import grid, model, snippet

    try:
        if record:
            label = "Measuring the explorer’s grid"
            with click.progressbar(length=len(grid.PARTS), label=label, file=sys.stderr) as bar:
                grid.record(context.obj.root / GRID, jobs, device, lambda: bar.update(1))
            click.echo(f"{GRID} is written")
            return
        setting = model.Setting.named(init=init, gain=gain, **options)
        if code:
            click.echo(snippet.snippet(setting), nl=False)
            return
        measurement = model.measure([setting], derive_seeds(model.SEED, seeds), device)[0]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    prediction = model.predict(setting)
    if as_json:
        click.echo(json.dumps(_plain({"init": init, "gain": gain, **_content(measurement, prediction)}), indent=1))
    else:
        click.echo(_words(measurement, prediction, f"{init} x {gain:g}"))


def _content(measurement: Measurement, prediction: Prediction) -> dict[str, Any]:
    names = ("seeds", "rate", "rates", "ratio", "ratios", "norms", "forward_sizes", "trouble")
    found = {name.removesuffix("_sizes"): getattr(measurement, name) for name in names}
    watched = "z" if measurement.setting.skip == "none" else "h"
    return {**asdict(measurement.setting), "gradient_of": watched, **found, "theory_rate": prediction.rate}


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity: they are strings."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _spread(layers: int) -> list[int]:
    """The first, the last and up to four between, counted from 1."""
    return sorted({1, *(max(1, round(layers * i / 5)) for i in range(1, 6))})


def _words(measurement: Measurement, prediction: Prediction, init: str) -> str:
    setting, rates, ratios, norms = measurement.setting, measurement.rates, measurement.ratios, measurement.norms
    shown = _spread(setting.depth)
    lines = [
        f"{setting.activation}, {init} (sigma_w2 {setting.sigma_w2:.4g}, {setting.family}), norm {setting.norm}, skip "
        f"{setting.skip}; {setting.depth} layers of {setting.width}, batch {setting.batch}, {len(rates)} seeds",
        f"rate    {measurement.rate:.4g} per layer going backward  [{min(rates):.4g}, {max(rates):.4g}]; "
        f"theory {prediction.rate:.4g}",
        f"ratio   {measurement.ratio:.4g} first layer over last  [{min(ratios):.4g}, {max(ratios):.4g}]",
        f"norms   of dL/d{'z' if setting.skip == 'none' else 'h'}: "
        + ", ".join(f"{norms[layer - 1]:.4g} at layer {layer}" for layer in shown),
    ]
    return "\n".join(lines + ([f"note    {measurement.trouble}"] if measurement.trouble else []))


@click.command(context_settings={"show_default": True})
@click.argument("query", default="")
@click.option("--steps", type=click.IntRange(min=1), default=20, help="How many steps to take.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON per step: step, loss and all gradients.")
@click.option("--code", is_flag=True, help="Print the PyTorch script that is run.")
@click.option("--record", is_flag=True, help="Write what the page shares with this command: no QUERY.")
@click.pass_obj
def train(library: Any, query: str, steps: int, as_json: bool, code: bool, record: bool) -> None:
    """Train the network of a link to the page "Watch it train" by PyTorch, and print what the page shows.

    QUERY is a link, or its part from the question mark on. A step's loss and gradients are those before its update.
    """
    if record:
        if query or as_json or code:
            raise click.UsageError("--record goes alone")
        training.record(library.root / training.ASSETS)
        click.echo(f"{training.ASSETS} is written")
        return
    try:
        setting = training.parse(query)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if code:
        click.echo(training.script(setting), nl=False)
        return
    for state in islice(training.train(setting), steps):
        if as_json:
            click.echo(json.dumps(_plain(state)))
            continue
        shown = _spread(len(state["gradients"]))
        if state["step"] == 0:
            where = "the weights of layer" if setting["net"] == "mlp" else "h at time step"
            click.echo(f"{'step':>6}{'loss':>14}  gradient of {where} {', '.join(map(str, shown))}")
        norms = "".join(f"{state['gradients'][place - 1]:>12.4g}" for place in shown)
        click.echo(f"{state['step']:6}{state['loss']:14.8g}{norms}")
