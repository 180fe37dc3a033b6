"""Of {sick} faults whose author hadn't read the rules {right} are named first or second.

Small training programs with one known fault each, and healthy ones beside them, by someone who knew the names of the
causes and not the rules (`benchmarks/unseen_faults.py`); one run of each, looked at in full at every fourth step.
"""

import runpy
from pathlib import Path

import plotly.graph_objects as go

SEED = 0
CASES = Path(__file__).parents[1] / "benchmarks/unseen_faults.py"
VERDICTS = {
    "right": "a true cause first or second",
    "wrong": "another cause",
    "silent": "nothing",
    "accused": "accused",
}


def measure(seed: int = SEED) -> dict:
    judge, cases = (runpy.run_path(str(CASES))[name] for name in ("judge", "CASES"))
    found = {name: judge(name, seed) for name in cases}
    rows = [
        {"program": name.replace("_", " "), "verdict": verdict, "said": ", ".join(causes[:2]) or "nothing"}
        for name, (verdict, causes) in found.items()
    ]
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    healthy = sum(name.startswith("healthy") for name in found)
    return {"rows": rows, **counts, "healthy": healthy, "sick": len(found) - healthy}


def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Bar(x=list(VERDICTS.values()), y=[m[verdict] for verdict in VERDICTS]))
    fig.update_xaxes(title="what is said")
    return fig.update_yaxes(title="programs")


def claim_most_are_named(m):
    """A true cause comes first or second in {right} of {sick}, another in {wrong}, and of {silent} nothing is said."""
    assert m["sick"] == 14
    assert 11 <= m["right"] <= 14
    assert m["right"] + m["wrong"] + m["silent"] == m["sick"]


def claim_the_healthy_are_spared(m):
    """Of {healthy} healthy networks {accused} are accused."""
    assert m["healthy"] == 6
    assert m["accused"] == 0
