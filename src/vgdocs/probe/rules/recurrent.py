"""Gradients that vanish or explode from time step to time step."""

from __future__ import annotations

import math

from vgdocs.gradients import rate
from vgdocs.probe.evidence import Evidence
from vgdocs.probe.finding import Finding
from vgdocs.probe.record import EXPLODING, VANISHING

LONG = 10  # time steps from which on a recurrent layer's gradient is judged
# Share of the time steps that get a gradient from outside, above which its path through time can't be seen.
DIRECT = 0.25
CLOSED = 0.2  # a forget gate, by its bias alone; PyTorch draws 0.5


def vanishing_in_time(e: Evidence) -> Finding | None:
    """A gradient that shrinks back through the steps of a recurrent layer whose output is read at the end."""
    for name, norms, is_read_throughout in through_time(e):
        if is_read_throughout or norms[0] >= VANISHING * norms[-1]:
            continue
        rate_per_step = f", {rate(norms):.2f} per step" if min(norms) > 0 else ""
        evidence = (
            f"in {e.span([name])} the first of {len(norms)} time steps gets {norms[0] / norms[-1]:.0e} of the gradient "
            f"of the last{rate_per_step}: what came first hardly moves the weights."
        )
        cause, page = "recurrence", "causes/recurrence.md"
        remedy = (
            "an LSTM or GRU with a large forget bias, an orthogonal recurrent matrix, attention, or shorter sequences"
        )
        if e.latest[name]["kind"].startswith(("LSTM", "GRU")):
            gate, page = e.first(name, "gate"), "solutions/gates.md"
            if gate is not None and gate < CLOSED:
                cause = "forget gate"
                evidence += f" By its bias the gate that keeps the state stands at {gate:.2g}."
            remedy = (
                "a larger bias of the forget gate (in a GRU the update gate), about the logarithm of the time to be "
                "bridged; attention; or a loss at earlier steps too. It may learn all the same, if slowly"
            )
        return Finding("vanishing", cause, (name,), evidence, remedy, page)
    return None


def exploding_in_time(e: Evidence) -> Finding | None:
    """A gradient that grows back through the steps of a recurrent layer whose output is read at the end."""
    for name, norms, is_read_throughout in through_time(e):
        if not is_read_throughout and norms[0] > EXPLODING * norms[-1]:
            times = f"{norms[0] / norms[-1]:.0e}" if norms[-1] else "endlessly many"
            evidence = (
                f"in {e.span([name])} the first of {len(norms)} time steps gets {times} times the gradient of the last."
            )
            remedy = "a smaller or an orthogonal recurrent matrix; a gated layer; clip the gradient's norm"
            return Finding("exploding", "recurrence", (name,), evidence, remedy, "causes/recurrence.md")
    return None


def through_time(e: Evidence) -> list[tuple[str, list[float], bool]]:
    """(layer, gradient by time step up to the last step with any, whether its output is read at many of them)."""
    found = []
    for name in dict.fromkeys(row["layer"] for row in e.time_rows):
        rows = [row for row in e.time_rows if row["layer"] == name]
        last = max(row["step"] for row in rows)
        rows = [row for row in rows if row["step"] == last]
        while rows and rows[-1]["gradient"] == 0:
            rows.pop()
        norms = [row["gradient"] for row in rows]
        if len(norms) >= LONG and all(math.isfinite(norm) for norm in norms):
            found.append((name, norms, sum((row["direct"] or 0) > 0 for row in rows) > DIRECT * len(rows)))
    return found
