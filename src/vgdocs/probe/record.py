"""What a probe recorded: rows, a table for the terminal and a plot in the site's style."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vgdocs.probe.graph import Graph
from vgdocs.probe.layers import Layer, wide

if TYPE_CHECKING:
    import plotly.graph_objects as go

# First layer's gradient over the last layer's, at the start. Measured on the digits, in networks of 16 layers: below
# 1e-4 gradient descent trains at none of five rates, and Adam less and less (figures/trainable_ratio.py). 30 layers
# with batch normalisation start at 300; by Adam at 0.001 they stay there and hardly train, larger steps end it
# (figures/batchnorm_explosion.py, init_training.py). Networks of 24 layers that train well have gone up to 17.
VANISHING = 1e-4
EXPLODING = 100.0

Row = dict[str, Any]
Key = tuple[Any, ...]  # (quantity, layer or parameter, and what else tells two measurements of a step apart)

FULL = (  # what a row has at full steps only
    *("signal", "zero_gradients", "dead", "saturated", "weight", "update_ratio", "sigma_w2", "sigma_b2", "nonfinite"),
    *("rows", "values", "half", "elements", "gate"),
)

COLUMNS = {  # of the table: heading, name in a row, format
    "‖∂L/∂W‖": ("weight_gradient", "8.1e"),
    "‖∂L/∂y‖": ("activation_gradient", "8.1e"),
    "signal": ("signal", "8.1e"),
    "zeros": ("zero_gradients", "6.0%"),
    "dead": ("dead", "6.0%"),
    "saturated": ("saturated", "9.0%"),
    "update": ("update_ratio", "8.1e"),
    "σ_w²": ("sigma_w2", "6.2f"),
    "nan/inf": ("nonfinite", ""),
}
LEGEND = (
    "‖∂L/∂W‖, ‖∂L/∂y‖: gradient of the loss with respect to a layer's parameters and to its output y\n"
    "signal: root mean square of y · zeros: exact ones in ∂L/∂y · dead: units silent on the whole batch\n"
    "saturated: outputs where the activation is flat · update: change of the parameters over their norm\n"
    "σ_w²: fan-in × variance of the weights (PyTorch 0.33, LeCun 1, He 2)"
)


STEPS = 1_000  # the most that a record keeps
EARLY, LATE = 100, 300  # of them the first and the last
CHANGES = 50  # of the others, those in which the loss changed most


class Step:
    """What was measured in one step: tensors while it lasts, one vector per device after it, numbers when asked for."""

    def __init__(self, number: int, full: bool) -> None:
        self.number, self.full = number, full
        self.tensors: dict[Key, Tensor] = {}
        self.facts: dict[Key, Any] = {}  # what is known without the device, as how many values were counted
        self.calls: dict[int, int] = {}  # by layer, in the order of the first calls
        self.reached: set[int] = set()  # parameters that a backward pass has reached
        self.tasks: set[int] = set()  # backward passes that reached any
        self.seen: set[int] = set()  # backward passes that reached an output
        self.cut_off = False  # a backward pass began at a loss that depends on none of the parameters
        self.skipped = False
        self.graph: Graph | None = None
        self.later_ones = 0
        self._packed: list[tuple[list[tuple[Key, int]], Tensor]] = []
        self._values: dict[Key, list[float]] = {}
        self._rows: tuple[Any, list[Row], list[Row], Row] | None = None

    def pack(self) -> None:
        """Lay everything measured into one vector per device: still no waiting for the device."""
        devices: dict[torch.device, list[tuple[Key, Tensor]]] = {}
        for key, tensor in self.tensors.items():
            devices.setdefault(tensor.device, []).append((key, tensor))
        for device, items in devices.items():
            vector = torch.cat([tensor.detach().to(wide(device)).view(-1) for _, tensor in items])
            self._packed.append(([(key, tensor.numel()) for key, tensor in items], vector))
        self.tensors.clear()

    def measure(self, quantity: str, of_parameters: Sequence[tuple[tuple[int, ...], Tensor]]) -> None:
        """Take one quantity of many parameters, in vectors with the places of theirs; what was there of it goes."""
        for key in [key for key in self.tensors if key[0] == quantity]:
            del self.tensors[key]
        self.tensors |= {(quantity, places): vector for places, vector in of_parameters}

    def later(self, quantity: str, value: Tensor) -> None:
        """Add one number about the whole step after its end."""
        self.later_ones += 1
        self.tensors[quantity, self.later_ones] = value
        self.pack()
        self._rows = None

    def remember_alive(self, i: int, times_active: Tensor) -> None:
        """A unit of a layer is alive in a step if it is in any call."""
        before, now = self.tensors.get(("alive", i)), times_active > 0
        self.tensors["alive", i] = now if before is None or before.shape != now.shape else before | now

    def values(self) -> dict[Key, list[float]]:
        """Everything measured, as lists of numbers."""
        for keys, vector in self._packed:
            numbers = iter(vector.tolist())
            for key, size in keys:
                self._values[key] = list(itertools.islice(numbers, size))
        self._packed.clear()
        return self._values

    def rows(self, layers: Sequence[Layer], order: tuple[int, ...]) -> tuple[list[Row], list[Row], Row]:
        """Its rows by layer, its rows by layer and time step, and its own row; made once."""
        if self._rows is None or self._rows[0] != order or self._packed:
            measured = _Measured(self)
            self._rows = (
                order,
                [_row(measured, i, index, layers[i]) for index, i in enumerate(order)],
                [row for i in order for row in _time_rows(measured, i, layers[i])],
                _step_row(measured),
            )
        return self._rows[1:]


def thinned(steps: list[Step]) -> list[Step]:
    """Fewer steps: the first, the last and those where the loss changed most; of others each second, full or not."""
    middle = steps[EARLY:-LATE]
    losses = [step.values().get(("loss", 0), [math.nan])[0] for step in steps[EARLY - 1 : -LATE]]
    change = [abs(b - a) if math.isfinite(b - a) else math.inf for a, b in itertools.pairwise(losses)]
    kept = set(sorted(range(len(middle)), key=lambda i: -change[i])[:CHANGES])
    for full in (True, False):
        kept |= set([i for i, step in enumerate(middle) if step.full is full][::2])
    return steps[:EARLY] + [middle[i] for i in sorted(kept)] + steps[-LATE:]


class GradientRecord:
    """What a `Probe` saw, step by step and layer by layer.

    `rows` holds one dictionary per step and layer, ready for a data frame:

    - `step`, `layer` (its name in the model), `kind` (its class), `family` ("weights", "recurrent", "norm",
      "activation" or "other"), `index` (its place in the forward pass, from 0), `frozen` (it has parameters, and none
      is trained);
    - at every step `weight_gradient`: the Frobenius norm of the loss's gradient with respect to all parameters of the
      layer;
    - at full steps `activation_gradient`, the same with respect to its output (all calls together); `calls`, how often
      it ran; `signal`, the root mean square of the output; `zero_gradients`, the share of exact zeros in the
      gradient with respect to the output; `dead`, the share of units that are 0 on the whole batch (ReLU modules), or
      whose gradient is (other layers); `saturated`, the share of outputs at which the activation's slope is below a
      twentieth of its largest; `weight`, the norm of the parameters before the update, and `update_ratio`, the norm
      of the update over it; `sigma_w2`, fan-in times the mean square of the weights, and `sigma_b2`, the mean square of
      the biases, of linear layers and convolutions; `nonfinite`, whether a value of the output or of a gradient is nan
      or inf; `rows`, the norm of the differences between its first row of weights, the second, the middle and the last
      one; `values`, over how many a batch normalisation takes its means; `half`, whether its output is in float16;
      `elements`, how many `zero_gradients` counts; `gate`, at which share of the state the gate of an LSTM or GRU that
      keeps it stands by its bias alone.

    What was not seen is None. `time_rows` holds one dictionary per full step, layer and time step: `step`, `layer`,
    `kind`, `time` (from 0), `gradient`, and `wrt`: "input" for `nn.RNN`, `nn.LSTM` and `nn.GRU`, whose time steps
    run inside one call, "output" for a module that is called once per time step; `direct` is the gradient that reaches
    the output of that time step from outside the layer.

    `step_rows` holds one dictionary per step: `step`, `loss` (of all backward passes of the step together), `gradient`,
    the norm of all parameters' gradients, `skipped`, and, if there is an optimizer, `lr`, `weight_decay`, `momentum`
    and `eps`, the largest of its groups', and `beta1`, the first group's. At full steps also `handed`, the norm of all
    gradients when the optimizer got them over that after the backward pass (less than 1: clipped); `left`, the norm of
    its gradients that were still there in the next step, over its own: the least before any of that step's backward
    passes; `moved`, whether a parameter changed; `cut_off`, whether the loss depends on no parameter; and, of
    parameters behind the loss that are `unregistered`, the shape, the norm and how random they look.

    `notes` says in words what could not be seen. `operations` counts what the autograd graph of the model's first
    forward pass is made of, and `joins` its sums and concatenations of two branches. `graphs` holds by full step the
    operations behind its loss, and `statistics` what was measured of them, by place and name. `inputs` holds by step,
    for each layer that is fed data, the root mean square of its input, the largest and the median one of a feature, the
    share of values that aren't finite, and the largest.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        steps: Sequence[Step],
        operations: dict[str, int],
        joins: int,
        optimizer: torch.optim.Optimizer | None,
        *,
        size: int,
        held: frozenset[int] | None,
        drawn: dict[str, float],
        gaps: list[str],
    ) -> None:
        self.size, self.operations, self.joins, self.gaps = size, operations, joins, gaps
        self.steps = [step.number for step in steps]
        self.full_steps = [step.number for step in steps if step.full]
        self.skipped_steps = [step.number for step in steps if step.skipped]
        self.optimizer = type(optimizer).__name__ if optimizer is not None else None
        order = tuple(_forward_order(layers, steps))
        self.layers = [layers[i] for i in order]
        # by layer: the share of its parameters that the optimizer holds; of weights that stay, how random they look
        self.held = {
            layer.name: sum(p in held for p in layer.parameters) / len(layer.parameters)
            for layer in layers
            if held is not None and layer.parameters
        }
        self.drawn = drawn
        self.rows: list[Row] = []
        self.time_rows: list[Row] = []
        self.step_rows: list[Row] = []
        self.graphs: dict[int, Graph] = {}
        self.statistics: dict[int, dict[tuple[int | str, str], list[float]]] = {}
        self.inputs: dict[int, dict[str, list[float]]] = {}
        for step in steps:
            rows, time_rows, own = step.rows(layers, order)
            self.rows += rows
            self.time_rows += time_rows
            self.step_rows.append(own)
            values = step.values()
            self.statistics[step.number] = {key[1:]: numbers for key, numbers in values.items() if key[0] == "graph"}
            self.inputs[step.number] = {layers[k[1]].name: v for k, v in values.items() if k[0] == "input"}
            if step.graph is not None:
                self.graphs[step.number] = step.graph
        self.notes = self._make_notes()

    def __len__(self) -> int:
        return self.size

    def at(self, step: int | None = None, full: bool = False) -> list[Row]:
        """The rows of one step, in forward order: the last one, or the last full one, unless a step is given.

        Raises ValueError if nothing was recorded, or not that step.
        """
        self._check()
        if step is None:
            step = (self.full_steps if full else self.steps)[-1]
        if step not in self.steps:
            raise ValueError(f"step {step} was not recorded; recorded are {self.steps[0]} to {self.steps[-1]}")
        return [row for row in self.rows if row["step"] == step]

    def __str__(self) -> str:
        """The last full step as a table."""
        return self.table()

    def table(self, step: int | None = None) -> str:
        """One full step, by default the last, as a table of plain text; columns without values are left out."""
        if not self.steps:
            return NOTHING
        rows = self.at(step, full=True)
        lines = as_table(rows)
        lines[0][0] = ""  # told by its place
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(f"{cell:{'<' if 0 < i < 3 else '>'}{widths[i]}}" for i, cell in enumerate(line)).rstrip()
            for line in lines
        ]
        of = f" of {self.steps[0]}-{self.steps[-1]}" if len(self.steps) > 1 else ""
        notes = [f"Note: {note}." for note in self.notes]
        return "\n".join([f"step {rows[0]['step']}{of}", *aligned, "", LEGEND, *notes])

    def draw(self, step: int | None = None) -> go.Figure:
        """Gradient norms against layers, with respect to outputs and to weights, on a logarithmic axis.

        Draws the given step; by default the first full one, and the last if there are several. Zeros and values that
        aren't finite can't be drawn. A trace's `meta` says how the gradient fares on its way back: "vanishing",
        "healthy" or "exploding", which the site's theme turns into colours.

        Raises ValueError if nothing was recorded, or not that step.
        """
        import plotly.graph_objects as go

        self._check()
        figure = go.Figure()
        steps = [step] if step is not None else sorted({self.full_steps[0], self.full_steps[-1]})
        for number in steps:
            rows = self.at(number)
            role = role_of([row["activation_gradient"] for row in trunk(rows)])
            outputs = [row for row in rows if row["family"] != "activation"]
            for name, shown, quantity, mode in [
                ("outputs", outputs, "activation_gradient", "lines+markers"),
                ("weights", rows, "weight_gradient", "markers"),
            ]:
                found = [row for row in shown if _is_drawable(row[quantity])]
                figure.add_scatter(
                    x=[row["index"] + 1 for row in found],
                    y=[row[quantity] for row in found],
                    customdata=[row["layer"] for row in found],
                    hovertemplate="%{customdata}: %{y:.2e}<extra></extra>",
                    mode=mode,
                    name=f"∂L/∂{name}" + (f", step {number}" if len(steps) > 1 else ""),
                    meta=role,
                )
        figure.update_xaxes(title_text="layer, counted from the input")
        figure.update_yaxes(title_text="norm of the gradient", type="log", exponentformat="power")
        return figure

    def draw_time(self, step: int | None = None) -> go.Figure:
        """The gradient's norm against time steps, one trace a recurrent layer; by default at the last full step.

        Raises ValueError if no recurrent layer, and no module that ran several times, was recorded.
        """
        import plotly.graph_objects as go

        self._check()
        if not self.time_rows:
            raise ValueError("no recurrent layer was recorded, and no module that ran several times in a step")
        step = self.time_rows[-1]["step"] if step is None else step
        figure = go.Figure()
        for layer in self.layers:
            rows = [row for row in self.time_rows if row["step"] == step and row["layer"] == layer.name]
            drawable = [row for row in rows if _is_drawable(row["gradient"])]
            if drawable:
                figure.add_scatter(
                    x=[row["time"] + 1 for row in drawable],
                    y=[row["gradient"] for row in drawable],
                    mode="lines" if len(drawable) > 30 else "lines+markers",
                    name=f"∂L/∂{rows[0]['wrt']} of {layer.name}",
                    meta=role_of([row["gradient"] for row in rows]),
                )
        figure.update_xaxes(title_text="time step")
        figure.update_yaxes(title_text="norm of the gradient", type="log", exponentformat="power")
        return figure

    def _check(self) -> None:
        if not self.steps:
            raise ValueError(NOTHING)

    def _make_notes(self) -> list[str]:
        notes = []
        if self.rows and not any(row["calls"] for row in self.rows):
            notes.append(UNSEEN)
        if self.skipped_steps:
            notes.append(
                f"the scaler skipped {len(self.skipped_steps)} of {len(self.steps)} steps because gradients overflowed "
                f"(first: step {self.skipped_steps[0]})"
            )
        if self.gaps:
            notes.append(f"the probe itself failed in places, which leaves gaps: {'; '.join(self.gaps)}")
        if self.size > len(self.steps):
            notes.append(f"of {self.size} steps {len(self.steps)} were kept")
        return notes


