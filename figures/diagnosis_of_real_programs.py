"""Of 38 real programs whose faults signals can show, a true one is named first or second in {visible_named:.0f}.

The programs are those of DeepFD's benchmark (Cao et al. 2022): questions on StackOverflow and commits on GitHub, less
four that by the study have no fault, or one whose repair makes things worse. Each is recreated in PyTorch with Keras'
initialisation and losses (`benchmarks/real_programs`), with its own data where that was synthetic, else with a stand-in
of the same shape and scale, and with fewer units or pixels where it was large; it is trained as it was asked about, and
as its patch leaves it. *Found*: something is said to be wrong. *Named*: a cause that the study's fault is called by is
the first or the second finding. A mended program is accused if it is told of something else than what the patch leaves.

The peers' counts are those of the study's own sheet, of all 52 programs in Keras: UMLAUT (Schoop et al. 2021),
AutoTrainer (Zhang et al. 2021), DeepLocalize (Wardat et al. 2021) and DeepFD. They are set beside ours, and not in one
race: our rules were mended on these programs, and most of their data is a stand-in.
"""

import runpy
from pathlib import Path

import plotly.graph_objects as go

SEED = 0
PROGRAMS = Path(__file__).parents[1] / "benchmarks/real_programs"
PEERS = {  # found, named, of 52 programs (Cao et al. 2022, the published evaluation sheet)
    "UMLAUT": (50, 14),
    "AutoTrainer": (12, 10),
    "DeepLocalize": (36, 7),
    "DeepFD": (47, 27),
}
OF_PEERS = 52
# A program at the edge of a threshold goes one way or the other with its seed and the rounding.
TOLERANCE = {"visible_found": 0.06, "visible_named": 0.1, "found": 0.1, "named": 0.1, "spared": 0.06}


def measure(seed: int = SEED) -> dict:
    """What is said of each program, sick and mended, and how often that is right."""
    benchmark = runpy.run_path(str(PROGRAMS))
    rows = benchmark["rows"](seed)
    told = ("post", "faults", "seen", "data", "network", "verdict", "after")
    table = [
        {name: row.get(name, "no patch") for name in told}
        | {
            version: ", ".join(dict.fromkeys(row.get(version, ["no patch"]))) or "nothing"
            for version in ("sick", "mended")
        }
        for row in rows
    ]
    return benchmark["totals"](rows) | {"programs": table}


def draw(m: dict) -> go.Figure:
    """Shares of the programs in which something is found, and in which a true fault is named."""
    found = {name: of[0] / OF_PEERS for name, of in PEERS.items()} | {"this probe": m["found"] / m["all"]}
    named = {name: of[1] / OF_PEERS for name, of in PEERS.items()} | {"this probe": m["named"] / m["all"]}
    fig = go.Figure()
    for label, share, meta in (("something found", found, "reference"), ("a true fault named", named, "healthy")):
        fig.add_bar(
            x=list(share),
            y=list(share.values()),
            name=label,
            meta=meta,
            hovertemplate="%{x}: %{y:.0%}<extra></extra>",
        )
    fig.update_xaxes(title="diagnosis")
    return fig.update_yaxes(title="share of the programs", range=[0, 1], tickformat=".0%")


def claim_a_true_fault_is_named_where_signals_can_show_one(m):
    """Of {visible:.0f} programs whose faults signals can show at least partly, something is found in
    {visible_found:.0f}, and a true fault is named in {visible_named:.0f}."""
    assert m["visible"] == 38
    assert 33 <= m["visible_found"] <= 38
    assert 31 <= m["visible_named"] <= m["visible_found"]


def claim_of_all_too(m):
    """Of all {all:.0f} programs something is found in {found:.0f}, and a true fault is named in {named:.0f}."""
    assert m["all"] == 48
    assert 36 <= m["found"] <= 48
    assert 32 <= m["named"] <= m["found"]
    assert m["named"] / m["all"] > max(named for _, named in PEERS.values()) / OF_PEERS


def claim_mended_programs_are_spared(m):
    """Of {mended:.0f} mended programs {spared:.0f} are not accused of what isn't there."""
    assert m["mended"] == 47
    assert 42 <= m["spared"] <= 47
    assert len(m["programs"]) == m["all"]
