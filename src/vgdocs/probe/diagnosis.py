"""A verdict on what a probe recorded: what is wrong with a network's training, by which evidence, and what to try.

The rules stand in `vgdocs.probe.rules`, a module for each family of causes; their thresholds are constants with the
measurement or the source that they come from. A verdict without findings says that nothing wrong was seen, not that the
network learns; what the record cannot show stands in `Verdict.unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import SITE, Finding
from vgdocs.probe.record import GradientRecord
from vgdocs.probe.rules import FOLLOWS, LAST_RESORT, RULES
from vgdocs.probe.rules.recurrent import through_time

__all__ = ["Finding", "Verdict", "diagnose"]

NOTHING_WRONG = "Nothing wrong found: the gradient reaches every layer."
CANNOT_SHOW = "What this record cannot show"


@dataclass(frozen=True)
class Verdict:
    """What was found, what went wrong first before what followed, and what the record cannot show."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        return self.text()

    def text(self, site: str | None = SITE) -> str:
        """As lines of text; `site` is the address at which the pages that it names are read."""
        found = "\n\n".join(f"{i}. {finding.text(site)}" for i, finding in enumerate(self.findings, 1))
        return "\n".join([found or NOTHING_WRONG, "", f"{CANNOT_SHOW}:", *(f"- {what}" for what in self.unknown)])


def diagnose(record: GradientRecord, step: int | None = None) -> Verdict:
    """Judge a record: over all its steps, or one of them.

    Raises ValueError if nothing was recorded, or not that step.
    """
    record.at(step)  # says what is missing
    evidence = Evidence(record, step)
    found = [finding for rule in RULES if (finding := rule(evidence))]
    # what was there all along was seen from the first step on that is judged
    found = [replace(finding, since=max(finding.since, evidence.numbers[0])) for finding in found]
    return Verdict(_in_order(found), tuple(_unknown(evidence)))


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """By when they were seen, those seen together by their rules' order; what follows from one is told with it.

    What two rules have found of the same layers is told once.
    """
    causes: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: finding.since):
        for i, cause in enumerate(causes):
            is_same = (finding.symptom, finding.cause) == (cause.symptom, cause.cause)
            if is_same and set(finding.layers) <= set(cause.layers):
                break
            if finding.cause in {LAST_RESORT, *FOLLOWS.get(cause.cause, ())}:
                follows = finding.symptom if finding.cause == "unknown" else finding.cause
                told = dict.fromkeys([*cause.consequences, follows])
                causes[i] = replace(cause, consequences=tuple(told))
                break
        else:
            causes.append(finding)
    return tuple(causes)


def _unknown(e: Evidence) -> list[str]:
    unknown = [
        "whether the network learns what you mean it to: labels that are wrong, or a validation that isn't looked at, "
        "leave no trace in a gradient"
    ]
    if e.record.optimizer is None:
        unknown.append("what an optimizer makes of the gradients: the probe was given none")
    elif e.record.optimizer.startswith("Adam"):
        unknown.append(
            "whether a weak gradient matters: Adam divides it by its own size, so that a layer with a tiny one moves "
            "all the same, if not always to good effect (the page Symptoms shows when)"
        )
    if not e.losses:
        unknown.append("the loss: backward() was called by other means; tell it with probe.loss(loss)")
    if e.steps == 1:
        unknown.append("what happens later: one step was looked at")
    if e.activation not in (None, "linear") and not e.family("activation", "recurrent"):
        unknown.append(f"dead or saturated units: {e.activation} is called as a function, outside any module")
    if e.family("recurrent"):
        unknown.append("whether gates are saturated: they work inside the recurrent layer")
    unknown += [
        f"how far back the gradient of {name} reaches: its output is read at most time steps, and the loss of each "
        "covers what comes from later ones"
        for name, _, is_read_throughout in through_time(e)
        if is_read_throughout
    ]
    return [*unknown, *e.record.notes]
