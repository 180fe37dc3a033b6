"""A verdict on what a probe recorded: what is wrong with a network's gradients, by which evidence, and what to try.

Each rule is a function of the evidence that returns a `Finding` or nothing. The thresholds are constants with the
measurement or the source that they come from. A verdict without findings says that the gradient flows, not that the
network learns; what the record cannot show stands in `Verdict.unknown`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from vgdocs import theory
from vgdocs.gradients import rate
from vgdocs.probe.record import EXPLODING, VANISHING, GradientRecord, Row

# Share of a layer's units that are silent on the whole batch. In the deep layers of a healthy ReLU network all inputs
# have come to look alike, so that up to half of the units are: 0.48 is the most in the tests' healthy networks, 0.62 in
# networks that only vanish.
DEAD = 0.9
# Share of a layer's outputs where the activation is flat. 0.04 is the most in the tests' healthy
# networks, 0.9 what they have with weights twenty times as large.
SATURATED = 0.5
# Change of a layer's parameters in one step over their norm. A thousandth is a common rule of thumb; Adam's first step
# at 0.001 takes 0.03 in a layer of 512 units at PyTorch's scale. Half of the norm leaves little of what was there.
LARGE_UPDATE = 0.5
FROM_ZERO = 0.01  # fan-in x variance of weights that were started at 0; PyTorch's default is 0.33
LONG = 10  # time steps from which on a recurrent layer's gradient is judged
DIRECT = (
    0.25  # share of the time steps that get a gradient from outside, above which its path through time can't be seen
)
MOSTLY = 0.5  # share of the steps that a scaler may skip
MANY = 3  # layers with weights, the fewest that make a profile
TOLERANCE = 1.3  # factor on fan-in x variance that random matrices of a few units are off by

# The largest fan-in x variance at which the gradient doesn't grow in a plain stack. For ReLU He et al. 2015, equation
# 14; GELU and SiLU have no critical scale (theory.critical_sigma_w2 says why), and are initialised like ReLU.
LIKE_RELU = {"gelu": 2.0, "silu": 2.0}
BOUNDED = {"sigmoid": 0.25}  # activations whose slope never exceeds this: no usual scale of the weights makes up for it

NAMES = {  # activations as modules and as autograd's operations
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "Relu": "relu",
    "LeakyReLU": "leaky_relu",
    "LeakyRelu": "leaky_relu",
    "ELU": "elu",
    "Elu": "elu",
    "SELU": "selu",
    "GELU": "gelu",
    "Gelu": "gelu",
    "SiLU": "silu",
    "Silu": "silu",
}
PLAIN = {"Addmm", "T", "Mm", "View", "UnsafeView", "Transpose", "Reshape", *NAMES}  # operations of a plain stack


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    `symptom` is "non-finite", "no gradient", "vanishing", "exploding", "dead units", "saturation" or "large updates";
    `cause` is what the evidence points to, "unknown" where it points to nothing. `page` is the page that shows it,
    relative to docs/.
    """

    symptom: str
    cause: str
    layers: tuple[str, ...]
    evidence: str
    remedy: str
    page: str

    def __str__(self) -> str:
        by = f", by {self.cause}" if self.symptom in ("vanishing", "exploding") and self.cause != "unknown" else ""
        return f"{self.symptom}{by}: {self.evidence}\n  Try: {self.remedy}\n  See: {self.page}"


