"""nan, inf and underflow: where they began, and by which operation."""

from __future__ import annotations

import math

from vgdocs.probe.evidence import Evidence, are_finite, is_broken
from vgdocs.probe.finding import Finding
from vgdocs.probe.rules.units import DEAD

TINY = 1e-38  # below float32's smallest normal number: 0 for a root, a logarithm or a division
UNDERFLOWN = 6e-8  # float16's smallest number, as the root mean square of a gradient
POLES = {  # where the value itself is infinite; of other operations it is the slope
    "logarithm of zero": ("Log", "Log2", "Log10", "Log1P"),
    "division by zero": ("Div", "Reciprocal", "Rsqrt"),
}
REMEDIES = {
    "logarithm of zero": (
        "log_softmax, logsigmoid or logsumexp, which take the logarithm and what is in it together; else a small "
        "number inside"
    ),
    "division by zero": "a small number in the denominator",
    "infinite slope": (
        "a small number inside (sqrt(x + 1e-8)), or leave such examples out: torch.where doesn't help, as its "
        "derivative is still taken"
    ),
}


def singular_operation(e: Evidence) -> Finding | None:
    """nan or inf at a step at which an operation was at the point where its value or its slope is infinite."""
    if e.broken is None:
        return None
    graph = e.record.graphs.get(e.broken)
    for (i, what), numbers in e.record.statistics.get(e.broken, {}).items():
        if what != "least" or not abs(numbers[0]) <= TINY:
            continue
        name = graph.operations[i].name if graph is not None and isinstance(i, int) else str(i)
        cause = next((cause for cause, operations in POLES.items() if name in operations), "infinite slope")
        layers, where, _ = _where(e)
        evidence = (
            f"step {e.broken} has nan or inf {where}; the graph of the loss has a {name} that is exactly at the "
            "point where its value or its slope is infinite."
        )
        return Finding("non-finite", cause, layers, evidence, REMEDIES[cause], "causes/precision.md", e.broken)
    return None


def overflow(e: Evidence) -> Finding | None:
    """nan or inf in an output, a gradient, or the norm of one."""
    if e.broken is None:
        return None
    layers, where, passing = _where(e)
    remedy, page = {
        "forward": (
            "a smaller learning rate, and a smaller scale of the first weights; look before that layer for a division "
            "by 0, a logarithm of 0 or an exponential",
            "causes/explosion.md",
        ),
        "backward": (
            "in float16 a GradScaler, or bfloat16; else look between that layer and the loss for a function whose "
            "derivative is infinite, such as the square root or the norm at 0",
            "causes/precision.md",
        ),
        "somewhere": ("look again with every=1, which shows in which layer it begins", "causes/precision.md"),
        "loss": ("look in the loss for a logarithm of 0, a division by 0 or an exponential", "causes/precision.md"),
    }[passing]
    evidence = f"step {e.broken} has nan or inf {where}."
    if skipped := len(e.record.skipped_steps):
        evidence += f" The scaler skipped {skipped} of {len(e.record.steps)} steps because of it."
    return Finding("non-finite", "overflow", layers, evidence, remedy, page, e.broken)


def _where(e: Evidence) -> tuple[tuple[str, ...], str, str]:
    """The layer with the first nan or inf, in words too, and in which pass that is."""
    rows = [row for row in e.all_rows if row["step"] == e.broken]
    broken = [row for row in rows if is_broken(row)]
    if forward := [row["layer"] for row in broken if not are_finite(row, "signal")]:
        where = f"in the forward pass; the first layer whose output has it is {e.span(forward[:1])}"
        return (forward[0],), where, "forward"
    lost = any(row["step"] == e.broken and not are_finite(row, "loss") for row in e.all_steps)
    if lost and broken and all(row["signal"] is None for row in rows):
        return (), "in the loss and in gradients, and was not looked at in full", "somewhere"
    if broken:
        nearest = broken[-1]["layer"]
        where = f"in the backward pass; the layer nearest to the loss that has it is {e.span([nearest])}"
        return (nearest,), where, "backward"
    return (), "in the loss alone", "loss"


def underflow(e: Evidence) -> Finding | None:
    """Gradients in float16 that are smaller than its smallest number."""
    lost = []
    for name in e.family("weights", "recurrent", "norm"):
        zeros, gradient = e.median(name, "zero_gradients"), e.median(name, "activation_gradient")
        elements = e.median(name, "elements")
        if not e.first(name, "half") or zeros is None or gradient is None or not elements:
            continue
        small = gradient / math.sqrt(elements) < UNDERFLOWN
        if zeros > DEAD and small and (e.last(name, "signal") or 0) > 0:
            lost.append(name)
    if not lost or (e.losses and e.losses[-1] == 0):
        return None
    if e.trunk and e.trunk[-1] not in lost:
        return None  # it is there at the end, and vanishes on its way
    share = max(e.median(name, "zero_gradients") or 0 for name in lost)
    evidence = (
        f"in {e.span(lost)}, which compute in float16, up to {share:.0%} of the gradient's entries are exactly 0, "
        "and the rest near 6e-8, the smallest number there is."
    )
    remedy = "scale the loss (torch.amp.GradScaler), keep the weights in float32 under autocast, or use bfloat16"
    return Finding("no gradient", "underflow", tuple(lost), evidence, remedy, "causes/precision.md")