OF_A_STEP = ("loss", "lr", "gradient", "skipped", "handed")
OF_A_LAYER = ("weight_gradient", "activation_gradient", "signal", "update_ratio", "dead", "saturated")


def scalars(layers: Sequence[Layer], step: Step) -> dict[str, float]:
    """One step, flat: `Probe.scalars` says what is in it."""
    rows, _, own = step.rows(layers, tuple(_forward_order(layers, [step])))
    found = {name: own.get(name) for name in OF_A_STEP}
    norms = [row["activation_gradient"] for row in trunk(rows)]
    found["first_over_last"] = _over(norms[0], norms[-1]) if len(norms) > 1 else None
    for row in rows:
        name = re.sub(r"[^\w.-]", "_", row["layer"], flags=re.ASCII)
        found |= {f"{quantity}/{name}": row[quantity] for quantity in OF_A_LAYER}
    known = {name: float(value) for name, value in found.items() if value is not None}
    finite = {name: value for name, value in known.items() if math.isfinite(value)}
    return finite | {"nonfinite": float(len(known) - len(finite))}


UNSEEN = (
    "no layer's forward pass was seen, so that only the gradients of the weights are recorded. A compiled model "
    "runs as one fused piece, in which nothing can be hooked: train the model as it was before torch.compile "
    "(compiled._orig_mod is the same one) for as long as it is probed"
)
NOTHING = (
    "nothing recorded: no step ended in which a backward pass reached the model's parameters. Run forward, "
    "loss.backward() and, if the probe was given an optimizer, optimizer.step() inside the with block"
)


