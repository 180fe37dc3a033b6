"""Without 1/√d a query's mean gradient grows to {query.wide.mean:.1f}; its median falls to {query.wide.typical:.3f}.

One query q and 64 keys of d components of variance one; the output is a weighted mean of random values, and it is the
loss. Without the root the logits s have variance d, and with it 1. The gradient with respect to the query is the keys'
sum weighted by the logits' gradient, so that d enters twice, against each other:

    with the root      ||dL/dq|| = about ||dL/ds||            at logits of deviation 1
    without            ||dL/dq|| = about √d ||dL/ds||         at logits of deviation √d

A softmax whose logits are far apart passes back nothing, unless the two largest happen to be close, which has a chance
in proportion to one over the deviation. So the median of the logits' gradient falls exponentially and the mean, which
near ties carry, as one over the deviation; the factor √d of the keys makes up for the mean and not for the median.

The control: queries and keys divided by their root mean square (Henry et al. 2020; Dehghani et al. 2023), which keeps
the logits' deviation at 1 with the root, however large the weights before it. The gradient with respect to the
unnormalised query then falls as one over its size.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs.experiments import derive_seeds

SEED = 0
KEYS = 64
DRAWS = 1000  # queries, each with keys of its own
TOGETHER = 100  # of them at once, for memory
DIMENSIONS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
SHOWN = {"narrow": 16, "middle": 256, "wide": 1024}  # dimensions of the numbers
DEVIATIONS = [0.25, 0.5, 1, 2, 4, 8, 16, 32]  # of the logits; queries and keys grow by its root, at d = 64
GROWN = {"at_1": 1, "at_8": 8, "at_32": 32}  # deviations of the numbers
WIDER = {
    "query.wide.typical logits.at_32.typical": (
        4.0,
        "it is a matter of luck how close the second largest of 64 logits comes",
    ),
    "query.middle.typical entropy.at_32 logits.at_32.mean query.wide.mean": (2.0, "that luck, over many draws"),
}


def attended(d: int, seed: int, root: bool = True, deviation: float = 1.0, normalised: bool = False) -> dict:
    """||dL/ds|| and ||dL/dq||, (DRAWS,) each, and the mean entropy of the weights."""
    g = torch.Generator().manual_seed(seed)
    logits, queries, entropies = [], [], []
    for _ in range(DRAWS // TOGETHER):
        q = math.sqrt(deviation) * torch.randn(TOGETHER, d, generator=g)
        k = math.sqrt(deviation) * torch.randn(TOGETHER, KEYS, d, generator=g)
        v = torch.randn(TOGETHER, KEYS, generator=g, dtype=torch.float64)
        q.requires_grad_()
        q_, k_ = (x / x.square().mean(-1, keepdim=True).sqrt() if normalised else x for x in (q, k))
        s = (k_ @ q_[..., None])[..., 0].double() / (math.sqrt(d) if root else 1)  # (draws, keys)
        a = torch.softmax(s, -1)
        ds, dq = torch.autograd.grad((a * v).sum(), [s, q])
        logits.append(ds.norm(dim=1))
        queries.append(dq.double().norm(dim=1))
        entropies.append(-torch.special.xlogy(a, a).sum(1).detach())
    return {"logits": torch.cat(logits), "queries": torch.cat(queries), "entropy": float(torch.cat(entropies).mean())}


def both(x: Tensor) -> dict:
    return {"typical": float(x.quantile(0.5)), "mean": float(x.mean())}


def measure(seed: int = SEED) -> dict:
    seeds = derive_seeds(seed, len(DIMENSIONS) + 1)
    m: dict = {"query": {}, "logits": {}, "entropy": {}, "drawn": {key: [] for key in ("root", "typical", "mean")}}
    for d, s in zip(DIMENSIONS, seeds, strict=False):
        scaled, bare = (attended(d, s, root)["queries"] for root in (True, False))
        for key, value in {"root": both(scaled)["typical"], **both(bare)}.items():
            m["drawn"][key].append(value)
        for name in (name for name, shown in SHOWN.items() if shown == d):
            m["query"][name] = {"root": both(scaled)["typical"], **both(bare)}
        if d == SHOWN["middle"]:
            m["silent"] = float((bare < scaled.quantile(0.5) / 10).double().mean())
    m["grown"] = {key: [] for key in ("typical", "mean", "normalised")}
    for deviation in DEVIATIONS:
        plain = attended(64, seeds[-1], deviation=deviation)
        normalised = attended(64, seeds[-1], deviation=deviation, normalised=True)
        found = {**both(plain["logits"]), "normalised": both(normalised["logits"])["typical"]}
        for key, value in found.items():
            m["grown"][key].append(value)
        for name in (name for name, shown in GROWN.items() if shown == deviation):
            m["logits"][name], m["entropy"][name] = found, plain["entropy"]
    m["entropy"]["normalised"] = normalised["entropy"]  # with the largest weights
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    kinds = {"typical": ("median", "vanishing"), "mean": ("mean", None)}
    for row, (xs, key, other) in enumerate([(DIMENSIONS, "drawn", "root"), (DEVIATIONS, "grown", "normalised")], 1):
        name = {"root": "with 1/√d, median", "normalised": "normalised queries and keys, median"}[other]
        for of, (label, role) in {**kinds, other: (name, "healthy")}.items():
            fig.add_scatter(x=xs, y=m[key][of], name=label, mode="lines+markers", meta=role, row=row, col=1)
    fig.update_xaxes(type="log")
    fig.update_xaxes(title="components d of queries and keys", tickvals=DIMENSIONS[::2], row=1, col=1)
    fig.update_xaxes(title="standard deviation of the logits before normalisation", tickvals=DEVIATIONS, row=2, col=1)
    fig.update_yaxes(title="‖∂L/∂q‖, query", type="log", dtick=1, row=1, col=1)
    return fig.update_yaxes(title="‖∂L/∂s‖, logits", type="log", dtick=1, row=2, col=1)


def claim_the_root_makes_it_independent_of_d(m):
    """With the root the query's gradient has a median of {query.narrow.root:.2f} at d = 16 and {query.wide.root:.2f} at
    1024."""
    for value in [*m["drawn"]["root"], *(of["root"] for of in m["query"].values())]:
        assert 0.135 < value < 0.195


def claim_without_it_the_mean_grows_and_levels_off(m):
    """Without it the mean is {query.narrow.mean:.2f} at d = 16, {query.middle.mean:.1f} at 256 and
    {query.wide.mean:.1f} at 1024: more than five times the median with the root."""
    assert 0.8 < m["query"]["narrow"]["mean"] < 1.1
    assert 1.2 < m["query"]["middle"]["mean"] < 2
    assert 1.2 < m["query"]["wide"]["mean"] < 2.4
    for name in ("narrow", "middle", "wide"):
        assert m["query"][name]["mean"] > 5 * m["query"][name]["root"]


def claim_the_median_rises_and_falls(m):
    """The median is {query.narrow.typical:.2f} at d = 16, {query.middle.typical:.2f} at 256 and
    {query.wide.typical:.3f} at 1024: above what it is with the root up to 128, below it from 512 on. At 256,
    {silent:.0%} of the queries get less than a tenth of what the root gives them."""
    typical = m["drawn"]["typical"]
    assert DIMENSIONS[typical.index(max(typical))] in (16, 32, 64)
    for d, bare, root in zip(DIMENSIONS, typical, m["drawn"]["root"], strict=True):
        assert d == SHOWN["middle"] or (bare > root) == (d < SHOWN["middle"])
    assert 0.7 < m["query"]["narrow"]["typical"] < 1.0
    assert 0.13 < m["query"]["middle"]["typical"] < 0.4
    assert 0.0016 < m["query"]["wide"]["typical"] < 0.018
    assert 0.25 < m["silent"] < 0.45


def claim_softmax_passes_nothing_back_beyond_eight(m):
    """Through softmax alone the gradient's median is {logits.at_1.typical:.2f} at logits of deviation 1,
    {logits.at_8.typical:.2f} at 8 and {logits.at_32.typical:.0e} at 32, and its mean {logits.at_1.mean:.2f},
    {logits.at_8.mean:.2f} and {logits.at_32.mean:.2f}."""
    typical = m["grown"]["typical"]
    assert DEVIATIONS[typical.index(max(typical))] in (2, 4)
    assert 0.135 < m["logits"]["at_1"]["typical"] < m["logits"]["at_1"]["mean"] < 0.2
    assert 0.075 < m["logits"]["at_8"]["typical"] < 0.125
    assert 0.14 < m["logits"]["at_8"]["mean"] < 0.21
    assert 4e-5 < m["logits"]["at_32"]["typical"] < 4e-4
    assert 0.035 < m["logits"]["at_32"]["mean"] < 0.07
    entropy = m["entropy"]
    assert 3.5 < entropy["at_1"] < 3.85
    assert 0.45 < entropy["at_8"] < 0.7
    assert 0.085 < entropy["at_32"] < 0.17


def claim_normalised_queries_and_keys_do_not_mind(m):
    """With queries and keys divided by their root mean square it is {logits.at_1.normalised:.2f} at 1 and
    {logits.at_32.normalised:.2f} at 32, where the weights' entropy is {entropy.normalised:.1f} instead of
    {entropy.at_32:.2f}."""
    for value in [*m["grown"]["normalised"], *(of["normalised"] for of in m["logits"].values())]:
        assert 0.135 < value < 0.195
    assert 3.5 < m["entropy"]["normalised"] < 3.85
