"""Units that say nothing or always the same: equal, dead, saturated, dropped, normalised away."""

from __future__ import annotations

import statistics

from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import Finding

# Share of a layer's units that are silent on the whole batch. In the deep layers of a healthy ReLU network all inputs
# have come to look alike, so that up to half of the units are: 0.48 is the most in the tests' healthy networks, 0.62 in
# networks that only vanish.
DEAD = 0.9
# Share of a layer's outputs where the activation is flat. 0.04 is the most in the tests' healthy networks, 0.9 what
# they have with weights twenty times as large.
SATURATED = 0.5
EQUAL = 1e-3  # difference of a layer's rows over their norm; those that are drawn differ by about their norm
PEAK = 0.9  # largest weight of attention, in the mean over queries, in the median layer
KEYS = 4  # fewest keys from which on that is judged
DROPPED = 0.8  # probability of a dropout; usual are 0.1 to 0.5 (Srivastava et al. 2014)
VALUES = 2  # of which a batch normalisation then makes -1 and 1, whatever they are

SMALLER = (
    "smaller first weights, inputs of mean 0 and variance 1, a smaller learning rate, normalisation before the "
    "activation, or an activation without flat ends"
)


def symmetric_weights(e: Evidence) -> Finding | None:
    """Units of a layer that have the same weights, and keep them."""
    equal = []
    for name in e.trained:
        differences, norms = e.values(name, "rows"), e.values(name, "weight")
        if len(differences) > 1 and all(d <= EQUAL * n for d, n in zip(differences, norms, strict=False)):
            equal.append(name)
    if not equal or not any(row["moved"] for row in e.step_rows):
        return None
    evidence = (
        f"the units of {e.span(equal)} have the same weights as each other, at the first step looked at and at the "
        "last: they get the same gradient, and a layer of them can do no more than one."
    )
    remedy = "random first weights (PyTorch's own, or nn.init.kaiming_normal_); only biases may start at 0"
    return Finding("not learning", "symmetric weights", tuple(equal), evidence, remedy, "causes/initialisation.md")


def saturation(e: Evidence) -> Finding | None:
    """Activations with flat ends, most of whose outputs are there; not at the model's end, where they may be right."""
    end = e.number[e.trunk[-1]] if e.trunk else 0
    share = {name: e.last(name, "saturated") or 0 for name in e.names if e.number[name] < end}
    flat = [name for name in share if share[name] > SATURATED]
    if not flat or e.is_low:
        return None
    evidence = (
        f"in {e.span(flat)} up to {max(share.values()):.0%} of the outputs are where the activation is flat: its "
        "slope there is below a twentieth of the largest it can have."
    )
    since = min(e.since(name, "saturated", SATURATED) for name in flat)
    return Finding("saturation", "saturation", tuple(flat), evidence, SMALLER, "causes/activations.md", since)


def dead_units(e: Evidence) -> Finding | None:
    """ReLU modules most of whose units are 0 on the whole batch."""
    share = {name: e.last(name, "dead") or 0 for name in e.names if e.latest[name]["kind"] in ("ReLU", "ReLU6")}
    dead = [name for name in share if share[name] > DEAD]
    if not dead or e.is_low:
        return None
    since = min(e.since(name, "dead", DEAD) for name in dead)
    evidence = f"in {e.span(dead)} up to {max(share.values()):.0%} of the units are 0 on every example of the batch"
    evidence += f", from step {since} on." if since > e.numbers[0] else ", from the first step on."
    remedy = "biases that start at 0, He's initialisation" if since == e.numbers[0] else "a smaller learning rate"
    return Finding(
        "dead units", "dead ReLUs", tuple(dead), evidence, f"{remedy}, or a leaky ReLU", "solutions/relu.md", since
    )


def attention_logits(e: Evidence) -> Finding | None:
    """Attention that looks at one place only, from the first step on."""
    peaks = []
    for i, operation in enumerate(e.graph.operations):
        peak = e.statistic(i, "peak")
        fused = e.statistic(i, "keys")
        keys = fused[0] if fused else operation.size
        if peak and keys >= KEYS and i not in e.graph.head and _is_attention(e, i):
            peaks.append(peak[0])
    if not peaks or statistics.median(peaks) < PEAK:
        return None
    evidence = (
        f"in the median of {len(peaks)} attention layers the largest weight of a query is "
        f"{statistics.median(peaks):.3f} at the first step: the softmax is flat there, and hands nothing to queries "
        "and keys."
    )
    remedy = (
        "divide the logits by the square root of the width of a head; smaller weights, or a normalisation, of "
        "queries and keys"
    )
    return Finding("saturation", "attention logits", (), evidence, remedy, "solutions/attention.md")


def _is_attention(e: Evidence, i: int) -> bool:
    """Whether a softmax's input is a product of two things that were computed, scaled or masked."""
    if "Attention" in e.operation(i).name:
        return True
    for _ in range(8):
        if not e.operation(i).below:
            return False
        i = e.operation(i).below[0]
        if e.operation(i).name in ("Bmm", "Baddbmm", "Mm"):
            return len(e.operation(i).below) > 1 and not e.operation(i).owns
    return False


def dropout(e: Evidence) -> Finding | None:
    """A dropout that leaves next to nothing."""
    found = []
    for i, operation in enumerate(e.graph.operations):
        zeros, largest, smallest = (e.statistic(i, what) for what in ("zeros", "largest", "smallest"))
        masked = zeros and smallest[0] == 0 and zeros[0] < 1 and abs(largest[0] * (1 - zeros[0]) - 1) < 0.5
        found.append(max(operation.probability, zeros[0] if masked else 0.0, 1.0 if zeros and min(zeros) == 1 else 0.0))
    if not found or max(found) < DROPPED:
        return None
    evidence = f"a dropout sets {max(found):.1%} of what it is given to 0: the rest is scaled up, and is mostly noise."
    remedy = "0.1 to 0.5 (the argument is the share that is dropped, not the one that is kept)"
    return Finding("not learning", "dropout", (), evidence, remedy, "diagnose/causes.md#units")


def batch_statistics(e: Evidence) -> Finding | None:
    """A batch normalisation over two values."""
    values = {name: n for name in e.names if (n := e.median(name, "values")) is not None and n <= VALUES}
    if not values:
        return None
    few = list(values)
    evidence = (
        f"{e.span(few)} takes mean and variance over {values[few[0]]:.0f} values: two numbers become -1 and 1 "
        "whatever they are, and no gradient passes."
    )
    remedy = "a larger batch, or a layer or group normalisation, which don't depend on it"
    return Finding("not learning", "batch statistics", tuple(few), evidence, remedy, "solutions/normalisation.md")
