"""The data: nan in it, its scale, and whether the labels have to do with it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.rules.optimizer import BOLD_UPDATE, HALF_WAY

# Root mean square of what the first layer is fed. Pixels from 0 to 255 have about 100; standardised data has 1. With
# PyTorch's weights the first pre-activations are 0.6 times as large, and tanh is flat from 2.2 on.
LARGE, SMALL = 30.0, 1e-3
BOLD, FLAT, USUAL = 3.0, 0.2, 1.5  # root mean square, saturated share and fan-in x variance of a first layer
UNEVEN = 1e3  # root mean square of the largest feature over the median one
# Root mean square of a regression's targets. A network as it is drawn answers with about 0.1 to 1, and Adam at 0.001
# moves the answer of 64 units by 0.06 a step at most.
LARGE_TARGETS, SMALL_TARGETS = 100.0, 1e-3
LONG = 100  # steps from which on a loss that doesn't fall says something
NEAR = 1.1  # times what guessing gives: a loss that is still above hasn't got as far as to ignore the inputs
PAGE = "diagnose/causes.md#data"


def nan_in_the_data(e: Evidence) -> Finding | None:
    """nan or inf in what the network is fed, or in the targets."""
    for number, inputs in e.inputs.items():
        bad = [share for *_, share, _ in inputs.values() if share > 0]
        if bad and (e.broken is None or number <= e.broken or len(inputs) == len(bad)):
            evidence = f"{max(bad):.2g} of the values that the network is fed are nan or inf at step {number}."
            remedy = (
                "look for missing values, and for a division by the standard deviation of a feature that is "
                "constant: fill the former, add 1e-8 to the latter"
            )
            return Finding("non-finite", "nan in the input", (), evidence, remedy, PAGE, number)
    for number, found in e.record.statistics.items():
        for (i, what), (value, *_) in found.items():
            if number in e.kept and what == "rms" and math.isnan(value) and not math.isnan(found[i, "output"][0]):
                evidence = f"the targets have nan at step {number}, and the outputs don't."
                remedy = "fill or leave out missing targets"
                return Finding("non-finite", "nan in the targets", (), evidence, remedy, PAGE, number)
    return None


def inputs_not_scaled(e: Evidence) -> Finding | None:
    """Inputs, or one of their features, far from a mean square of 1."""
    for number, inputs in e.inputs.items():
        for name, (rms, largest, median, bad, _) in inputs.items():
            uneven = median > 0 and largest > UNEVEN * median and largest > LARGE
            if bad > 0 or rms == 0 or not (rms > LARGE or rms < SMALL or uneven):
                continue
            evidence = f"{e.span([name])} is fed data whose root mean square is {rms:.2g}"
            evidence += (
                f"; that of the largest feature is {largest:.2g}, of the median one {median:.2g}." if uneven else "."
            )
            remedy = (
                "standardise each feature (subtract its mean, divide by its standard deviation), or normalise the "
                "first layer's inputs"
            )
            return Finding("data", "inputs not scaled", (name,), evidence, remedy, PAGE, number)
    return None


def flat_by_its_inputs(e: Evidence) -> Finding | None:
    """Inputs that are only a little large, but send the first activation to where it is flat."""
    number, inputs = next(iter(e.inputs.items()), (0, {}))
    for before, name in itertools.pairwise(e.names):
        rms = inputs.get(before, [0.0])[0]
        scale, flat = e.first(before, "sigma_w2"), e.first(name, "saturated")
        if rms > BOLD and flat is not None and flat > FLAT and scale is not None and scale < USUAL and not e.is_low:
            evidence = (
                f"{e.span([before])} is fed data whose root mean square is {rms:.2g}, and sends {flat:.0%} of the "
                f"outputs of {e.span([name])} to where it is flat, though its weights are small (fan-in times their "
                f"variance is {scale:.2g})."
            )
            remedy = "standardise each feature: subtract its mean, divide by its standard deviation"
            return Finding("data", "inputs not scaled", (before,), evidence, remedy, PAGE, number)
    return None


def joined_to_an_embedding(e: Evidence) -> Finding | None:
    """Numbers that are joined to an embedding: the size of the first layer's input follows from that of its output."""
    first = next((name for name in e.names if e.first(name, "sigma_w2")), None)
    before = e.names[: e.names.index(first)] if first else []
    if first is None or not before or any(e.latest[name]["kind"] != "Embedding" for name in before):
        return None
    signal = e.first(first, "signal") or 0.0
    given = max(e.first(name, "signal") or 0.0 for name in before)
    rms = signal / math.sqrt(e.first(first, "sigma_w2") or 1.0)
    if rms <= LARGE or given > LARGE:
        return None
    evidence = (
        f"{e.span([first])} answers the first batch with a root mean square of {signal:.2g}; as its weights are, it "
        f"must be fed with about {rms:.2g}, and its embeddings give {given:.2g}."
    )
    remedy = "standardise the numbers that are joined to the embeddings"
    return Finding("data", "inputs not scaled", (first,), evidence, remedy, PAGE)


def targets_not_scaled(e: Evidence) -> Finding | None:
    """A regression's targets that are far from what a network answers."""
    for i in e.graph.head:
        rms, output = e.statistic(i, "rms"), e.statistic(i, "output")
        if not rms:
            continue
        target, answer = rms[0], output[0]
        if target > LARGE_TARGETS or 0 < target < min(SMALL_TARGETS, 0.1 * answer):
            evidence = (
                f"the targets have a root mean square of {target:.2g}; the network began by answering {answer:.2g}."
            )
            remedy = "standardise the targets, and turn the answers back when they are used"
            return Finding("data", "targets not scaled", (), evidence, remedy, PAGE)
    return None


def labels_do_not_depend(e: Evidence) -> Finding | None:
    """Everything works and nothing is learned."""
    last = e.loss_at_last
    if e.guess is None or last is None or len(e.losses) < LONG or not e.is_stuck:
        return None
    way = e.travelled
    if way is None or way < HALF_WAY or last > NEAR * e.guess:
        return None
    evidence = (
        f"after {e.steps} steps, in which the weights moved by {way:.2g} times "
        f"their norm step by step, the loss is {last:.3g}; an answer that ignores the inputs gets {e.guess:.3g}. It "
        "looks as if the labels had nothing to do with the inputs. It can be a task that is only hard."
    )
    remedy = (
        "look at ten examples with their labels as the network gets them; fit ten by heart: if that works and "
        "validation doesn't, it is the labels"
    )
    found = Finding("not learning", "labels do not depend on the inputs", (), evidence, remedy, PAGE, e.numbers[-1])
    if max(e.updates[:3]) <= BOLD_UPDATE:
        return found
    decide = "train anew at a tenth of the learning rate: if the loss then falls it is the rate."
    return replace(found, alternatives=("learning rate too large",), decide=decide)