@dataclass(frozen=True)
class Verdict:
    """What was found, worst first, and what the record cannot show."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        found = "\n\n".join(f"{i}. {finding}" for i, finding in enumerate(self.findings, 1))
        head = found or "Nothing wrong found: the gradient reaches every layer."
        return "\n".join([head, "", "What this record cannot show:", *(f"- {what}" for what in self.unknown)])


class _Evidence:
    """A record as the rules read it: medians over its steps, layers in forward order."""

    def __init__(self, record: GradientRecord, step: int | None) -> None:
        self.record = record
        rows = record.rows if step is None else record.at(step)
        if len(record.skipped_steps) < MOSTLY * len(record.steps):  # to skip a few while it finds its scale is its job
            rows = [row for row in rows if row["step"] not in record.skipped_steps] or rows
        self.rows = rows
        self.time_rows = [row for row in record.time_rows if step is None or row["step"] == step]
        self.steps = len({row["step"] for row in self.rows})
        self._of: dict[str, list[Row]] = {}
        for row in self.rows:
            self._of.setdefault(row["layer"], []).append(row)
        self.latest = {name: rows[-1] for name, rows in self._of.items()}
        self.names = [row["layer"] for row in self.latest.values()]
        self.number = {name: i for i, name in enumerate(self.names, 1)}
        weights = {row["layer"] for row in self.rows if row["family"] in ("weights", "recurrent") and row["calls"]}
        self.gradient = {name: g for name in weights if (g := self.median(name, "activation_gradient")) is not None}
        self.trunk = [name for name in self.names if name in self.gradient]

    def median(self, name: str, quantity: str) -> float | None:
        values = [row[quantity] for row in self._of[name] if row[quantity] is not None]
        return statistics.median(values) if values else None

    def latest_value(self, name: str, quantity: str) -> float | None:
        """At the last step that has it."""
        values = [row[quantity] for row in self._of[name] if row[quantity] is not None]
        return values[-1] if values else None

    def family(self, *families: str) -> list[str]:
        return [name for name in self.names if self.latest[name]["family"] in families]

    @property
    def activation(self) -> str | None:
        """The activation used most, by its name in `theory.ACTIVATIONS`, as a module or as an operation."""
        counts: dict[str, int] = {}
        for operation, count in self.record.operations.items():
            if operation in NAMES:
                counts[NAMES[operation]] = counts.get(NAMES[operation], 0) + count
        for name in self.names if not counts else []:
            if (kind := self.latest[name]["kind"]) in NAMES:
                counts[NAMES[kind]] = counts.get(NAMES[kind], 0) + 1
        return max(counts, key=lambda name: counts[name]) if counts else None

    @property
    def hidden(self) -> list[str]:
        """Layers with weights but the last, which usually is a readout."""
        return [name for name in self.trunk[:-1] if self.latest[name]["family"] == "weights"]

    @property
    def sigma_w2(self) -> float | None:
        """Median fan-in x variance of the hidden layers."""
        values = [v for name in self.hidden if (v := self.median(name, "sigma_w2")) is not None]
        return statistics.median(values) if values else None

    @property
    def batchnorms(self) -> int:
        return sum("BatchNorm" in self.latest[name]["kind"] for name in self.names)

    @property
    def norms(self) -> int:
        return len(self.family("norm"))

    def span(self, names: Sequence[str]) -> str:
        """Layers by their numbers in the forward pass and their names: layers 1-9 ("0" to "16")."""
        numbers = [self.number[name] for name in names]
        if len(names) == 1:
            return f'layer {numbers[0]} ("{names[0]}")'
        between = [name for name in self.trunk if numbers[0] <= self.number[name] <= numbers[-1]]
        several = f"{len(names)} of layers" if set(between) - set(names) else "layers"
        return f'{several} {numbers[0]}-{numbers[-1]} ("{names[0]}" to "{names[-1]}")'


def diagnose(record: GradientRecord, step: int | None = None) -> Verdict:
    """Judge a record: over all its steps (medians), or one of them.

    Raises ValueError if nothing was recorded, or not that step.
    """
    record.at(step)  # says what is missing
    evidence = _Evidence(record, step)
    findings: list[Finding] = []
    for rule in RULES:
        found = rule(evidence)
        if found and not (found.cause == "exactly zero" and any(f.symptom == "dead units" for f in findings)):
            findings.append(found)
        if found and found.symptom == "non-finite":
            break  # the other rules would judge what follows from it
    return Verdict(tuple(findings), tuple(_unknown(evidence)))


def non_finite(e: _Evidence) -> Finding | None:
    """nan or inf in an output, a gradient, or the norm of one."""
    broken = [
        row for row in e.rows if row["nonfinite"] or not _are_finite(row, "weight_gradient", "activation_gradient")
    ]
    if not broken:
        return None
    step = broken[0]["step"]
    rows = [row for row in broken if row["step"] == step]
    if forward := [row for row in rows if not _are_finite(row, "signal")]:
        first = forward[0]["layer"]
        where = f"in the forward pass; the first layer whose output has it is {e.span([first])}"
        page = "causes/explosion.md"
        remedy = (
            "a smaller learning rate, and a smaller scale of the first weights; look before that layer for a division "
            "by 0, a logarithm of 0 or an exponential"
        )
    else:
        first = rows[-1]["layer"]
        where = f"in the backward pass; the layer nearest to the loss that has it is {e.span([first])}"
        page = "causes/precision.md"
        remedy = (
            "in float16 a GradScaler, or bfloat16; else look between that layer and the loss for a function whose "
            "derivative is infinite, such as the square root or the norm at 0"
        )
    evidence = f"step {step} has nan or inf {where}."
    if skipped := len(e.record.skipped_steps):
        evidence += f" The scaler skipped {skipped} of {len(e.record.steps)} steps because of it."
    return Finding("non-finite", "overflow", (first,), evidence, remedy, page)


def saturation(e: _Evidence) -> Finding | None:
    """Activations with flat ends, most of whose outputs are there; not at the model's end, where they may be right."""
    end = e.number[e.trunk[-1]] if e.trunk else 0
    share = {name: e.latest_value(name, "saturated") or 0 for name in e.names if e.number[name] < end}
    flat = [name for name in share if share[name] > SATURATED]
    if not flat:
        return None
    evidence = (
        f"in {e.span(flat)} up to {max(share.values()):.0%} of the outputs are where the activation is flat: its slope "
        "there is below a twentieth of the largest it can have."
    )
    return Finding("saturation", "saturation", tuple(flat), evidence, SMALLER, "causes/activations.md")


