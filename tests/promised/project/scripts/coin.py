"""Of all tosses {share:.1f} show heads.

All that a script of version 1.0 may say is said here.
"""

import plotly.graph_objects as go

SEED = 3
TOLERANCE = {"share": 0.05, "band": 0.1}
WIDER = {"share band": (3.0, "it is to be seen that it may be said")}
SWEEP = {"reason": "nothing is trained"}


def measure(seed: int = SEED, device: str = "cpu") -> dict:
    return {
        "seed": seed,
        "share": 0.5,
        "band": {"median": 0.5, "lo": 0.25, "hi": 0.75},
        "of": {"ten": 4},
        "tosses": [0, 1, 0.5, "nan", "inf", "-inf", None],
        "said": ["a note of heads"],
        "rows": [{"side": {"text": "heads", "page": "causes/chance.md"}, "share": 0.123456, "more": True}],
    }


def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Scatter(x=[1, 2], y=m["tosses"][:2], name="tosses", meta="healthy"))
    for role in ("vanishing", "exploding", "theory", "reference"):
        fig.add_scatter(x=[1, 2], y=[0.5, 0.5], name=role, meta={"role": role})
    return fig.update_layout(xaxis_title="toss", yaxis_title="heads", height=300)


def claim_half_are_heads(m):
    """Half are heads, {share:.2f}, or {band.lo} to {band.hi}."""
    assert m["share"] == 0.5
    assert m["band"]["lo"] < m["band"]["median"] < m["band"]["hi"]
    assert m["of"]["ten"] == 4
    assert m["seed"] == SEED
