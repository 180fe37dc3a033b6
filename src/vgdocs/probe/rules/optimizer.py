"""What the optimizer does: which parameters it holds, with which gradients, how far it moves them."""

from __future__ import annotations

import math
import statistics
from collections import Counter

from vgdocs.probe.evidence import FEW, Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.rules import units

# Change of a layer's parameters in one step over their norm. A thousandth is a common rule of thumb; Adam's first step
# at 0.001 takes 0.03 in a layer of 512 units at PyTorch's scale. Half of the norm leaves little of what was there.
LARGE_UPDATE = 0.5
SMALL_UPDATE = 1e-6  # after a thousand steps a thousandth of the weights at most would have changed
BOLD_UPDATE = 0.1  # a tenth in one step: too much only where nothing is learned
STAYS_BOLD = 0.03  # median step; that of Adam at 0.01 begins at 0.14 and is 0.02 where the labels are drawn by lot
ROSE = 3.0  # a loss above as many times its first value has been thrown off
LEFT = 0.5  # norm of gradients that weren't cleared over those of the step
CLIPPED = 1e-3  # norm that is left of a gradient
SHRUNK = 0.5  # of a weight's norm
DECAY = 0.5  # share of an update that is weight decay
LAYER_NORMS = ("NativeLayerNorm", "FusedRmsNorm")
POST_NORMS = 6  # normalisations of a sum with its skip, from which on a Transformer needs warm-up
RANDOM = 1.15  # largest singular value over that of a random matrix: 0.8 to 1.0 as drawn, from 1.5 on after 300 steps
SHORT_WAY = 0.2  # way of the weights over their norm, step by step: they are still what was drawn
ON_ITS_WAY = 0.75  # a loss below this share of its first third is getting somewhere
FAR = 10.0  # times what guessing gives: there is a long way to go, however much has been covered
HALF_WAY = 0.5  # way from which on a fall that is slow has to do with more than the length of the steps
STILL_THERE = 0.9  # a loss above this share of its first third is where it was
MANY_STEPS = 200  # from which on it isn't the number of steps that is looked at first
FEWEST_STEPS = 30  # after twenty the loss of a healthy network of six layers is within its noise of where it began
SMALL_STEP = 1e-4  # a tenth of what is usual
PAGE = "diagnose/causes.md#optimiser"


def not_in_the_optimizer(e: Evidence) -> Finding | None:
    """Parameters that are to be trained, that no optimizer was seen to move, and that look as they were drawn."""
    weights = [
        name
        for name in e.trained
        if e.record.held.get(name) == 0 and e.is_still(name) and e.record.drawn.get(name, RANDOM) < RANDOM
    ]
    if not weights:
        return None
    evidence = (
        f"the optimizer holds no parameter of {e.span(weights)}, and nothing else moves them; their weights look as "
        "drawn."
    )
    remedy = (
        "build the optimizer after the last change of the model, from model.parameters(); if they are to stay, "
        "requires_grad_(False) saves their gradients"
    )
    return Finding("no update", "not in the optimizer", tuple(weights), evidence, remedy, PAGE)


def not_registered(e: Evidence) -> Finding | None:
    """Parameters that the loss depends on, and the model and the optimizer don't know of."""
    if not e.record.held:
        return None
    known = [row["unregistered"] for row in e.step_rows if row["unregistered"]]
    if len(known) < 2:
        return None
    first, last = known[0], known[-1]
    still = [shape for k, (shape, norm, _) in first.items() if k in last and last[k][1] == norm]
    drawn = [ratio for _, _, ratio in first.values() if ratio is not None]
    if not still or (drawn and max(drawn) > RANDOM):  # a trained network may judge another one
        return None
    evidence = (
        f"the loss depends on {len(still)} parameters that model.parameters() doesn't list and the optimizer "
        f"doesn't hold; they haven't moved. Their shapes: {', '.join(str(shape) for shape in still[:4])}."
    )
    remedy = (
        "keep modules in an nn.ModuleList or nn.ModuleDict, not in a plain list or dict; or give them to the optimizer"
    )
    return Finding("no update", "not in the optimizer", (), evidence, remedy, PAGE)


def frozen(e: Evidence) -> Finding | None:
    """Most of the network doesn't train, and is random."""
    weights = [name for name in e.names if name in e.record.drawn or e.latest[name]["family"] == "weights"]
    still = [name for name in weights if e.latest[name]["frozen"] and e.record.drawn.get(name, RANDOM) < RANDOM]
    if e.steps < FEW or len(still) * 2 <= len(weights):
        return None
    evidence = (
        f"{len(still)} of {len(weights)} layers with weights are frozen (requires_grad is False), and their weights "
        "are what an initialisation draws: no singular value stands out. What they compute was never learned."
    )
    remedy = "requires_grad_(True) for what is to learn; if a trained network was to be loaded, look whether it was"
    return Finding("no gradient", "frozen", tuple(still), evidence, remedy, PAGE)


