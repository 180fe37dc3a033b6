"""Gradients that vanish or explode from layer to layer, and what accounts for it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import cache

from vgdocs import theory
from vgdocs.gradients import rate
from vgdocs.probe.evidence import NAMES, Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.record import EXPLODING, VANISHING
from vgdocs.probe.rules.units import SATURATED, SMALLER

MANY = 3  # layers with weights, the fewest that make a profile
STEEP = 0.1  # share that a layer hands down: 0.4 at PyTorch's scale with ReLU, 0.24 of a sigmoid's at LeCun's
TOLERANCE = 1.3  # factor on fan-in x variance that random matrices of a few units are off by

# The largest fan-in x variance at which the gradient doesn't grow in a plain stack. For ReLU He et al. 2015, equation
# 14; GELU and SiLU have no critical scale (theory.critical_sigma_w2 says why), and are initialised like ReLU. Without
# an activation a matrix keeps lengths, in the mean, where that is 1.
CRITICAL = {"gelu": 2.0, "silu": 2.0, "linear": 1.0}
BOUNDED = {"sigmoid": 0.25}  # activations whose slope never exceeds this: no usual scale of the weights makes up for it
PLAIN = {"Addmm", "T", "Mm", "View", "UnsafeView", "Transpose", *NAMES}  # operations of a plain stack


def vanishing(e: Evidence) -> Finding | None:
    """A gradient that shrinks from the last layer to the first."""
    if len(e.trunk) < MANY:
        return None

    # where nothing is learned, also what would have vanished in a network that is deep
    limit = max(VANISHING, STEEP ** (len(e.trunk) - 1)) if e.is_stuck else VANISHING

    def vanishes(gradient: dict[str, float]) -> bool:
        first, last = _ends(e, gradient, kindest=max)
        return first < limit * last and any(0 < g < limit * last for g in gradient.values())  # 0: cut off

    since, gradient = e.when(vanishes)
    if gradient is None:
        return None
    _, last = _ends(e, gradient, kindest=max)
    weak = [name for name in e.trunk if gradient[name] < limit * last]
    bottom, top = e.trunk[0], e.trunk[-1]
    share = f"{gradient[bottom] / gradient[top]:.0e}" if gradient[bottom] else "nothing"
    evidence = (
        f"{e.span(weak)} receive less than {limit:.0e} of the gradient of {e.span([top])}; "
        f"{e.span([bottom])} gets {share} of it.{_per_layer(e, gradient)}"
    )

    def found(cause: str, because: str, remedy: str, page: str) -> Finding:
        return Finding("vanishing", cause, tuple(weak), f"{evidence} {because}", remedy, page, since)

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
    first, last = _ends(e, e.gradient_at_first, kindest=max)
    came_later = first > math.sqrt(limit) * last > 0  # than the weights, which don't account for it then
    if sigma_w2 is not None and critical and sigma_w2 < critical / TOLERANCE and not came_later:
        remedy = f"weights of variance {critical:.2g}/fan_in, {_recipe(activation)}; or normalise the layers"
        return found("initialisation", _scale(sigma_w2, activation, critical), remedy, "causes/initialisation.md")
    because = "Neither the activation nor the scale of the weights accounts for it."
    if came_later:
        because = (
            f"At the first step that was looked at it got {first / last:.2g} of it: what the steps did is the cause."
        )
    remedy = "skip connections or normalisation; and compare the record's first step with its last"
    return found("unknown", because, remedy, "causes/depth.md")


def exploding(e: Evidence) -> Finding | None:
    """A gradient that grows from the last layer to the first."""
    if len(e.trunk) < MANY:
        return None

    def explodes(gradient: dict[str, float]) -> bool:
        first, last = _ends(e, gradient, kindest=min)
        return EXPLODING * last < first < math.inf

    since, gradient = e.when(explodes)
    if gradient is None:
        return None
    _, last = _ends(e, gradient, kindest=min)
    strong = [name for name in e.trunk if gradient[name] > EXPLODING * last]
    bottom, top = e.trunk[0], e.trunk[-1]
    times = f"{gradient[bottom] / gradient[top]:.0e}" if gradient[top] else "endlessly many"
    evidence = f"{e.span([bottom])} gets {times} times the gradient of {e.span([top])}.{_per_layer(e, gradient)}"

    def found(cause: str, because: str, remedy: str, page: str) -> Finding:
        return Finding("exploding", cause, tuple(strong), f"{evidence} {because}", remedy, page, since)

    activation, sigma_w2, joins = e.activation, e.sigma_w2, e.record.joins
    if e.batchnorms >= MANY and joins < e.batchnorms / 4:  # a residual network has a skip for two or three
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
    first, last = _ends(e, e.gradient_at_first, kindest=min)
    came_later = first < math.sqrt(EXPLODING) * last
    if sigma_w2 and critical and sigma_w2 > critical * TOLERANCE and not came_later:
        remedy = f"weights of variance {critical:.2g}/fan_in, {_recipe(activation)}; clipping only bounds the step"
        return found("gain", _scale(sigma_w2, activation, critical), remedy, "causes/explosion.md")
    because = "Neither normalisation, skip connections nor the scale of the weights accounts for it."
    if came_later:
        because = (
            f"At the first step that was looked at it got {first / last:.2g} times: what the steps did is the cause."
        )
    remedy = "clip the gradient's norm while you look for the cause; and compare the record's first step with its last"
    return found("unknown", because, remedy, "causes/explosion.md")


def _ends(e: Evidence, gradient: dict[str, float], kindest: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    """The gradient at both ends of the trunk, over a few layers each, so that one odd layer isn't taken for a trend."""
    norms = [gradient[name] for name in e.trunk]
    few = max(1, min(4, len(norms) // 4))
    if few > 2:
        return statistics.median(norms[:few]), statistics.median(norms[-few:])
    unkindest = min if kindest is max else max
    return kindest(norms[:few]), unkindest(norms[-few:])


def _per_layer(e: Evidence, gradient: dict[str, float]) -> str:
    """The measured rate, and for a plain stack what theory says of its weights."""
    norms = [gradient[name] for name in e.trunk]
    if len(norms) < 4 or not all(0 < norm < math.inf for norm in norms):
        return ""
    when = f", in the median of {e.looks} steps" if e.looks > 1 and gradient is e.gradient else ""
    text = f" That is a factor of {rate(norms[:-1]):.3g} per layer{when}"
    expected = expected_rate(e)
    return f"{text}." if expected is None else f"{text}; mean-field theory expects {expected:.3g} of these weights."


def expected_rate(e: Evidence) -> float | None:
    """The factor per layer that mean-field theory gives a plain stack of linear layers; None for other networks."""
    activation, sigma_w2 = e.activation, e.sigma_w2
    plain = e.record.operations and not set(e.record.operations) - PLAIN and not e.family("norm") and not e.record.joins
    if not plain or activation is None or sigma_w2 is None or len(e.hidden) < MANY:
        return None
    biases = [v for name in e.hidden if (v := e.first(name, "sigma_b2")) is not None]
    sigma_b2 = statistics.median_high(biases or [0.0])
    signal = e.first(e.hidden[0], "signal") or 1.0
    profile = theory.gradient_profile(theory.ACTIVATIONS[activation], len(e.hidden), sigma_w2, signal**2, sigma_b2)
    return float(profile[0] ** (1 / (len(e.hidden) - 1)))


@cache
def _critical(activation: str) -> float:
    """Fan-in x variance at which a plain stack neither loses nor gains gradient."""
    return CRITICAL.get(activation) or theory.critical_sigma_w2(theory.ACTIVATIONS[activation])


def _recipe(activation: str | None) -> str:
    """How PyTorch writes the critical initialisation."""
    if activation in ("relu", "gelu", "silu"):
        return "nn.init.kaiming_normal_(weight, nonlinearity='relu')"
    return "nn.init.orthogonal_(weight)" if activation in ("tanh", "linear") else "nn.init.normal_"


def _scale(sigma_w2: float, activation: str | None, critical: float) -> str:
    known = {"PyTorch's default": 1 / 3, "LeCun's": 1.0, "He's": 2.0}
    near = [f" ({name})" for name, value in known.items() if 1 / TOLERANCE < sigma_w2 / value < TOLERANCE]
    given = "without an activation" if activation == "linear" else f"with {activation}"
    return (
        f"Fan-in times the variance of the weights is {sigma_w2:.2g}{''.join(near)}, and {given} the "
        f"gradient holds at {critical:.2g}."
    )
