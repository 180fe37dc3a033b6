"""A record as the rules read it: how it began, how it went on, what the loss did, layers in forward order."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

from vgdocs.probe.graph import BINARY, LINEAR, NLL, Graph, Operation
from vgdocs.probe.record import GradientRecord, Row

MOSTLY = 0.5  # share of the steps that a scaler may skip
FEW = 8  # steps, the fewest from which something is said of what the loss does
LATEST = 3  # full steps whose median is how things stand at the end
# A loss that is above this share of where it began, or of what guessing would give, has not been learned from. The
# healthy networks of the tests are below 0.9 after sixty steps, those of shuffled labels at 0.97 after 150.
STUCK = 0.93
CLEARLY = 4.0  # standard errors that a fall of the loss has to exceed
STEADY = 0.5  # fall of the last third over that of the first, below which the loss is coming to rest
FROM_ZERO = 0.01  # fan-in x variance of weights that were started at 0; PyTorch's default is 0.33
SAME = 1e-12  # relative change of a norm in float64 below which a parameter hasn't moved

NAMES = {  # activations as modules and as autograd's operations
    **{name: name.lower() for name in ("Sigmoid", "Tanh", "ReLU", "Relu", "ELU", "Elu", "GELU", "Gelu")},
    **dict.fromkeys(("SELU", "Selu"), "selu"),
    **dict.fromkeys(("SiLU", "Silu"), "silu"),
    **dict.fromkeys(("LeakyReLU", "LeakyRelu"), "leaky_relu"),
}


class Evidence:
    """What a record says, before it broke if it did.

    `broken` is the first step with nan or inf in the loss, in an output or in a gradient; `rows` are those before it,
    unless there are none.
    """

    def __init__(self, record: GradientRecord, step: int | None = None) -> None:
        self.record = record
        rows = record.rows if step is None else record.at(step)
        steps = [row for row in record.step_rows if step is None or row["step"] == step]
        if len(record.skipped_steps) < MOSTLY * len(record.steps):  # to skip a few while it finds its scale is its job
            rows = [row for row in rows if row["step"] not in record.skipped_steps] or rows
            steps = [row for row in steps if not row["skipped"]] or steps
        self.all_rows, self.all_steps = rows, steps
        self.broken = _first_break(rows, steps)
        if self.broken is not None:
            rows = [row for row in rows if row["step"] < self.broken] or rows
            steps = [row for row in steps if row["step"] < self.broken] or steps
        self.rows, self.step_rows = rows, steps
        self.numbers = [row["step"] for row in steps]
        self.steps = len(steps)
        self.looks = len({row["step"] for row in rows if row["signal"] is not None})  # those looked at in full
        before = set(self.numbers)
        self.time_rows = [row for row in record.time_rows if row["step"] in before]
        self.inputs = {number: inputs for number, inputs in record.inputs.items() if inputs and number in self.kept}
        self._of: dict[str, list[Row]] = {}
        for row in self.rows:
            self._of.setdefault(row["layer"], []).append(row)
        self.latest = {name: rows[-1] for name, rows in self._of.items()}
        self.names = list(self._of)
        self.number = {name: i for i, name in enumerate(self.names, 1)}
        weights = {row["layer"] for row in self.rows if row["family"] in ("weights", "recurrent") and row["calls"]}
        self.gradient = {name: g for name in weights if (g := self.median(name, "activation_gradient")) is not None}
        self.trunk = [name for name in self.names if name in self.gradient]

    # --- layers ------------------------------------------------------------------------------------------------------

    def values(self, name: str, quantity: str) -> list[float]:
        return [row[quantity] for row in self._of[name] if row[quantity] is not None]

    def median(self, name: str, quantity: str) -> float | None:
        values = self.values(name, quantity)
        return statistics.median(values) if values else None

    def first(self, name: str, quantity: str) -> float | None:
        """At the first full step that has it."""
        return next(iter(self.values(name, quantity)), None)

    def last(self, name: str, quantity: str) -> float | None:
        """At the last full step that has it."""
        return next(reversed(self.values(name, quantity)), None)

    def since(self, name: str, quantity: str, above: float) -> int:
        """The first step at which a quantity exceeds a threshold."""
        found: int = next((row["step"] for row in self._of[name] if (row[quantity] or 0) > above), self.numbers[0])
        return found

    def when(self, holds: Callable[[dict[str, float]], bool]) -> tuple[int, dict[str, float] | None]:
        """Since which step something holds of the trunk's gradients: in the median of all steps, or first, or at last.

        With the gradients, by layer, of which it holds; None if it doesn't.
        """
        by_step = self._gradients
        full = list(by_step)
        groups = [(full, self.gradient)]
        groups += [
            (some, {name: statistics.median(by_step[n][name] for n in some) for name in self.gradient})
            for some in ((full[:1], full[-LATEST:]) if len(full) > 1 else ())
        ]
        for steps, gradient in groups:
            if gradient and holds(gradient):
                return next((n for n in steps if holds(by_step[n])), steps[0] if steps else self.numbers[0]), gradient
        return self.numbers[0], None

    @cached_property
    def _gradients(self) -> dict[int, dict[str, float]]:
        """The trunk's gradients at full steps, where all are known."""
        found: dict[int, dict[str, float]] = {}
        for row in self.rows:
            if row["signal"] is not None and row["layer"] in self.gradient and row["activation_gradient"] is not None:
                found.setdefault(row["step"], {})[row["layer"]] = row["activation_gradient"]
        return {step: norms for step, norms in found.items() if len(norms) == len(self.gradient)}

    @property
    def gradient_at_first(self) -> dict[str, float]:
        """The trunk's gradients at the first full step; the medians where none has all of them."""
        return next(iter(self._gradients.values()), self.gradient)

    def family(self, *families: str) -> list[str]:
        return [name for name in self.names if self.latest[name]["family"] in families]

    @cached_property
    def trained(self) -> list[str]:
        """Layers with parameters that are to be trained."""
        having = {layer.name for layer in self.record.layers if layer.parameters}
        return [name for name in self.names if name in having and not self.latest[name]["frozen"]]

    def is_still(self, name: str) -> bool:
        """Whether a layer's weights are what they were, at two full steps at least."""
        norms = self.values(name, "weight")
        return len(norms) > 1 and max(norms) - min(norms) <= SAME * max(norms)

    def is_from_zero(self, name: str) -> bool:
        """Whether a layer started at 0: it is replaced at once, and is meant to be."""
        return (sigma_w2 := self.first(name, "sigma_w2")) is not None and sigma_w2 <= FROM_ZERO

    @property
    def activation(self) -> str | None:
        """The activation used most, by its name in `theory.ACTIVATIONS`, as a module or as an operation.

        "linear" where the whole graph was read and there is none.
        """
        counts = Counter[str]()
        for operation, count in self.record.operations.items():
            if operation in NAMES:
                counts[NAMES[operation]] += count
        if not counts:
            counts.update(NAMES[kind] for name in self.names if (kind := self.latest[name]["kind"]) in NAMES)
        if counts:
            return counts.most_common(1)[0][0]
        return "linear" if self.record.operations and self.record.operations.keys() <= LINEAR else None

    @property
    def hidden(self) -> list[str]:
        """Layers with weights but the last, which usually is a readout."""
        return [name for name in self.trunk[:-1] if self.latest[name]["family"] == "weights"]

    @property
    def sigma_w2(self) -> float | None:
        """Median fan-in x variance of the hidden layers, as they were drawn."""
        values = [v for name in self.hidden if (v := self.first(name, "sigma_w2")) is not None]
        return statistics.median(values) if values else None

    @property
    def batchnorms(self) -> int:
        return sum("BatchNorm" in self.latest[name]["kind"] for name in self.names)

    def span(self, names: Sequence[str]) -> str:
        """Layers by their numbers in the forward pass and their names: layers 1-9 ("0" to "16")."""
        numbers = [self.number[name] for name in names]
        if len(names) == 1:
            return f'layer {numbers[0]} ("{names[0]}")'
        between = [name for name in self.trunk if numbers[0] <= self.number[name] <= numbers[-1]]
        several = f"{len(names)} of layers" if set(between) - set(names) else "layers"
        return f'{several} {numbers[0]}-{numbers[-1]} ("{names[0]}" to "{names[-1]}")'

    # --- the graph of the loss -----------------------------------------------------------------------------------

    @cached_property
    def graph(self) -> Graph:
        """That of the first full step."""
        return next((g for number, g in self.record.graphs.items() if number in self.kept), Graph(()))

    @cached_property
    def kept(self) -> set[int]:
        return {row["step"] for row in self.all_steps}

    def operation(self, i: int) -> Operation:
        return self.graph.operations[i]

    def statistic(self, i: int, what: str) -> list[float]:
        """One number of an operation, at the full steps with the same graph as the first."""
        found = [
            self.record.statistics[number].get((i, what))
            for number, graph in self.record.graphs.items()
            if graph is self.graph and number in self.kept and number in self.record.statistics
        ]
        return [numbers[0] for numbers in found if numbers]

    # --- the loss ------------------------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> list[float]:
        """By step, where it is known and finite."""
        return [row["loss"] for row in self.step_rows if row["loss"] is not None and math.isfinite(row["loss"])]

    @property
    def loss_at_first(self) -> float | None:
        return statistics.median(self.losses[:3]) if self.losses else None

    @property
    def loss_at_last(self) -> float | None:
        n = len(self.losses)
        return statistics.median(self.losses[-max(1, min(n // 4, 15)) :]) if n else None

    @cached_property
    def guess(self) -> float | None:
        """What the loss would be of an answer that doesn't depend on the inputs; None where that isn't known."""
        if (written := self._written_cross_entropy) is not None:
            return self._entropy_of_classes(written)
        if self.graph.named(*NLL, "MseLoss", *BINARY) != [0] or not self.operation(0).mean:
            return None
        if self.operation(0).name == "MseLoss":
            averages, variances = self.statistic(0, "average"), self.statistic(0, "variance")
            between = statistics.pvariance(averages) if len(averages) > 1 else 0.0
            return statistics.fmean(variances) + between if variances else None
        if self.operation(0).name in BINARY:
            shares = self.statistic(0, "target")
            share = statistics.fmean(shares) if shares else 0.0
            return _entropy([share, 1 - share]) if 0 < share < 1 else None
        return self._entropy_of_classes(0)

    @property
    def _written_cross_entropy(self) -> int | None:
        """The product of targets and logarithms that is all of the loss but for its mean over the examples."""
        i, passed = 0, set[str]()
        while self.graph.operations and self.operation(i).name in ("Neg", "Sum", "Mean"):
            if len(self.operation(i).below) != 1:
                return None
            passed.add(self.operation(i).name)
            i = self.operation(i).below[0]
        return i if self.statistic(i, "not shares") and passed >= {"Sum", "Mean"} else None

    def _entropy_of_classes(self, i: int) -> float | None:
        counts = [
            numbers
            for number in self.kept
            if (numbers := self.record.statistics.get(number, {}).get((i, "classes"))) is not None
        ]
        return _entropy([sum(of_class) for of_class in zip(*counts, strict=True)]) if counts else None

    @cached_property
    def is_stuck(self) -> bool | None:
        """Whether the loss is about where it began, or no better than guessing; None if that can't be said."""
        first, last = self.loss_at_first, self.loss_at_last
        if first is None or last is None or first <= 0 or len(self.losses) < FEW:
            return None
        return last > STUCK * min(first, self.guess or first)

    @cached_property
    def thirds(self) -> tuple[float, float, float, float] | None:
        """The loss's mean in the first, second and last third of the steps, and the largest standard error of these."""
        n = len(self.losses) // 3
        if n < 2:
            return None
        parts = [self.losses[i * n : (i + 1) * n] for i in range(3)]
        first, second, last = (statistics.fmean(part) for part in parts)
        return first, second, last, max(statistics.stdev(part) for part in parts) / math.sqrt(n)

    @property
    def falls(self) -> bool:
        """Whether the loss falls by more than its noise."""
        return self.thirds is not None and self.thirds[0] - self.thirds[2] > CLEARLY * self.thirds[3]

    @property
    def falls_straight(self) -> bool:
        """Whether the loss falls, and about as fast at the end as in the beginning."""
        if self.thirds is None:
            return False
        first, second, last, _ = self.thirds
        return self.falls and second - last > STEADY * (first - second) > 0

    @property
    def travelled(self) -> float | None:
        """How far the weights have moved, step by step, in the median layer, over their norm."""
        return None if self.update is None else self.update * self.steps

    @cached_property
    def is_low(self) -> bool:
        """Whether the loss is far below what guessing gives: there is little left to learn."""
        last = self.loss_at_last
        return last is not None and self.guess is not None and last < 0.5 * self.guess

    @property
    def update(self) -> float | None:
        """The median of `updates`."""
        return statistics.median(self.updates) if self.updates else None

    @property
    def updates(self) -> list[float]:
        """By full step, the median over the layers that are trained of an update over its weights."""
        return list(self._updates.values())

    @property
    def late_updates(self) -> list[float]:
        """Those of the second half of the steps, unless none of them was looked at in full."""
        half = self.numbers[len(self.numbers) // 2]
        return [update for step, update in self._updates.items() if step >= half] or self.updates

    @cached_property
    def _updates(self) -> dict[int, float]:
        by_step: dict[int, list[float]] = {}
        for name in self.family("weights", "recurrent"):
            if name in self.trained and self.record.held.get(name, 1) > 0 and not self.is_from_zero(name):
                for row in self._of[name]:
                    if row["update_ratio"] is not None and row["weight_gradient"]:
                        by_step.setdefault(row["step"], []).append(row["update_ratio"])
        return {step: statistics.median(by_step[step]) for step in sorted(by_step)}

    def setting(self, name: str) -> list[float]:
        """The optimizer's, by step."""
        return [row[name] for row in self.step_rows if row.get(name) is not None]


def _entropy(counts: Sequence[float]) -> float | None:
    total = sum(counts)
    shares = [count / total for count in counts if count > 0] if total > 0 else []
    return -sum(share * math.log(share) for share in shares) if len(shares) > 1 else None


def are_finite(row: Row, *quantities: str) -> bool:
    return all(row[quantity] is None or math.isfinite(row[quantity]) for quantity in quantities)


def is_broken(row: Row) -> bool:
    """Whether a layer has nan or inf in its output or in a gradient."""
    return bool(row["nonfinite"]) or not are_finite(row, "weight_gradient", "activation_gradient")


def _first_break(rows: Sequence[Row], steps: Sequence[Row]) -> int | None:
    broken = [row["step"] for row in rows if is_broken(row)]
    broken += [row["step"] for row in steps if not are_finite(row, "loss", "gradient")]
    return min(broken, default=None)
