"""A reader's own network: what flows through it while it trains, and what is wrong with it.

`with Probe(model, optimizer) as probe` watches an unchanged training loop, `probe.record` holds what it saw, and
`diagnose(probe.record)` names what is wrong, with evidence and a remedy. Needs torch, and for drawing plotly.
"""

from vgdocs.probe.diagnosis import Verdict, diagnose
from vgdocs.probe.finding import Finding
from vgdocs.probe.record import GradientRecord
from vgdocs.probe.watch import Probe

__all__ = ["Finding", "GradientRecord", "Probe", "Verdict", "diagnose"]