def gradients_accumulate(e: Evidence) -> Finding | None:
    """Gradients that an optimizer has used are still there when the next are added."""
    left = [row["left"] for row in e.step_rows if row["left"] is not None and row["moved"]]
    kept = [share for share in left if share > LEFT]
    if len(kept) < 2 or len(kept) < 0.9 * len(left):
        return None
    evidence = (
        "after the optimizer's step the gradients were still there when the next backward pass began, at all "
        f"{len(kept)} steps looked at ({kept[0]:.0%} of their norm at the first): each step adds to all that came "
        "before."
    )
    remedy = "optimizer.zero_grad() before each backward pass"
    return Finding("large updates", "gradients accumulate", (), evidence, remedy, PAGE)


def cleared_too_late(e: Evidence) -> Finding | None:
    """Gradients that are gone when the optimizer comes for them."""
    handed = [row["handed"] for row in e.step_rows if row["handed"] is not None and row["gradient"]]
    if not handed or any(handed):
        return None
    evidence = (
        "a backward pass gave gradients, and when the optimizer stepped they were gone or zero, at every step "
        "looked at."
    )
    remedy = "zero_grad() before the backward pass, or after the step, and not between the two"
    return Finding("no update", "gradients cleared too late", (), evidence, remedy, PAGE)


def clipped_away(e: Evidence) -> Finding | None:
    """Clipping that leaves nothing to learn from."""
    handed = statistics.median([row["handed"] for row in e.step_rows if row["handed"]] or [math.inf])
    if handed > CLIPPED or e.update is None or not e.update < SMALL_STEP:
        return None
    evidence = (
        f"between the backward pass and the optimizer's step the gradients' norm falls to {handed:.0e} of what it was, "
        f"and a step changes the weights by {e.update:.0e} of their norm."
    )
    remedy = "clip at a norm that only the largest gradients exceed, such as 1; or a larger learning rate"
    return Finding("no update", "clipped away", (), evidence, remedy, "solutions/clipping.md")


def weight_decay(e: Evidence) -> Finding | None:
    """Weights that shrink because the decay is stronger than the gradient."""
    decay, lr = (max(e.setting(name), default=0.0) for name in ("weight_decay", "lr"))
    if not decay or not lr:
        return None
    momentum = (e.setting("momentum") or [0.0])[0]
    shrunk = {}
    for name in e.family("weights", "recurrent"):
        norms, updates, gradients = (e.values(name, what) for what in ("weight", "update_ratio", "weight_gradient"))
        if name not in e.trained or not (norms and updates and gradients) or norms[-1] > SHRUNK * norms[0]:
            continue
        by_decay = lr * decay / (1 - min(momentum, 0.999)) / max(updates[0], 1e-30)
        if by_decay > DECAY or decay * norms[0] > gradients[0]:
            shrunk[name] = norms[-1] / norms[0]
    if not shrunk or 2 * len(shrunk) < len(e.trunk) or e.is_stuck is False:
        return None
    evidence = (
        f"the weights of {len(shrunk)} layers have shrunk to {statistics.median(shrunk.values()):.0e} of what they "
        f"were: a weight decay of {decay:g} at a learning rate of {lr:g} outweighs the gradient."
    )
    remedy = "a weight decay of 0.01 to 0.1 for AdamW, 1e-4 for SGD"
    return Finding("shrinking weights", "weight decay", tuple(shrunk), evidence, remedy, PAGE)


def learning_rate_too_small(e: Evidence) -> Finding | None:
    """Steps that would take a hundred thousand of their like to change the weights."""
    lr = e.setting("lr")
    if e.steps < FEW or not e.updates or e.is_low:
        return None
    late = e.late_updates  # the first steps are looked at more closely, and say nothing of a rate that decays
    small = [u for u in late if u < SMALL_UPDATE]
    decayed = bool(lr) and lr[-1] < 1e-3 * max(lr)
    rising = bool(lr) and lr[-1] > lr[0]
    last = e.loss_at_last
    settled = last is not None and e.loss_at_first is not None and e.guess is None and last < 0.5 * e.loss_at_first
    falls = e.is_stuck is False and not decayed
    if rising or settled or falls or 2 * len(small) < len(late):
        return None
    rate = f"went from {lr[0]:.0e} to {lr[-1]:.0e}" if decayed else f"is {lr[0]:.0e}" if lr else ""
    evidence = (
        f"a step changes the weights by {statistics.median(small):.0e} of their norm, at {len(small)} of "
        f"{len(late)} steps looked at in the second half{f'; the learning rate {rate}' if rate else ''}."
    )
    remedy = (
        "a slower decay"
        if decayed
        else "multiply the learning rate by ten until the loss moves; a thousandth of the weights per step is usual"
    )
    return Finding("no update", "learning rate too small", (), evidence, remedy, PAGE)


