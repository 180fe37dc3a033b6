"""Measuring gradients, in a figure or in your own network.

`Probe` watches a model while it trains and records what flows through each layer; `vgdocs.diagnosis` judges the
record. The functions measure one thing at a time: norms, the rate per layer, Jacobians. Needs torch, and for drawing
plotly.
"""

from vgdocs.gradients.norms import jacobian, jacobian_singular_values, norms_of_gradients, rate, ratio
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