def dead_units(e: _Evidence) -> Finding | None:
    """ReLU modules most of whose units are 0 on the whole batch."""
    share = {name: e.latest_value(name, "dead") or 0 for name in e.names if e.latest[name]["kind"] in ("ReLU", "ReLU6")}
    dead = [name for name in share if share[name] > DEAD]
    if not dead:
        return None
    evidence = f"in {e.span(dead)} up to {max(share.values()):.0%} of the units are 0 on every example of the batch."
    remedy = "a smaller learning rate, biases that start at 0, or a leaky ReLU"
    return Finding("dead units", "dead ReLUs", tuple(dead), evidence, remedy, "solutions/relu.md")


def vanishing(e: _Evidence) -> Finding | None:
    """Down the layers."""
    if len(e.trunk) < MANY:
        return None
    first, last = _ends(e, kindest=max)
    fading = [g for g in e.gradient.values() if 0 < g < VANISHING * last]
    if not (first < VANISHING * last and fading):  # zeros without them are cut off, not vanished
        return None
    weak = [name for name in e.trunk if e.gradient[name] < VANISHING * last]
    bottom, top = e.trunk[0], e.trunk[-1]
    evidence = (
        f"{e.span(weak)} receive less than {VANISHING:.0e} of the gradient of {e.span([top])}; "
        f"{e.span([bottom])} gets {_share(e.gradient[bottom], e.gradient[top])} of it.{_per_layer(e)}"
    )

    def found(cause: str, because: str, remedy: str, page: str) -> Finding:
        return Finding("vanishing", cause, tuple(weak), f"{evidence} {because}", remedy, page)

    flat = [name for name in e.names if (e.median(name, "saturated") or 0) > SATURATED]
    if flat:
        because = f"In {e.span(flat)} most outputs are where the activation is flat."
        return found("saturation", because, SMALLER, "causes/activations.md")
    activation, sigma_w2 = e.activation, e.sigma_w2
    if activation in BOUNDED:
        because = (
            f"The activation is {activation}, whose slope is {BOUNDED[activation]} at most, and at usual scales the "
            "weights don't make up for it."
        )
        remedy = "ReLU with He's initialisation, or GELU; or skip connections or batch normalisation around the layers"
        return found("activation", because, remedy, "causes/activations.md")
    critical = _critical(activation) if activation else None
    if sigma_w2 and critical and sigma_w2 < critical / TOLERANCE:
        remedy = f"weights of variance {critical:.2g}/fan_in, {_recipe(activation)}; or normalise the layers"
        return found("initialisation", _scale(sigma_w2, activation, critical), remedy, "causes/initialisation.md")
    because = "Neither the activation nor the scale of the weights accounts for it."
    remedy = "skip connections or normalisation; and compare the record's first step with its last"
    return found("unknown", because, remedy, "causes/depth.md")


