"""Measuring gradients, in a figure or in your own network.

`Probe` watches a model while it trains and records what flows through each layer; `vgdocs.diagnosis` judges the
record. The functions measure one thing at a time: norms, the rate per layer, Jacobians. Needs torch, and for drawing
plotly.
"""

from typing import TYPE_CHECKING, Any

from vgdocs.gradients.norms import jacobian, jacobian_singular_values, norms_of_gradients, rate, ratio

if TYPE_CHECKING:
    from vgdocs.gradients.probe import Probe
    from vgdocs.gradients.record import GradientRecord

__all__ = [
    "GradientRecord",
    "Probe",
    "jacobian",
    "jacobian_singular_values",
    "norms_of_gradients",
    "rate",
    "ratio",
]


def __getattr__(name: str) -> Any:
    # loaded when asked for: a figure that measures a norm then doesn't read the probe, nor depend on it
    if name not in ("GradientRecord", "Probe"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vgdocs.gradients import probe

    return getattr(probe, name)
