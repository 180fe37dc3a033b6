"""In a deep ReLU network neighbouring inputs no longer agree on the gradient; skip connections keep it in one piece.

The inputs walk once around a circle, x = (cos a, sin a), and the gradient with respect to the first pre-activations is
compared between places that lie an angle apart: cosine similarity, averaged over the circle and over the networks. A
norm per layer cannot show this: each gradient is as large as it should be, and they point anywhere.

In wide networks with He's weights c = cos(angle) is the similarity of two activations at the start. Each layer maps it
to k1(c) and multiplies the similarity of the gradients by k0(c) (arc-cosine kernels, Cho & Saul 2009):

    k0(c) = 1 - acos(c) / pi,    k1(c) = (sqrt(1 - c²) + (pi - acos(c)) c) / pi
    residual, L branches divided by sqrt(L):  the same with (c + k1(c) / L) / (1 + 1/L) and (1 + k0(c) / L) / (1 + 1/L)

The effect and its name are from Balduzzi et al. 2017, "The Shattered Gradients Problem". Their inputs lie on a line,
where they take the autocorrelation; on a circle all places are alike, and theory is exact.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 20  # networks of each kind
PLACES = 64  # inputs on the circle
NEAR = 2  # steps between neighbours: 11.25 degrees
WIDTH = 256  # units in a layer

KINDS = {"shallow": 1, "plain_24": 24, "plain_50": 50, "residual_50": 50}  # hidden layers, or residual blocks
NAMES = {
    "shallow": "1 layer",
    "plain_24": "24 layers",
    "plain_50": "50 layers",
    "residual_50": "50 residual blocks",
}
ROLES = {"plain_50": "vanishing", "residual_50": "healthy"}
WIDER = {"neighbours.plain_50": (2.2, "single networks of this depth and width scatter between 0 and 0.4")}


def gradients(kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """At each place, the gradient w.r.t. the first pre-activations, (PLACES, WIDTH), and the inputs, (PLACES, 2)."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.arange(PLACES, dtype=torch.float64) / PLACES
    x = torch.stack([angle.cos(), angle.sin()], dim=1).requires_grad_()  # (PLACES, 2)
    v = torch.randn(WIDTH, generator=generator, dtype=torch.float64)  # the same readout at every place
    z = h = x @ torch.randn(2, WIDTH, generator=generator, dtype=torch.float64)
    for _ in range(KINDS[kind]):
        out = torch.relu(h) @ weight(WIDTH, WIDTH, "he", generator).T  # (PLACES, WIDTH)
        h = h + out / math.sqrt(KINDS[kind]) if kind == "residual_50" else out
    return torch.autograd.grad((h @ v).sum(), (z, x))