def exploding(e: _Evidence) -> Finding | None:
    """Down the layers."""
    if len(e.trunk) < MANY:
        return None
    first, last = _ends(e, kindest=min)
    if not EXPLODING * last < first < math.inf:
        return None
    strong = [name for name in e.trunk if e.gradient[name] > EXPLODING * last]
    bottom, top = e.trunk[0], e.trunk[-1]
    evidence = (
        f"{e.span([bottom])} gets {e.gradient[bottom] / e.gradient[top]:.0e} times the gradient of {e.span([top])}."
        f"{_per_layer(e)}"
    )

    def found(cause: str, because: str, remedy: str, page: str) -> Finding:
        return Finding("exploding", cause, tuple(strong), f"{evidence} {because}", remedy, page)

    activation, sigma_w2, joins = e.activation, e.sigma_w2, e.record.joins
    if e.batchnorms >= MANY and joins < e.batchnorms / 4:
        because = (
            f"There are {e.batchnorms} batch normalisations and {joins or 'no'} skip connections; each normalisation "
            f"with a ReLU multiplies the gradient by about {theory.batchnorm_relu_rate():.2f} (Yang et al. 2019)."
        )
        remedy = (
            "first look again after fifty steps: with a larger learning rate it may be gone; if not, skip connections "
            "around the normalised layers, or He's initialisation and no normalisation"
        )
        return found("batch normalisation", because, remedy, "solutions/normalisation.md")
    if joins >= MANY and joins >= len(e.hidden) / 8:
        because = (
            f"{joins} sums or concatenations join two branches: each skip connection adds the gradient of its branch "
            "to its own, and nothing scales the sum down."
        )
        remedy = (
            "divide each branch's output by the square root of the number of blocks, start its last layer at 0, or put "
            "a layer normalisation at its beginning"
        )
        return found("unscaled residuals", because, remedy, "solutions/residuals.md")
    critical = _critical(activation) if activation else None
    if sigma_w2 and critical and sigma_w2 > critical * TOLERANCE:
        remedy = f"weights of variance {critical:.2g}/fan_in, {_recipe(activation)}; clipping only bounds the step"
        return found("gain", _scale(sigma_w2, activation, critical), remedy, "causes/explosion.md")
    because = "Neither normalisation, skip connections nor the scale of the weights accounts for it."
    remedy = "clip the gradient's norm while you look for the cause; and compare the record's first step with its last"
    return found("unknown", because, remedy, "causes/explosion.md")


def vanishing_in_time(e: _Evidence) -> Finding | None:
    """Back through the steps of a recurrent layer whose output is read at the end."""
    for name, norms, direct in _through_time(e):
        if _is_read_throughout(direct) or norms[0] >= VANISHING * norms[-1]:
            continue
        rate_per_step = f", {rate(norms):.2f} per step" if min(norms) > 0 else ""
        evidence = (
            f"in {e.span([name])} the first of {len(norms)} time steps gets {norms[0] / norms[-1]:.0e} of the gradient "
            f"of the last{rate_per_step}: what came first hardly moves the weights."
        )
        if e.latest[name]["kind"].startswith(("LSTM", "GRU")):
            remedy = (
                "a larger bias of the forget gate (in a GRU the update gate), about the logarithm of the time to be "
                "bridged; attention; or a loss at earlier steps too. It may learn all the same, if slowly"
            )
            return Finding("vanishing", "recurrence", (name,), evidence, remedy, "solutions/gates.md")
        remedy = (
            "an LSTM or GRU with a large forget bias, an orthogonal recurrent matrix, attention, or shorter sequences"
        )
        return Finding("vanishing", "recurrence", (name,), evidence, remedy, "causes/recurrence.md")
    return None


