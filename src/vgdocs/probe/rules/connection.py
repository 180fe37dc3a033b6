"""Parts that the loss doesn't reach, or through which nothing can pass."""

from __future__ import annotations

from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import Finding

STEPS = ("Round", "Sign", "Floor", "Ceil", "Trunc")
LAYERS = 3  # with weights and nothing between them: a factorisation of one matrix has two
PAGE = "diagnose/causes.md#graph"


def not_connected(e: Evidence) -> Finding | None:
    """Parameters that are to be trained and get no gradient."""
    remedy = (
        "look for detach(), no_grad(), .item(), .data, argmax or a new tensor between them and the loss, and "
        "whether they are used at all"
    )
    if any(row["cut_off"] for row in e.step_rows):
        evidence = "the loss that backward() was called on depends on none of the model's parameters."
        return Finding("no gradient", "not connected", (), evidence, remedy, PAGE)
    missing = [name for name in e.trained if e.median(name, "weight_gradient") is None]
    if not missing:
        return None
    evidence = f"no backward pass reached {e.span(missing)}, though there are parameters to be trained."
    return Finding("no gradient", "not connected", tuple(missing), evidence, remedy, PAGE)


def exactly_zero(e: Evidence) -> Finding | None:
    """Parameters whose gradient is exactly 0, and that of others isn't."""
    started_at_zero = any(e.first(name, "sigma_w2") == 0 for name in e.names)
    zero = [name for name in e.trained if e.median(name, "weight_gradient") == 0]
    if not zero or len(zero) == len(e.trained) or started_at_zero:  # behind a layer that is 0, it has to be 0 at first
        return None
    if e.is_low and any(e.first(name, "weight_gradient") for name in zero):
        return None  # there was one until there was nothing left to correct
    flat = [operation.name for operation in e.graph.operations if operation.name in STEPS]
    evidence = f"the gradient of {e.span(zero)} is exactly 0, and that of other layers isn't."
    if flat:
        evidence += f" The graph of the loss contains {flat[0]}, which is flat everywhere."
    remedy = (
        "the straight-through estimator, x + (round(x) - x).detach(), if it is to be rounded"
        if flat
        else "look at what follows the last of them: its units may all be dead; in float16 the gradient may have "
        "underflowed, which loss scaling puts off"
    )
    return Finding("no gradient", "exactly zero", tuple(zero), evidence, remedy, "causes/precision.md")


def no_activations(e: Evidence) -> Finding | None:
    """Layers with weights, and nothing between them that isn't linear: together they are one layer."""
    weights = [name for name in e.trunk if e.latest[name]["family"] == "weights"]
    body = e.graph.body
    if len(weights) < LAYERS or not body or not all(e.graph.is_linear(i) and not _is_gated(e, i) for i in body):
        return None
    only = f"between {e.span(weights)} there are only products and sums: together they can't do more than one layer."
    remedy = "an activation such as ReLU after each layer but the last"
    return Finding("not learning", "no activations", tuple(weights), only, remedy, "causes/activations.md")


def _is_gated(e: Evidence, i: int) -> bool:
    """Whether an operation multiplies by zeros and ones, as does a ReLU that is written as h * (h > 0)."""
    smallest, largest = (e.statistic(i, what) for what in ("smallest", "largest"))
    return smallest[:1] == [0.0] and largest[:1] == [1.0]
