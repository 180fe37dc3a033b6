"""What the loss is given: outputs that don't fit it, a range that can't say what is asked, no lower bound."""

from __future__ import annotations

import math

from vgdocs.probe.evidence import FEW, STEADY, Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.graph import BINARY, MOVES, NLL, RANGES, RESIDUALS, SCALES

FITS = 0.05  # how far the logarithm of a sum of probabilities may be from 0
OUTSIDE = 0.05  # share of the targets that the output can't take
FLAT = 0.5  # share of the wrong outputs that are where the activation is flat
WRONG = 0.02  # share of outputs that are off by half the range, from which on they are looked at
SPAN = 1.05  # on the widest difference of class scores that an activation allows, for rounding
OFF = 0.2  # how far the sum of an example's targets may be from 1, in the mean
SURE = 0.9  # share of a discriminator's answers where its sigmoid is flat
NEXT_TO_NOTHING = 0.02  # probability that a sure discriminator gives what is generated
FELL = 20.0  # times its first size that a loss without a lower bound has fallen below 0
PAGE = "diagnose/causes.md#loss"


def _found(cause: str, evidence: str, remedy: str, page: str = PAGE) -> Finding:
    return Finding("loss and output", cause, (), evidence, remedy, page)


def softmax_over_one_unit(e: Evidence) -> Finding | None:
    """A softmax, or a cross-entropy, over a dimension of length 1, which is 1 whatever goes in."""
    for i in e.graph.named("Softmax", "LogSoftmax"):
        if e.operation(i).size == 1:
            evidence = (
                "the softmax before the loss runs over a dimension of length 1: it is 1 whatever the network says, "
                "and its derivative is 0."
            )
            remedy = "one unit with a sigmoid (nn.BCEWithLogitsLoss), or a unit for each class; in a regression neither"
            return _found("softmax over one unit", evidence, remedy)
    for i in e.graph.head:
        if (shared := e.graph.shared(i)) and shared[1] == 1:
            evidence = (
                "before the loss each output is divided by the sum over a dimension of length 1, which is itself: it "
                "is 1 whatever the network says, and its derivative is 0."
            )
            return _found("softmax over one unit", evidence, "one unit with a binary loss, or a unit for each class")
    return None


def wrong_dimension(e: Evidence) -> Finding | None:
    """A softmax over the batch, or one whose classes aren't those that the loss reads."""
    for i in e.graph.named("Softmax", "LogSoftmax"):
        operation = e.operation(i)
        if operation.dim == 0 and operation.rank > 1 and operation.size > 1 and not operation.square:
            evidence = (
                f"the softmax before the loss runs over the first of {operation.rank} dimensions ({operation.size} "
                "long), which is the batch: the examples compete with each other, and not the classes."
            )
            return _found("wrong dimension", evidence, "dim=-1, or the dimension that the classes are in")
    for i in e.graph.named(*NLL):
        total = e.statistic(i, "total")
        if total and min(total) > FITS and e.graph.under(i)[0].name == "LogSoftmax":
            evidence = (
                "the probabilities that nll_loss is told don't sum to 1 over its classes (the logarithm of the sum "
                f"is off by {total[0]:.2g}), though a log_softmax made them: it runs over another dimension."
            )
            return _found("wrong dimension", evidence, "give log_softmax the dimension that the classes are in")
    return None


def twice(e: Evidence) -> Finding | None:
    """Softmax or sigmoid at the end of the network, and again in the loss."""
    for i in e.graph.named("LogSoftmax", "Softmax"):
        below, j, _ = e.graph.under(i)
        if below.name == "Softmax" and j in e.graph.head and (floor := _floor(e, i)) is not None:
            evidence = (
                "a softmax is applied to what a softmax has made: the class scores then differ by 1 at most, and "
                f"the loss can't fall below {floor:.2f} however sure the network is."
            )
            return _found("softmax twice", evidence, "drop the network's own softmax: cross_entropy takes raw scores")
    for i in e.graph.named("Sigmoid", "LogSigmoid", "Softplus", "BinaryCrossEntropyWithLogits"):
        below, j, scaled = e.graph.under(i)
        if below.name == "Sigmoid" and j in e.graph.head and not scaled:
            evidence = (
                "a sigmoid is applied to what a sigmoid has made: the probability then lies between 0.5 and 0.73, "
                f"and the loss of an example can't fall below {-math.log(0.7311):.2f}, or {math.log(2):.2f}."
            )
            remedy = "drop the network's own sigmoid: a loss with logits takes raw scores"
            return _found("sigmoid twice", evidence, remedy)
    return None


