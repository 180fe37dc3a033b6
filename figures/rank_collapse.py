"""With plain skips tokens become alike: after 24 layers queries get {skip_query_share:.3f} of the values' gradient.

Attention layers alone, on 32 random tokens, at initialisation. z is the normalised input of a layer:

    no skip      x <-               attention(z)
    skip         x <- x +           attention(z)      (pre-LN)
    scaled skip  x <- x + 1/sqrt(L) attention(z)      for L layers

Attention averages over tokens, so what it adds is nearly the same for all of them. Without skips they are
identical after a few layers (Dong et al. 2021, abstract: doubly exponentially); with plain skips they still
drift together. Which token a query picks then makes no difference, so the gradient with respect to queries and
keys vanishes though that of the values does not (Noci et al. 2022, section 1). Theory: averages that are
uniform add C = (1 + (T-1) rho) / T to the tokens' variance and, all of it, to their covariance.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 20
LAYERS = 24
TOKENS = 32
WIDTH = 64  # of a token
KINDS = {"none": (0.0, 1.0), "skip": (1.0, 1.0), "scaled": (1.0, LAYERS**-0.5)}  # what is kept of x, added of attention
WIDER = {
    "none_query_share_3": (30.0, "the collapse squares the difference in every layer, and its spread with it"),
    "scaled_similarity": (2.5, "a cosine near 0"),
}


def similarity(x: Tensor) -> float:
    """Mean cosine between two different tokens of x, (tokens, width)."""
    unit = F.normalize(x, dim=1)
    return float(((unit @ unit.T).sum() - TOKENS) / (TOKENS * (TOKENS - 1)))


def network(kind: str, seed: int) -> dict[str, list[float]]:
    """The tokens' similarity after each layer, and each layer's ||dL/dWq|| / ||dL/dWv||."""
    g = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, TOKENS, WIDTH, generator=g, dtype=torch.float64)
    kept, added = KINDS[kind]
    queries, values, alike = [], [], []
    for _ in range(LAYERS):
        wq, wk, wv = (weight(WIDTH, WIDTH, init, g).requires_grad_() for init in ("pytorch", "pytorch", "lecun"))
        z = F.layer_norm(x, (WIDTH,))
        attention = torch.softmax((z @ wq.T) @ (z @ wk.T).T / math.sqrt(WIDTH), dim=-1)  # (tokens, tokens)
        x = kept * x + added * attention @ (z @ wv.T)
        queries.append(wq)
        values.append(wv)
        alike.append(similarity(x.detach()))
    norms = norms_of_gradients((F.layer_norm(x, (WIDTH,)) * v).sum(), queries + values)
    return {"similarity": alike, "query_share": [q / v for q, v in zip(norms[:LAYERS], norms[LAYERS:], strict=True)]}


def uniform_attention(kind: str) -> list[float]:
    """The similarity after each layer, were every attention weight 1/TOKENS."""
    variance, covariance, alike = 1.0, 0.0, []
    for _ in range(LAYERS):
        added = KINDS[kind][1] ** 2 * (1 + (TOKENS - 1) * covariance / variance) / TOKENS
        variance, covariance = variance + added, covariance + added
        alike.append(covariance / variance)
    return alike


def measure(seed: int = SEED) -> dict:
    """Similarity and query gradient after each layer, for the three kinds of skip."""
    bands = {kind: band([network(kind, s) for s in derive_seeds(seed, REPLICAS)]) for kind in KINDS}
    m = {name: {kind: bands[kind][name] for kind in KINDS} for name in ("similarity", "query_share")}
    for kind in ("skip", "scaled"):
        m |= {f"{kind}_{name}": bands[kind][name]["median"][-1] for name in bands[kind]}
    m["skip_query_share_1"] = m["query_share"]["skip"]["median"][0]
    m["none_similarity_2"] = m["similarity"]["none"]["median"][1]
    m["none_query_share_3"] = m["query_share"]["none"]["median"][2]
    return m | {"layer": list(range(1, LAYERS + 1)), "theory": {kind: uniform_attention(kind) for kind in KINDS}}


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    kinds = {"none": ("no skip", "vanishing"), "skip": ("skip", None), "scaled": ("skip, 1/√L", "healthy")}
    for kind, line in kinds.items():
        fig.add_traces(band_traces(m["layer"], m["similarity"][kind], *line), rows=1, cols=1)
        fig.add_traces(band_traces(m["layer"], m["query_share"][kind], *line), rows=2, cols=1)
    for kind in kinds:
        fig.add_scatter(x=m["layer"], y=m["theory"][kind], name="theory", mode="lines", meta="theory", row=1, col=1)
    fig.update_xaxes(title="layer", row=2, col=1)
    fig.update_yaxes(title="tokens' cosine", row=1, col=1)
    fig.update_yaxes(title="‖∂L/∂W<sub>q</sub>‖ / ‖∂L/∂W<sub>v</sub>‖", type="log", row=2, col=1)
    return fig.update_yaxes(range=[-6, 0.3], row=2, col=1)  # without skips rounding takes over from the fourth layer on


def claim_without_skips_tokens_become_one(m):
    """Without skips two layers bring the tokens' cosine to {none_similarity_2:.5f}, and in the third the queries
    have {none_query_share_3:.0e} of the values' gradient."""
    assert 0.999 < m["none_similarity_2"] < 1
    assert 1e-6 < m["none_query_share_3"] < 2e-4
    assert all(math.isclose(value, 1, abs_tol=1e-9) for value in m["similarity"]["none"]["lo"][4:])


def claim_plain_skips_delay_it(m):
    """With plain skips the cosine reaches {skip_similarity:.2f} after 24 layers, as uniform averages would have it, and
    the queries' share falls from {skip_query_share_1:.2f} to {skip_query_share:.3f}."""
    for measured, theory in zip(m["similarity"]["skip"]["median"], m["theory"]["skip"], strict=True):
        assert math.isclose(measured, theory, abs_tol=0.15)
    assert math.isclose(m["skip_similarity"], m["theory"]["skip"][-1], rel_tol=0.03)
    assert 0.1 < m["skip_query_share_1"] < 0.18
    assert 0.005 < m["skip_query_share"] < 0.0104
    assert m["query_share"]["skip"]["hi"][-1] < m["query_share"]["skip"]["lo"][0] / 3


def claim_scaled_skips_cure_it(m):
    """Scaled by 1/sqrt(L) the branches leave the cosine at {scaled_similarity:.2f} and the queries' share at
    {scaled_query_share:.2f}; in every layer the one is below 0.2 and the other above a quarter."""
    assert 0.02 < m["scaled_similarity"] < 0.07
    assert all(value < 0.2 for value in m["similarity"]["scaled"]["hi"])
    assert 0.35 < m["scaled_query_share"] < 0.6
    assert all(0.25 < value < 0.8 for value in m["query_share"]["scaled"]["median"])
