"""In deep plain ReLU networks neighbours disagree on what early layers get; with skips and scaled branches they agree.

The inputs walk once around a circle, x = (cos a, sin a), and the gradient with respect to the first pre-activations is
compared between places that lie an angle apart: cosine similarity, averaged over the circle. A norm per layer cannot
show this: each gradient is as large as it should be, and they point anywhere. A step of training is taken with another
gradient, the one with respect to all weights between the layers, which is compared in the same way.

In wide networks with He's weights c = cos(angle) is the similarity of two activations at the start. Each layer maps it
to k1(c) and multiplies the similarity of the gradients by k0(c) (arc-cosine kernels, Cho & Saul 2009):

    k0(c) = 1 - acos(c) / pi,    k1(c) = (sqrt(1 - c²) + (pi - acos(c)) c) / pi
    residual, L branches divided by sqrt(L):  the same with (c + k1(c) / L) / (1 + 1/L) and (1 + k0(c) / L) / (1 + 1/L)
    residual, unscaled:                       the same with (c + k1(c)) / 2 and (1 + k0(c)) / 2: half as fast as plain

A weight matrix's gradient is what comes back times what goes in, so that its similarity is the product of theirs, and
that of all weights is the mean over the layers: the neural tangent kernel (Jacot et al. 2018), normalised. For two
inputs the angle falls to 3 pi / l after l layers, so that layer l of L contributes (l / L)³: the mean tends to 1/4.

The effect and its name are from Balduzzi et al. 2017, "The Shattered Gradients Problem". Their inputs lie on a line,
where they take the autocorrelation; on a circle all places are alike, and theory is exact.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 40  # networks of each kind
PLACES = 64  # inputs on the circle
NEAR = 2  # steps between neighbours: 11.25 degrees
WIDTH = 256  # units in a layer

KINDS = {  # hidden layers or residual blocks, name, role
    "shallow": (1, "1 layer", None),
    "plain_24": (24, "24 layers", None),
    "plain_50": (50, "50 layers", "vanishing"),
    "unscaled_50": (50, "50 blocks, unscaled", None),
    "residual_50": (50, "50 blocks, branch / √L", "healthy"),
}
SKIP = {kind: float(kind in ("unscaled_50", "residual_50")) for kind in KINDS}
BRANCH = {kind: 1 / 50 if kind == "residual_50" else 1.0 for kind in KINDS}  # what a branch weighs, in squares
WIDER = {
    "neighbours.plain_50": (2.5, "single networks of this depth and width scatter between 0 and 0.7"),
    "weights.plain_50": (1.6, "so do these, between 0 and 0.8"),
    "opposite": (2.0, "so do these"),
    "neighbours.unscaled_50": (1.7, "these scatter as well"),
}


def similarity(gram: torch.Tensor) -> list[float]:
    """Mean cosine of the vectors at places 0, 1, 2 ... PLACES / 2 steps apart, from their products."""
    length = gram.diagonal().sqrt()
    cosine = gram / length / length[:, None]
    return [float(cosine.roll(lag, dims=1).diagonal().mean()) for lag in range(PLACES // 2 + 1)]


def run(kind: str, seed: int) -> dict[str, list[float]]:
    """Similarity of dL/dz of the first layer and of dL/dW of all that follow; dL/dx_1 over its root mean square."""
    generator, layers = torch.Generator().manual_seed(seed), KINDS[kind][0]
    angle = 2 * math.pi * torch.arange(PLACES, dtype=torch.float64) / PLACES
    x = torch.stack([angle.cos(), angle.sin()], dim=1).requires_grad_()  # (PLACES, 2)
    v = torch.randn(WIDTH, generator=generator, dtype=torch.float64)  # the same readout at every place
    z = h = x @ torch.randn(2, WIDTH, generator=generator, dtype=torch.float64)
    came_in, went_out = [], []
    for _ in range(layers):
        came_in.append(torch.relu(h))
        went_out.append(came_in[-1] @ weight(WIDTH, WIDTH, "he", generator).T)  # (PLACES, WIDTH)
        h = SKIP[kind] * h + math.sqrt(BRANCH[kind]) * went_out[-1]
    first, dx, *back = torch.autograd.grad((h @ v).sum(), (z, x, *went_out))
    of_weights = sum((a @ a.T).detach() * (d @ d.T) for a, d in zip(came_in, back, strict=True))
    walk = dx[:, 0] / dx[:, 0].square().mean().sqrt()
    return {"first": similarity(first @ first.T), "weights": similarity(of_weights), "walk": walk.tolist()}


def predicted(kind: str) -> tuple[list[float], list[float]]:
    """Both similarities for infinite width."""
    c = torch.cos(math.pi * torch.linspace(0, 1, PLACES // 2 + 1, dtype=torch.float64))
    count, skip, branch = KINDS[kind][0], SKIP[kind], BRANCH[kind]
    layers = []  # similarity of what goes into the weights, and the factor on that of the gradients
    for _ in range(count):
        angle = c.clamp(-1, 1).acos()
        k0, k1 = 1 - angle / math.pi, (angle.sin() + (math.pi - angle) * c) / math.pi
        layers.append((k1, (skip + branch * k0) / (skip + branch)))
        c = (skip * c + branch * k1) / (skip + branch)
    back, weights = torch.ones_like(c), torch.zeros_like(c)
    for k1, factor in reversed(layers):
        weights += k1 * back / count
        back = back * factor
    return back.tolist(), weights.tolist()


def measure(seed: int = SEED) -> dict:
    """Similarity of gradients against the angle between inputs, and one network's gradient on its way around."""
    m = {"angles": [360 * lag / PLACES for lag in range(PLACES // 2 + 1)]}  # degrees
    m |= {name: {} for name in ("similarity", "theory", "neighbours", "theory_neighbours", "walk", "weights")}
    for kind in KINDS:
        runs = [run(kind, s) for s in derive_seeds(seed, REPLICAS)]
        found, (theory, theory_of_weights) = band(runs), predicted(kind)
        m["similarity"][kind], m["theory"][kind] = found["first"], theory
        m["neighbours"][kind], m["theory_neighbours"][kind] = found["first"]["median"][NEAR], theory[NEAR]
        m["weights"][kind] = found["weights"]["median"][NEAR]
        m["walk"][kind] = runs[0]["walk"]
        if kind == "plain_50":
            m["of_weights"], m["theory_of_weights"] = found["weights"], theory_of_weights
            m["opposite"] = found["weights"]["median"][-1]
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, row_heights=[0.35, 0.65], vertical_spacing=0.18)
    around = [360 * place / PLACES for place in range(PLACES)]
    for kind, (_, name, role) in KINDS.items():
        if kind not in ("plain_24", "unscaled_50"):
            fig.add_scatter(x=around, y=m["walk"][kind], name=name, mode="lines", meta=role, row=1, col=1)
        fig.add_traces(band_traces(m["angles"], m["similarity"][kind], name, role), rows=2, cols=1)
    fig.add_traces(band_traces(m["angles"], m["of_weights"], "50 layers, all weights"), rows=2, cols=1)
    for theory in [*(m["theory"][kind] for kind in KINDS), m["theory_of_weights"]]:
        fig.add_scatter(x=m["angles"], y=theory, name="theory", mode="lines", meta="theory", row=2, col=1)
    fig.update_xaxes(title="place of the input on the circle (degrees)", tickvals=[0, 90, 180, 270, 360], row=1, col=1)
    fig.update_yaxes(title="gradient<br>w.r.t. input", row=1, col=1)
    fig.update_xaxes(title="angle between two inputs (degrees)", tickvals=[0, 45, 90, 135, 180], row=2, col=1)
    fig.update_yaxes(title="similarity of gradients, w.r.t.<br>first pre-activations or weights", row=2, col=1)
    return fig


def claim_depth_shatters_the_gradient(m):
    """For inputs 11 degrees apart the similarity of the gradients is {neighbours.shallow:.2f} in a network of one
    layer, {neighbours.plain_24:.2f} in one of 24 and {neighbours.plain_50:.2f} in one of 50."""
    assert 0.92 < m["neighbours"]["shallow"] < 0.95
    assert 0.23 < m["neighbours"]["plain_24"] < 0.36
    assert 0.075 < m["neighbours"]["plain_50"] < 0.22
    assert m["neighbours"]["plain_50"] < 0.75 * m["neighbours"]["plain_24"]
    assert m["similarity"]["plain_24"]["hi"][NEAR] < 0.65


def claim_the_weights_gradients_still_agree(m):
    """The gradients with respect to the weights between the layers have a similarity of {weights.shallow:.2f},
    {weights.plain_24:.2f} and {weights.plain_50:.2f}, with skips {weights.residual_50:.2f}; even for opposite inputs it
    is {opposite:.2f} in 50 layers, where theory is met within 0.11 at every angle."""
    assert 0.95 < m["weights"]["shallow"] < 0.99
    assert 0.52 < m["weights"]["plain_24"] < 0.7
    assert 0.4 < m["weights"]["plain_50"] < 0.62
    assert 0.9 < m["weights"]["residual_50"] < 0.99
    assert 0.5 < m["weights"]["unscaled_50"] < 0.72
    assert 0.2 < m["opposite"] < 0.42
    assert m["weights"]["plain_50"] > 2 * m["neighbours"]["plain_50"]
    for measured, expected in zip(m["of_weights"]["median"], m["theory_of_weights"], strict=True):
        assert abs(measured - expected) < 0.11


def claim_scaled_branches_keep_it_in_one_piece(m):
    """In a residual network of 50 blocks it is {neighbours.residual_50:.2f}, as in a single layer, if the branches are
    divided by the root of the depth; unscaled ones leave {neighbours.unscaled_50:.2f}."""
    assert 0.92 < m["neighbours"]["residual_50"] < 0.96
    assert m["similarity"]["residual_50"]["lo"][NEAR] > 0.9
    assert abs(m["neighbours"]["residual_50"] - m["neighbours"]["shallow"]) < 0.02
    assert 1.4 * m["neighbours"]["plain_50"] < m["neighbours"]["unscaled_50"]
    assert 0.2 < m["neighbours"]["unscaled_50"] < 0.42
    assert m["similarity"]["unscaled_50"]["hi"][NEAR] < 0.8


def claim_the_similarity_is_that_of_theory(m):
    """At every angle the similarity is that of the arc-cosine kernels, within 0.07 up to 24 layers and within 0.12 at
    50: {theory_neighbours.shallow:.2f}, {theory_neighbours.plain_24:.2f} and {theory_neighbours.plain_50:.2f} for the
    plain networks at 11 degrees, {theory_neighbours.unscaled_50:.2f} and {theory_neighbours.residual_50:.2f} with
    skips."""
    for kind in KINDS:
        measured, theory = m["similarity"][kind]["median"], m["theory"][kind]
        close = 0.12 if kind in ("plain_50", "unscaled_50") else 0.07
        assert all(abs(value - expected) < close for value, expected in zip(measured, theory, strict=True))
        assert m["theory_neighbours"][kind] == theory[NEAR]