def slow(e: Evidence) -> Finding | None:
    """A loss that is on its way, or weights that have hardly left where they began.

    A short run whose loss falls is a healthy one that was stopped, unless it has a very long way to go.
    """
    if e.steps < FEWEST_STEPS or not e.is_stuck or e.is_low or e.thirds is None or e.broken is not None:
        return None
    lr, (first, _, last, _), way = e.setting("lr"), e.thirds, e.travelled
    if lr and (lr[-1] < 0.5 * max(lr) or lr[-1] > lr[0]):
        return None  # a schedule is at work
    if e.guess is None and e.steps < MANY_STEPS:
        return None  # it isn't known what the loss should do
    if e.falls_straight:
        far = e.guess is not None and last > FAR * e.guess
        crawls = e.steps >= MANY_STEPS and last > ON_ITS_WAY * first and (way is None or way < HALF_WAY)
        is_slow = far or crawls
    else:
        is_falling = e.falls and e.steps < MANY_STEPS
        is_slow = not is_falling and way is not None and way < SHORT_WAY and last > STILL_THERE * first
    if not is_slow:
        return None
    evidence = f"in {e.steps} steps the loss went from {first:.4g} (mean of the first third) to {last:.4g}"
    evidence += ", as fast at the end as in the beginning" if e.falls_straight else ""
    evidence += f"; the weights moved by {way:.1%} of their norm, step by step." if way is not None else "."
    few = e.steps < MANY_STEPS and (e.update is None or e.update > SMALL_STEP)
    cause, other = ("too few steps", "learning rate too small")[:: 1 if few else -1]
    decide = (
        "train as many steps again at ten times the learning rate: if the loss falls sooner and stays down it is the "
        "rate, if it is thrown about it is the number of steps."
    )
    remedy = "more steps" if few else f"ten times the learning rate{f', which is {lr[0]:g}' if lr else ''}"
    return Finding("not learning", cause, (), evidence, remedy, PAGE, alternatives=(other,), decide=decide)


def learning_rate_too_large(e: Evidence) -> Finding | None:
    """Steps that replace a layer's weights rather than change them, or throw the loss off."""
    large = {
        name: ratio
        for name in e.family("weights", "recurrent")
        if not e.is_from_zero(name) and (ratio := max(e.values(name, "update_ratio"), default=0)) > LARGE_UPDATE
    }
    thrown = [row["step"] for row in e.step_rows if _is_thrown_off(e, row["loss"])]
    if e.is_stuck is False and e.broken is None:
        if thrown and thrown[-1] < e.numbers[e.steps // 2]:
            thrown = []  # it has recovered
        if not (thrown or units.saturation(e) or units.dead_units(e)):
            large = {}  # it learns all the same
    bold = e.update is not None and max(e.updates[:3]) > BOLD_UPDATE and e.update > STAYS_BOLD and e.is_stuck
    if not (large or thrown or bold):
        return None
    since = min([*(e.since(name, "update_ratio", LARGE_UPDATE) for name in large), *thrown], default=0)
    parts = []
    if large:
        parts.append(
            f"one step changes {e.span(list(large))} by up to {max(large.values()):.2g} of the norm of its parameters"
        )
    elif bold:
        parts.append(
            f"the first steps change the weights by up to {max(e.updates[:3]):.2g} of their norm, and the loss "
            "doesn't fall"
        )
    if thrown:
        parts.append(f"the loss rose from {e.losses[0]:.3g} to {max(e.losses):.3g}, beginning at step {thrown[0]}")
    if lr := e.setting("lr"):
        parts.append(f"the learning rate is {max(lr):g}")
    remedy = "a tenth of the learning rate, warm-up, or clipping the gradient's norm; a loss that is a mean, not a sum"
    evidence, page = "; ".join(parts) + ".", "solutions/clipping.md"
    return Finding("large updates", "learning rate too large", tuple(large), evidence, remedy, page, since)


def _is_thrown_off(e: Evidence, loss: float | None) -> bool:
    first = e.losses[0] if e.losses else 0.0
    return loss is not None and first > 0 and loss > ROSE * max(first, e.guess or 0.0) and loss - first > 1e-2


def post_norm(e: Evidence) -> Finding | None:
    """Normalisations after the sum with the skip, and no warm-up (Xiong et al. 2020)."""
    if not e.is_stuck or e.steps < FEW:
        return None
    lr = e.setting("lr")
    taken = Counter(j for operation in e.graph.operations for j in operation.below)
    norms = {i for i, operation in enumerate(e.graph.operations) if operation.name in LAYER_NORMS}
    # at the end of a branch a normalisation is taken by the sum alone, here by the next branch as well
    count = sum(
        operation.name == "Add"
        and len(operation.below) == 2
        and any(j in norms and taken[j] > 1 for j in operation.below)
        for operation in e.graph.operations
    )
    if count < POST_NORMS or not lr or lr[0] < 0.9 * max(lr):
        return None
    evidence = (
        f"{count} skips begin at the output of a layer normalisation: the network normalises after each sum, and "
        f"its learning rate of {lr[0]:g} is there from the first step on. The loss doesn't fall."
    )
    remedy = "warm-up over some thousand steps, or normalise before each branch (norm_first=True)"
    return Finding("not learning", "post-norm without warm-up", (), evidence, remedy, "solutions/normalisation.md")
