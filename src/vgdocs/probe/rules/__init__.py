"""What can be wrong: a rule for each, in the order in which one thing leads to another.

A rule is a function of the evidence that returns a `Finding` or nothing. `RULES` lists them with the causes that they
can name: a loss that doesn't fit, weights that aren't trained and data that isn't scaled before what flows through the
layers, and that before the learning rate. Of several findings the one that was seen first comes first, and of those
seen together the one whose rule stands first.
"""

from __future__ import annotations

from collections.abc import Callable

from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.rules import connection, data, flow, loss, numerics, optimizer, recurrent, units

Rule = Callable[[Evidence], Finding | None]

RULES: dict[Rule, tuple[str, ...]] = {
    data.nan_in_the_data: ("nan in the input", "nan in the targets"),
    loss.softmax_over_one_unit: ("softmax over one unit",),
    loss.wrong_dimension: ("wrong dimension",),
    loss.twice: ("softmax twice", "sigmoid twice"),
    loss.misfit: ("loss does not fit the outputs",),
    connection.not_connected: ("not connected",),
    optimizer.not_registered: ("not in the optimizer",),
    optimizer.not_in_the_optimizer: ("not in the optimizer",),
    optimizer.frozen: ("frozen",),
    optimizer.cleared_too_late: ("gradients cleared too late",),
    optimizer.gradients_accumulate: ("gradients accumulate",),
    units.symmetric_weights: ("symmetric weights",),
    data.inputs_not_scaled: ("inputs not scaled",),
    data.flat_by_its_inputs: ("inputs not scaled",),
    data.joined_to_an_embedding: ("inputs not scaled",),
    data.targets_not_scaled: ("targets not scaled",),
    loss.output_range: ("output range",),
    connection.no_activations: ("no activations",),
    units.dropout: ("dropout",),
    units.batch_statistics: ("batch statistics",),
    optimizer.weight_decay: ("weight decay",),
    optimizer.clipped_away: ("clipped away",),
    numerics.singular_operation: ("logarithm of zero", "infinite slope", "division by zero"),
    numerics.underflow: ("underflow",),
    units.attention_logits: ("attention logits",),
    loss.saturating_gan: ("saturating GAN loss",),
    loss.saturated_output: ("saturation",),
    units.saturation: ("saturation",),
    units.dead_units: ("dead ReLUs",),
    flow.exploding: ("batch normalisation", "unscaled residuals", "gain", "unknown"),
    flow.vanishing: ("activation", "initialisation", "saturation", "unknown"),
    recurrent.exploding_in_time: ("recurrence",),
    recurrent.vanishing_in_time: ("recurrence", "forget gate"),
    loss.no_lower_bound: ("loss without a lower bound",),
    optimizer.post_norm: ("post-norm without warm-up",),
    optimizer.learning_rate_too_large: ("learning rate too large",),
    optimizer.learning_rate_too_small: ("learning rate too small",),
    optimizer.slow: ("too few steps", "learning rate too small"),
    connection.exactly_zero: ("exactly zero",),
    numerics.overflow: ("overflow",),
    data.labels_do_not_depend: ("labels do not depend on the inputs",),
}

_BLOWN_UP = {"learning rate too large", "dead ReLUs", "saturation", "overflow", "exactly zero"}
_SLOW = {"learning rate too small", "too few steps"}
_STILL = {"exactly zero", "dead ReLUs", *_SLOW}
_FLOW = {"gain", "initialisation", "activation", "unknown"}
_NAN = {"overflow", "infinite slope", "division by zero", "logarithm of zero"}
LAST_RESORT = "labels do not depend on the inputs"  # is suspected where nothing else accounts for what is seen
FOLLOWS: dict[str, set[str]] = {  # what each cause accounts for, if it was there first
    "nan in the input": _NAN,
    "nan in the targets": _NAN,
    "softmax over one unit": {"output range", "saturation", *_STILL},
    "softmax twice": {"post-norm without warm-up", *_SLOW},
    "sigmoid twice": _SLOW,
    "wrong dimension": _SLOW,
    "loss does not fit the outputs": {"overflow", "learning rate too large", "output range", *_SLOW},
    "output range": {"saturation", "learning rate too large", *_STILL},
    "not connected": {"exactly zero"},
    "not in the optimizer": _STILL,
    "frozen": _SLOW,
    "gradients cleared too late": _SLOW,
    "gradients accumulate": _BLOWN_UP,
    "symmetric weights": {"initialisation", "post-norm without warm-up", "learning rate too large", *_STILL},
    "inputs not scaled": {"no activations", *_BLOWN_UP, *_FLOW, *_SLOW},
    "targets not scaled": _BLOWN_UP | _SLOW,
    "dropout": {"learning rate too large"},
    "weight decay": {"attention logits", "learning rate too large", *_STILL, *_FLOW},
    "clipped away": _SLOW,
    "logarithm of zero": {"overflow"},
    "infinite slope": {"overflow"},
    "division by zero": {"overflow"},
    "underflow": _STILL | _FLOW,
    "attention logits": {"learning rate too large", *_SLOW},
    "saturating GAN loss": {"saturation", *_STILL},
    "saturation": {"activation", "initialisation", "saturation", "unknown", *_STILL},
    "dead ReLUs": {"exactly zero", *_SLOW},
    "batch normalisation": {"overflow", "learning rate too large"},
    "unscaled residuals": _BLOWN_UP,
    "gain": _BLOWN_UP,
    "activation": _STILL,
    "initialisation": _STILL,
    "recurrence": _BLOWN_UP,
    "loss without a lower bound": _BLOWN_UP | _FLOW,
    "post-norm without warm-up": {"learning rate too large", *_FLOW},
    "learning rate too large": {"attention logits", *_BLOWN_UP, *_FLOW, *_STILL},
    "learning rate too small": _SLOW,
    "too few steps": _SLOW,
}
CAUSES = tuple(dict.fromkeys(cause for causes in RULES.values() for cause in causes))