def similarity(gradient: torch.Tensor) -> list[float]:
    """Mean cosine similarity of the gradients at places 0, 1, 2 ... PLACES / 2 steps apart."""
    unit = gradient / gradient.norm(dim=1, keepdim=True)
    return [float((unit * unit.roll(lag, dims=0)).sum(1).mean()) for lag in range(PLACES // 2 + 1)]


def predicted(kind: str) -> list[float]:
    """The same for infinite width."""
    c = torch.cos(math.pi * torch.linspace(0, 1, PLACES // 2 + 1, dtype=torch.float64))
    result, skip = torch.ones_like(c), 1.0 if kind == "residual_50" else 0.0
    share = 1 / KINDS[kind] if skip else 1.0
    for _ in range(KINDS[kind]):
        angle = c.clamp(-1, 1).acos()
        k0, k1 = 1 - angle / math.pi, (angle.sin() + (math.pi - angle) * c) / math.pi
        result = result * (skip + share * k0) / (skip + share)
        c = (skip * c + share * k1) / (skip + share)
    return result.tolist()


def measure(seed: int = SEED) -> dict:
    """Similarity of gradients against the angle between inputs, and one network's gradient on its way around."""
    seeds = derive_seeds(seed, REPLICAS)
    m = {"angles": [360 * lag / PLACES for lag in range(PLACES // 2 + 1)]}  # degrees
    m |= {"similarity": {}, "theory": {}, "walk": {}, "neighbours": {}, "theory_neighbours": {}}
    for kind in KINDS:
        runs = [gradients(kind, s) for s in seeds]
        m["similarity"][kind] = band([similarity(z) for z, _ in runs])
        m["theory"][kind] = predicted(kind)
        m["neighbours"][kind] = m["similarity"][kind]["median"][NEAR]
        m["theory_neighbours"][kind] = m["theory"][kind][NEAR]
        one = runs[0][1][:, 0]  # one component of one network's gradient, (PLACES,)
        m["walk"][kind] = (one / one.square().mean().sqrt()).tolist()
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, row_heights=[0.35, 0.65], vertical_spacing=0.18)
    around = [360 * place / PLACES for place in range(PLACES)]
    for kind, name in NAMES.items():
        if kind != "plain_24":
            fig.add_scatter(
                x=around,
                y=m["walk"][kind],
                name=name,
                legendgroup=name,
                mode="lines",
                showlegend=False,
                meta={"role": ROLES[kind]} if kind in ROLES else None,
                row=1,
                col=1,
            )
        fig.add_traces(band_traces(m["angles"], m["similarity"][kind], name, ROLES.get(kind)), rows=2, cols=1)
    for kind in NAMES:
        fig.add_scatter(
            x=m["angles"],
            y=m["theory"][kind],
            name="theory",
            legendgroup="theory",
            showlegend=kind == "shallow",
            mode="lines",
            meta={"role": "theory"},
            row=2,
            col=1,
        )
    fig.update_xaxes(title="place of the input on the circle (degrees)", tickvals=[0, 90, 180, 270, 360], row=1, col=1)
    fig.update_yaxes(title="gradient<br>w.r.t. input", row=1, col=1)
    fig.update_xaxes(title="angle between two inputs (degrees)", tickvals=[0, 45, 90, 135, 180], row=2, col=1)
    fig.update_yaxes(title="similarity of gradients<br>w.r.t. pre-activations", row=2, col=1)
    return fig


def claim_depth_shatters_the_gradient(m):
    """For inputs 11 degrees apart the similarity of the gradients is {neighbours.shallow:.2f} in a network of one
    layer, {neighbours.plain_24:.2f} in one of 24 and {neighbours.plain_50:.2f} in one of 50."""
    assert 0.92 < m["neighbours"]["shallow"] < 0.95
    assert 0.23 < m["neighbours"]["plain_24"] < 0.36
    assert 0.075 < m["neighbours"]["plain_50"] < 0.22
    assert m["neighbours"]["plain_50"] < 0.75 * m["neighbours"]["plain_24"]
    assert m["similarity"]["plain_24"]["hi"][NEAR] < 0.6


def claim_skip_connections_keep_it_in_one_piece(m):
    """In a residual network of 50 blocks it is {neighbours.residual_50:.2f}, as in a single layer."""
    assert 0.92 < m["neighbours"]["residual_50"] < 0.96
    assert m["similarity"]["residual_50"]["lo"][NEAR] > 0.9
    assert abs(m["neighbours"]["residual_50"] - m["neighbours"]["shallow"]) < 0.02


def claim_the_similarity_is_that_of_theory(m):
    """At every angle the similarity is that of the arc-cosine kernels, within 0.07 up to 24 layers
    and within 0.12 at 50: {theory_neighbours.shallow:.2f},
    {theory_neighbours.plain_24:.2f}, {theory_neighbours.plain_50:.2f} and {theory_neighbours.residual_50:.2f} for the
    four networks at 11 degrees."""
    for kind in ("shallow", "plain_24", "plain_50", "residual_50"):
        measured, theory = m["similarity"][kind]["median"], m["theory"][kind]
        assert len(measured) == len(theory) > 30
        close = 0.12 if kind == "plain_50" else 0.07
        assert all(abs(value - expected) < close for value, expected in zip(measured, theory, strict=True))
        assert m["neighbours"][kind] == measured[NEAR]
        assert m["theory_neighbours"][kind] == theory[NEAR]
        assert theory[0] == 1