def as_table(rows: Sequence[Row]) -> list[list[str]]:
    """A step as the lines of a table, its head first; columns without values are left out."""
    columns = {head: c for head, c in COLUMNS.items() if any(_cell(row[c[0]], c[1]) for row in rows)}
    lines = [["#", "layer", "kind", *columns]]
    for row in rows:
        kind = f"{row['kind']} (frozen)" if row["frozen"] else row["kind"]
        values = [_cell(row[name], form) for name, form in columns.values()]
        lines.append([str(row["index"] + 1), row["layer"], kind, *values])
    return lines


def _cell(value: float | None, form: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else format(value, form).strip()


def role_of(norms: Sequence[float]) -> str:
    """How a gradient fares, from its norms at the first layer or time step to the last: a role of the site's theme."""
    if len(norms) < 2:
        return "healthy"
    first, last = norms[0], norms[-1]
    if not all(math.isfinite(norm) for norm in norms) or (last == 0 and first > 0):
        return "exploding"
    if last == 0:
        return "vanishing"
    return "vanishing" if first < VANISHING * last else "exploding" if first > EXPLODING * last else "healthy"


def trunk(rows: Iterable[Row], quantity: str = "activation_gradient") -> list[Row]:
    """Of a step, in forward order, the layers with weight matrices of which a quantity is known."""
    return [row for row in rows if row["family"] in ("weights", "recurrent") and row[quantity] is not None]


def _is_drawable(value: float | None) -> bool:
    return value is not None and 0 < value < math.inf


def _forward_order(layers: Sequence[Layer], steps: Sequence[Step]) -> list[int]:
    """By first call; layers that never ran come last."""
    order: dict[int, None] = {}
    for step in steps:
        order |= dict.fromkeys(step.calls)
    return list(order | dict.fromkeys(range(len(layers))))


class _Measured:
    """One step's values by what was measured and of which layer or parameter."""

    def __init__(self, step: Step) -> None:
        self.step, self._by_name = step, dict[tuple[str, int], list[tuple[tuple[Any, ...], list[float]]]]()
        for (quantity, of, *rest), numbers in step.values().items():
            if quantity == "graph":
                continue
            each = zip(of, ([n] for n in numbers), strict=True) if isinstance(of, tuple) else [(of, numbers)]
            for one, own in each:
                self._by_name.setdefault((quantity, one), []).append((tuple(rest), own))
        self.scale = self.first("scale", 0) or 1.0  # what the loss was multiplied by
        self.sizes: dict[tuple[str, int], int] = {}
        for (quantity, *rest), size in step.facts.items():
            if quantity == "signal" or (quantity == "zeros" and rest[1] in step.tasks):
                self.sizes[quantity, rest[0]] = self.sizes.get((quantity, rest[0]), 0) + size

    @cached_property
    def moved(self) -> bool:
        """Whether any parameter changed in this step."""
        updates = [found for (quantity, _), found in self._by_name.items() if quantity == "update"]
        return any(numbers != [0.0] for found in updates for _, numbers in found)

    def all(self, quantity: str, of: int) -> list[tuple[tuple[Any, ...], list[float]]]:
        """What else tells them apart, and the numbers; of gradients, those of passes that reached a parameter."""
        found = self._by_name.get((quantity, of), [])
        if quantity in ("activation_gradient", "zeros", "time", "direct"):
            return [(rest, numbers) for rest, numbers in found if rest[0] in self.step.tasks]
        return found

    def first(self, quantity: str, of: int) -> float | None:
        found = self.all(quantity, of)
        return found[0][1][0] if found else None

    def total(self, quantity: str, of: int) -> float | None:
        found = self.all(quantity, of)
        return sum(numbers[0] for _, numbers in found) if found else None


def _row(measured: _Measured, i: int, index: int, layer: Layer) -> Row:
    step, scale = measured.step, measured.scale
    row: Row = {
        "step": step.number,
        "layer": layer.name,
        "kind": layer.kind,
        "family": layer.family,
        "index": index,
        "calls": step.calls.get(i, 0) if step.full else None,
        "frozen": layer.frozen,
        "weight_gradient": _over(_norm([measured.first("weight_gradient", p) for p in layer.parameters]), scale),
        "activation_gradient": _over(_norm([n[0] for _, n in measured.all("activation_gradient", i)]), scale),
    }
    return row | (_full(measured, i, layer, row) if step.full else dict.fromkeys(FULL))


def _full(measured: _Measured, i: int, layer: Layer, row: Row) -> Row:
    """What a full step adds to a row."""
    weight = _norm([measured.first("weight", p) for p in layer.parameters])
    # without an optimizer nothing may have moved yet
    known = measured.moved or ("setting", "lr") in measured.step.facts
    parts = measured.step.facts  # of large parameters a part of the rows was compared
    moved = [(measured.first("update", p), parts.get(("parts", p), 1.0)) for p in layer.parameters]
    update = _norm([norm * part**0.5 for norm, part in moved if norm is not None]) if known else None
    signal = _norm([numbers[0] for _, numbers in measured.all("signal", i)])
    outputs, gradients = measured.sizes.get(("signal", i), 0), measured.sizes.get(("zeros", i), 0)
    alive = measured.all("alive", i)
    norms = [norm for norm in (signal, row["activation_gradient"], row["weight_gradient"]) if norm is not None]
    return {
        "signal": _over(signal, math.sqrt(outputs)),
        "zero_gradients": _over(measured.total("zeros", i), gradients),
        "dead": 1 - sum(alive[0][1]) / len(alive[0][1]) if alive and alive[0][1] else None,
        "saturated": _over(measured.total("saturated", i), outputs),
        "weight": weight,
        "update_ratio": _over(update, weight),
        "sigma_w2": _variance(measured, layer.weight, layer.fan_out),
        "sigma_b2": _variance(measured, layer.bias, layer.fan_out),
        "nonfinite": not all(math.isfinite(norm) for norm in norms) if norms else None,
        "rows": None if layer.weight is None else measured.first("rows", layer.weight),
        "values": measured.step.facts.get(("values", i)),
        "half": ("half", i) in measured.step.facts,
        "elements": gradients or None,
        "gate": measured.first("gate", i),
    }


def _step_row(measured: _Measured) -> Row:
    step = measured.step
    gradient = _over(_norm([measured.first("weight_gradient", p) for p in step.reached]), measured.scale)
    row: Row = {"step": step.number, "loss": measured.first("loss", 0), "skipped": step.skipped, "gradient": gradient}
    row |= {key[1]: value for key, value in step.facts.items() if key[0] == "setting"}
    row["cut_off"] = step.cut_off and not step.reached
    row["handed"] = _over(measured.first("handed", 0), gradient)
    left = [numbers[0] for (quantity, *_), numbers in step.values().items() if quantity == "left"]
    row["left"] = _over(min(left, default=None), gradient)  # cleared before one of the passes is cleared
    row["moved"] = measured.moved if ("saved",) in step.facts else None
    row["unregistered"] = {
        k: (step.facts.get(("unregistered shape", k)), numbers[0], measured.first("unregistered drawn", k))
        for (quantity, k, *_), numbers in step.values().items()
        if quantity == "unregistered"
    }
    return row


def _time_rows(measured: _Measured, i: int, layer: Layer) -> list[Row]:
    step = measured.step
    common = {"step": step.number, "layer": layer.name, "kind": layer.kind}
    if inputs := measured.all("time", i):
        (task,), norms = inputs[-1]
        direct = next((d for rest, d in measured.all("direct", i) if rest[0] == task), [])
        return [
            common
            | {
                "time": t,
                "wrt": "input",
                "gradient": norm / measured.scale,
                "direct": direct[t] / measured.scale if t < len(direct) else None,
            }
            for t, norm in enumerate(norms)
        ]
    if not step.full or layer.family == "activation":
        return []
    outputs = [(rest, numbers[0]) for rest, numbers in measured.all("activation_gradient", i) if rest[2] == 0]
    last = max((task for (task, *_), _ in outputs), default=0)
    calls = sorted((call, norm) for (task, call, _), norm in outputs if task == last)
    if len(calls) < 2:
        return []
    return [
        common | {"time": call, "wrt": "output", "gradient": norm / measured.scale, "direct": None}
        for call, norm in calls
    ]


def _norm(norms: Sequence[float | None]) -> float | None:
    """The norm of several parts together, from theirs; None if there is none."""
    known = [norm for norm in norms if norm is not None]
    if any(math.isnan(norm) for norm in known):
        return math.nan  # hypot(inf, nan) is inf
    return math.hypot(*known) if known else None


def _over(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _variance(measured: _Measured, parameter: int | None, fan_out: int) -> float | None:
    """Of a weight matrix fan-in times its variance, which is its squared norm over fan-out; of a bias its variance."""
    norm = None if parameter is None else measured.first("weight", parameter)
    return None if norm is None else norm**2 / fan_out