def misfit(e: Evidence) -> Finding | None:
    """A loss that expects something else than it is given."""
    cause = "loss does not fit the outputs"
    for i in e.graph.named(*NLL):
        below, _, _ = e.graph.under(i)
        total = e.statistic(i, "total")
        if below.name != "LogSoftmax" and total and min(total) > FITS:
            given = "probabilities" if below.name == "Softmax" else "numbers"
            evidence = (
                f"nll_loss expects log-probabilities and gets {given} whose exponentials don't sum to 1 (the "
                f"logarithm of the sum is off by {total[0]:.2g}): it only grows the right score, or falls without "
                "end."
            )
            return _found(cause, evidence, "cross_entropy, or log_softmax before nll_loss")
    for i in e.graph.named("LogSoftmax"):
        below, j, _ = e.graph.under(i)
        is_sigmoid = below.name in ("Sigmoid", "Hardsigmoid") and j in e.graph.head
        if is_sigmoid and (floor := _floor(e, i)) is not None:
            evidence = (
                "cross_entropy gets the outputs of a sigmoid: they differ by 1 at most, and the loss can't fall "
                f"below {floor:.2f}."
            )
            return _found(cause, evidence, "drop the sigmoid, or, if several classes can be true, use a binary loss")
    for i in e.graph.named("Mul"):
        wrong = e.statistic(i, "not shares")
        if wrong and min(wrong) > OUTSIDE:
            evidence = (
                f"a cross-entropy over classes takes targets that sum to 1, and {wrong[0]:.0%} of the examples have "
                f"several that don't; their mean sum is {e.statistic(i, 'total of targets')[0]:.2g}."
            )
            remedy = (
                "if several classes can be true, a sigmoid for each (nn.BCEWithLogitsLoss); of class "
                "numbers, cross_entropy, or one_hot"
            )
            return _found(cause, evidence, remedy)
    for i in e.graph.head:
        shared = e.graph.shared(i)
        if shared and e.operation(shared[0]).name in ("Sigmoid", "Hardsigmoid"):
            evidence = (
                "a cross-entropy over classes gets the outputs of a sigmoid for each class, divided by their sum: "
                "a score can grow by getting all others down only, and not beyond 1."
            )
            return _found(cause, evidence, "raw scores into cross_entropy, or a binary loss if several can be true")
    for i in e.graph.named(*BINARY):
        below, j, scaled = e.graph.under(i)
        takes_logits = e.operation(i).name == "BinaryCrossEntropyWithLogits"
        if takes_logits and below.name in ("Softmax", "LogSoftmax") and j in e.graph.head and not scaled:
            evidence = f"the loss applies a sigmoid to what a {below.name} has made."
            return _found(cause, evidence, "raw scores, or cross_entropy if one class alone is true")
        outside = e.statistic(i, "outside")
        if outside and max(outside) > OUTSIDE:
            evidence = (
                f"{max(outside):.0%} of the targets of a binary cross-entropy lie outside 0 to 1: the loss has no "
                "lower bound."
            )
            return _found(
                cause, evidence, "targets of 0 and 1; cross_entropy for class numbers; a squared error for quantities"
            )
        share = e.statistic(i, "target")
        if below.name == "Softmax" and share and abs(share[0] * below.size - 1) > OFF:
            evidence = (
                f"the outputs of a softmax sum to 1, and the targets to {share[0] * below.size:.2g}: several are "
                "true, or none."
            )
            return _found(cause, evidence, "a sigmoid for each unit (nn.BCEWithLogitsLoss)")
        if not takes_logits and (below.owns or below.name == "Addmm"):
            evidence = "binary_cross_entropy expects probabilities and gets the raw outputs of a layer, cut at 0 and 1."
            return _found(cause, evidence, "nn.BCEWithLogitsLoss")
    return None


def output_range(e: Evidence) -> Finding | None:
    """The last activation can't say what is asked."""
    for i in e.graph.named("LogSoftmax"):
        below, j, scaled = e.graph.under(i)
        if j not in e.graph.head or scaled:
            continue
        if below.name == "Relu":
            evidence = (
                "the class scores have passed a ReLU: a score that is 0 gets no gradient, and no score can be below 0."
            )
            return _found(
                "output range", evidence, "no activation between the last layer and cross_entropy", "solutions/relu.md"
            )
        if below.name in ("Tanh", "Hardtanh") and (floor := _floor(e, i)) is not None:
            evidence = (
                "the class scores have passed a tanh: they differ by 2 at most, and the loss can't fall below "
                f"{floor:.2f}."
            )
            return _found("output range", evidence, "no activation between the last layer and cross_entropy")
    for i in e.graph.head:
        shared = e.graph.shared(i)
        below = e.operation(shared[0]) if shared else e.graph.under(i)[0]
        if below.name in ("Relu", "Tanh") and (shared or e.operation(i).name == "BinaryCrossEntropy"):
            evidence = (
                f"the loss takes probabilities, and the network ends with a {below.name}, whose outputs are not: what "
                "lies outside 0 to 1 is cut, and gets no gradient."
            )
            remedy = "no activation at the end, and cross_entropy or nn.BCEWithLogitsLoss"
            return _found("output range", evidence, remedy, "solutions/relu.md")
    for i in e.graph.named(*RESIDUALS):
        outside = e.statistic(i, "outside")
        below, _, _ = e.graph.under(i)
        if outside and min(outside) > OUTSIDE:
            low, high = RANGES[below.name]
            evidence = (
                f"the network ends with a {below.name}, whose outputs lie between {low:g} and {high:g}, and "
                f"{outside[0]:.0%} of the targets lie outside."
            )
            return _found("output range", evidence, "no activation at the end, or targets scaled into its range")
    return None