def exploding_in_time(e: _Evidence) -> Finding | None:
    """Back through the steps of a recurrent layer whose output is read at the end."""
    for name, norms, direct in _through_time(e):
        if not _is_read_throughout(direct) and norms[0] > EXPLODING * norms[-1]:
            evidence = (
                f"in {e.span([name])} the first of {len(norms)} time steps gets {norms[0] / norms[-1]:.0e} times the "
                "gradient of the last."
            )
            remedy = "a smaller or an orthogonal recurrent matrix; a gated layer; clip the gradient's norm"
            return Finding("exploding", "recurrence", (name,), evidence, remedy, "causes/recurrence.md")
    return None


def no_gradient(e: _Evidence) -> Finding | None:
    """Parameters that are to be trained and get no gradient, or one that is exactly 0."""
    trained = [name for name in e.names if not e.latest[name]["frozen"] and e.latest[name]["family"] != "activation"]
    missing = [name for name in trained if e.median(name, "weight_gradient") is None]
    if missing:
        evidence = f"no backward pass reached {e.span(missing)}, though there are parameters to be trained."
        remedy = (
            "look for detach(), no_grad(), .item() or .data between them and the loss, and whether they are used at all"
        )
        return Finding("no gradient", "not connected", tuple(missing), evidence, remedy, "problem/not-this.md")
    started_at_zero = any(e.median(name, "sigma_w2") == 0 for name in e.names)
    zero = [name for name in trained if e.median(name, "weight_gradient") == 0]
    if zero and len(zero) < len(trained) and not started_at_zero:  # behind a layer that is 0, it has to be 0 at first
        evidence = f"the gradient of {e.span(zero)} is exactly 0, and that of other layers isn't."
        remedy = (
            "look at what follows the last of them: its units may all be dead; in float16 the gradient may have "
            "underflowed, which loss scaling puts off"
        )
        return Finding("no gradient", "exactly zero", tuple(zero), evidence, remedy, "causes/precision.md")
    return None


def large_updates(e: _Evidence) -> Finding | None:
    """Steps that replace a layer's weights rather than change them."""
    ratio = {
        name: e.median(name, "update_ratio") or 0
        for name in e.family("weights", "recurrent")
        if (e.median(name, "sigma_w2") or 1) > FROM_ZERO  # what starts at 0 is replaced at once, and is meant to be
    }
    large = [name for name in ratio if ratio[name] > LARGE_UPDATE]
    if not large:
        return None
    evidence = f"one step changes {e.span(large)} by up to {max(ratio.values()):.2g} of the norm of its parameters."
    remedy = "a smaller learning rate, warm-up, or clipping the gradient's norm"
    return Finding("large updates", "learning rate", tuple(large), evidence, remedy, "solutions/clipping.md")


Rule = Callable[[_Evidence], Finding | None]
RULES: tuple[Rule, ...] = (  # worst first; the first of two that see the same thing names its cause
    non_finite,
    saturation,
    dead_units,
    vanishing,
    exploding,
    vanishing_in_time,
    exploding_in_time,
    no_gradient,
    large_updates,
)

SMALLER = (
    "smaller first weights, inputs of mean 0 and variance 1, a smaller learning rate, normalisation before the "
    "activation, or an activation without flat ends"
)


def _unknown(e: _Evidence) -> list[str]:
    unknown = [
        "whether the network learns: data, labels, loss and learning rate are not looked at, and a gradient that flows "
        "promises nothing"
    ]
    if e.record.optimizer is None:
        unknown.append("what an optimizer makes of the gradients: the probe was given none")
    elif e.record.optimizer.startswith("Adam"):
        unknown.append(
            "whether a weak gradient matters: Adam divides it by its own size, so that a layer with a tiny one moves "
            "all the same, if not always to good effect (problem/symptoms.md)"
        )
    if e.steps == 1:
        unknown.append("what happens later: one step was looked at")
    if e.activation and not e.family("activation", "recurrent"):
        unknown.append(f"dead or saturated units: {e.activation} is called as a function, outside any module")
    if e.family("recurrent"):
        unknown.append("whether gates are saturated: they work inside the recurrent layer")
    unknown += [
        f"how far back the gradient of {name} reaches: its output is read at most time steps, and the loss of each "
        "covers what comes from later ones"
        for name, _, direct in _through_time(e)
        if _is_read_throughout(direct)
    ]
    return [*unknown, *e.record.notes]


def _are_finite(row: Row, *quantities: str) -> bool:
    return all(row[quantity] is None or math.isfinite(row[quantity]) for quantity in quantities)


def _ends(e: _Evidence, kindest: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    """The gradient at both ends of the trunk, over a few layers each, so that one odd layer isn't taken for a trend."""
    norms = [e.gradient[name] for name in e.trunk]
    few = max(1, min(4, len(norms) // 4))
    unkindest = min if kindest is max else max
    return kindest(norms[:few]), unkindest(norms[-few:])


def _per_layer(e: _Evidence) -> str:
    """The measured rate, and for a plain stack what theory says of its weights."""
    norms = [e.gradient[name] for name in e.trunk]
    if len(norms) < 4 or not all(0 < norm < math.inf for norm in norms):
        return ""
    text = f" That is a factor of {rate(norms[:-1]):.3g} per layer{_when(e)}"
    expected = expected_rate(e)
    return f"{text}." if expected is None else f"{text}; mean-field theory expects {expected:.3g} of these weights."


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0e}" if part else "nothing"


def _when(e: _Evidence) -> str:
    return f", in the median of {e.steps} steps" if e.steps > 1 else ""


def expected_rate(e: _Evidence) -> float | None:
    """The factor per layer that mean-field theory gives a plain stack of linear layers; None for other networks."""
    activation, sigma_w2 = e.activation, e.sigma_w2
    plain = e.record.operations and not set(e.record.operations) - PLAIN and not e.norms and not e.record.joins
    if not plain or activation is None or sigma_w2 is None or len(e.hidden) < MANY:
        return None
    biases = [v for name in e.hidden if (v := e.median(name, "sigma_b2")) is not None]
    sigma_b2 = statistics.median(biases) if biases else 0.0
    signal = e.median(e.hidden[0], "signal") or 1.0
    profile = theory.gradient_profile(theory.ACTIVATIONS[activation], len(e.hidden), sigma_w2, signal**2, sigma_b2)
    return float(profile[0] ** (1 / (len(e.hidden) - 1)))


@cache
def _critical(activation: str) -> float:
    """Fan-in x variance at which a plain stack neither loses nor gains gradient."""
    return LIKE_RELU.get(activation) or theory.critical_sigma_w2(theory.ACTIVATIONS[activation])


def _recipe(activation: str | None) -> str:
    """How PyTorch writes the critical initialisation."""
    if activation == "relu" or activation in LIKE_RELU:
        return "nn.init.kaiming_normal_(weight, nonlinearity='relu')"
    return "nn.init.orthogonal_(weight)" if activation in ("tanh", "linear") else "nn.init.normal_"


def _scale(sigma_w2: float, activation: str | None, critical: float) -> str:
    known = {"PyTorch's default": 1 / 3, "LeCun's": 1.0, "He's": 2.0}
    near = [f" ({name})" for name, value in known.items() if 1 / TOLERANCE < sigma_w2 / value < TOLERANCE]
    return (
        f"Fan-in times the variance of the weights is {sigma_w2:.2g}{''.join(near)}, and with {activation} the "
        f"gradient holds at {critical:.2g}."
    )


def _through_time(e: _Evidence) -> list[tuple[str, list[float], list[float]]]:
    """(layer, gradient by time step, gradient that each step gets from outside), up to the last step with any."""
    found = []
    for name in dict.fromkeys(row["layer"] for row in e.time_rows):
        rows = [row for row in e.time_rows if row["layer"] == name]
        last = max(row["step"] for row in rows)
        rows = [row for row in rows if row["step"] == last]
        while rows and rows[-1]["gradient"] == 0:
            rows.pop()
        norms = [row["gradient"] for row in rows]
        if len(norms) >= LONG and all(math.isfinite(norm) for norm in norms):
            found.append((name, norms, [row["direct"] or 0.0 for row in rows]))
    return found


def _is_read_throughout(direct: Sequence[float]) -> bool:
    return sum(norm > 0 for norm in direct) > DIRECT * len(direct)