def saturated_output(e: Evidence) -> Finding | None:
    """A squared error on an activation that is flat where it is wrong."""
    for i in e.graph.named(*RESIDUALS):
        wrong, flat = e.statistic(i, "wrong"), e.statistic(i, "wrong and flat")
        if wrong and min(wrong) > WRONG and all(f > FLAT * w for f, w in zip(flat, wrong, strict=True)):
            name = e.graph.under(i)[0].name.lower()
            evidence = (
                f"{wrong[-1]:.0%} of the outputs are off by more than half of what the {name} can say, and "
                f"{flat[-1] / wrong[-1]:.0%} of these are where it is flat: the squared error's gradient is next to "
                "nothing there."
            )
            remedy = "a cross-entropy, whose gradient doesn't vanish there; smaller last weights and biases"
            return Finding("saturation", "saturation", (), evidence, remedy, "causes/activations.md")
    return None


def saturating_gan(e: Evidence) -> Finding | None:
    """The generator's loss log(1 - D), which is flat where the discriminator is sure (Goodfellow et al. 2014)."""
    last = e.loss_at_last
    if last is None or last > 0:
        return None
    evidence = (
        f"the loss, {last:.1e}, is the logarithm of one less a probability that is next to 0, where both are flat: "
        "the discriminator is sure, and the generator gets no gradient."
    )
    remedy = "minimise -log(D) instead, which is steep there, or a discriminator that is trained less"
    found = _found("saturating GAN loss", evidence, remedy, "causes/activations.md")
    for i in e.graph.named("Log", "Log1P"):
        j = i
        while len(e.operation(j).below) == 1 and e.operation(j).name in {"Log", "Log1P", "Rsub"} | MOVES | SCALES:
            j = e.operation(j).below[0]
        flat, average = e.statistic(j, "flat"), e.statistic(j, "average")
        if e.operation(j).name == "Sigmoid" and flat and flat[-1] > SURE and average[-1] < 0.5:
            return found
    is_sure = last > -NEXT_TO_NOTHING and (e.loss_at_first or 0.0) <= 0
    shares = [share for i in e.graph.named(*BINARY) if (share := e.statistic(i, "target"))]
    return found if is_sure and shares and max(shares[0]) == 0 else None


def no_lower_bound(e: Evidence) -> Finding | None:
    """A loss that is linear in the outputs: they grow, and nothing else."""
    if not e.graph.operations or len(e.losses) < FEW:
        return None
    plain = all(e.graph.is_linear(i) or e.operation(i).name in NLL for i in e.graph.head)
    third = len(e.losses) // 3
    first, last = max(abs(loss) for loss in e.losses[:3]), e.losses[-1]
    drops = e.losses[0] - e.losses[third], e.losses[-third] - last
    # A critic whose weights are clipped comes to rest. Of what isn't plainly unbounded, only what falls ever faster.
    if not (last < -FELL * first and drops[1] > (STEADY if plain else 1 / STEADY) * drops[0]):
        return None
    shape = "linear in the outputs," if plain else "not bounded below, as it seems: it"
    evidence = (
        f"the loss is {shape} has fallen from {e.losses[0]:.2g} to {last:.2g}, and falls on without "
        "slowing down: larger outputs always make it smaller."
    )
    remedy = (
        "a loss with a minimum (hinge, logistic, squared); log_softmax before nll_loss; for a critic clipped "
        "weights or a penalty on its gradient"
    )
    return _found("loss without a lower bound", evidence, remedy)


def _floor(e: Evidence, i: int) -> float | None:
    """The least cross-entropy of class scores that an activation confines; None if they were scaled up since."""
    low, high = RANGES[e.graph.under(i)[0].name]
    span = e.statistic(i, "span")
    if span and not max(span) <= SPAN * (high - low):
        return None
    return math.log1p((e.operation(i).size - 1) * math.exp(low - high))
