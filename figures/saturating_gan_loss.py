"""Once a discriminator is sure, log(1 − D) passes {at_end.minimax:.0e} to the generator and −log D {at_end.other:.1f}.

The data lie on a line segment in the plane, and what the generator makes on a parallel one at a distance of 1, so that
a discriminator D = s(f(x)) can be right about all of them, as in the theorems of Arjovsky & Bottou (2017, section 2).
The generator waits while D is trained; then what is the gradient with respect to the generator's parameters, here its
segment's position? With the gradient of f at each point called f',

    minimax          log(1 - D)     -mean(D f')          Goodfellow et al. 2014, equation 1
    non-saturating   -log D         -mean((1 - D) f')    their section 3
    critic           -f             -mean(f')            f without a sigmoid

The control: clouds of points that overlap, about which D can't be sure. The critic is trained by the difference of its
means, with a penalty that keeps the norm of f' near 1 (Gulrajani et al. 2017, equation 3), so that f grows by 1 over a
distance of 1, whatever its sharpness.
"""

import math
from itertools import pairwise

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor

from vgdocs.experiments import band, band_traces, derive_seeds

SEED = 0
REPLICAS = 5  # discriminators of each kind
WIDTH = 32  # of their two hidden layers of tanh
POINTS = 32  # of the data, and of the generator
CLOUD = 4 * POINTS  # points where they overlap
SPREAD = 0.5  # standard deviation of the clouds, whose centres are 1 apart
STEPS = 1000  # of Adam
RATE = 1e-3
MARKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, STEPS]  # steps after which the generator's gradient is taken
SWEEP = {"reason": "the discriminators are trained to be sure, which they become; the same ones face both losses"}
TOLERANCE = {"at_end": 0.1, "largest": 0.1, "wrong": 0.2}
LOSSES = {"minimax": lambda f: F.logsigmoid(-f), "other": lambda f: -F.logsigmoid(f), "critic": lambda f: -f}
ARMS = {
    "minimax": ("log(1 − D)", "vanishing"),
    "other": ("−log D", "healthy"),
    "critic": ("critic with |f′| near 1", None),
    "overlap": ("log(1 − D), overlapping", "reference"),
}


class Discriminators:
    """f of several networks side by side: (networks, points, 2) -> (networks, points)."""

    def __init__(self, seeds: list[int]) -> None:
        sizes = [(2, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)]
        drawn = []
        for s in seeds:
            g = torch.Generator().manual_seed(s)
            drawn.append([(2 * torch.rand(i + 1, o, generator=g) - 1) / math.sqrt(i) for i, o in sizes])
        self.layers = [torch.stack(layer).requires_grad_() for layer in zip(*drawn, strict=True)]  # biases last

    def __call__(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.tanh(x @ layer[:, :-1] + layer[:, -1:])
        return (x @ last[:, :-1] + last[:, -1:])[..., 0]


def penalty(f: Discriminators, real: Tensor, fake: Tensor, g: torch.Generator) -> Tensor:
    """How far |f'| is from 1 at points between the two."""
    mix = torch.rand(fake.shape[:2], generator=g)[..., None]
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(f(between).sum(), between, create_graph=True)
    return 10 * (slope.norm(dim=-1) - 1).square().mean(1)


def trained(seeds: list[int], real: Tensor, fake: Tensor, critic: bool = False) -> dict:
    """Norms of the generator's gradient after MARKS steps, by each loss, and the share that D gets wrong at the end."""
    f, g = Discriminators(seeds), torch.Generator().manual_seed(seeds[0])
    adam = torch.optim.Adam(f.layers, lr=RATE, fused=True)
    norms: dict = {key: [] for key in LOSSES}
    for step in range(1, STEPS + 1):
        if critic:
            loss = f(fake).mean(1) - f(real).mean(1) + penalty(f, real, fake, g)
        else:
            loss = F.softplus(f(fake)).mean(1) + F.softplus(-f(real)).mean(1)
        adam.zero_grad()
        torch.autograd.backward(loss.sum())
        adam.step()
        if step in MARKS:
            for key, of in LOSSES.items():
                position = torch.zeros(len(seeds), 1, 2, requires_grad=True)
                (gradient,) = torch.autograd.grad(of(f(fake + position)).mean(1).sum(), position)
                norms[key].append(gradient.flatten(1).norm(dim=1).tolist())
    with torch.no_grad():
        wrong = ((f(fake) > 0).double().mean(1) + (f(real) < 0).double().mean(1)) / 2
    return {key: list(zip(*n, strict=True)) for key, n in norms.items()} | {"wrong": wrong.tolist()}


def measure(seed: int = SEED) -> dict:
    seeds = derive_seeds(seed, REPLICAS)
    along = torch.linspace(-1, 1, POINTS)
    fake = torch.stack([torch.zeros(POINTS), along], 1).expand(REPLICAS, -1, -1)
    aside = torch.tensor([1.0, 0.0])
    clouds = SPREAD * torch.randn(2, REPLICAS, CLOUD, 2, generator=torch.Generator().manual_seed(seed))
    apart = trained(seeds, fake + aside, fake)
    overlap = trained(seeds, clouds[0] + aside, clouds[1])
    norms = {
        "minimax": apart["minimax"],
        "other": apart["other"],
        "critic": trained(seeds, fake + aside, fake, critic=True)["critic"],
        "overlap": overlap["minimax"],
    }
    bands = {key: band(n) for key, n in norms.items()}
    return {
        "norms": bands,
        "at_end": {key: b["median"][-1] for key, b in bands.items()},
        "largest": band([max(n) for n in apart["minimax"]])["median"],  # at any of MARKS
        "wrong": {"apart": max(apart["wrong"]), "overlap": band(overlap["wrong"])["median"]},
    }


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for key, (name, role) in ARMS.items():
        fig.add_traces(band_traces(MARKS, m["norms"][key], name, role))
    fig.update_xaxes(title="steps that the discriminator was trained for", type="log")
    return fig.update_yaxes(title="‖∂L/∂θ‖, the generator's position", type="log", dtick=1)


def claim_a_sure_discriminator_silences_its_own_loss(m):
    """After 1000 steps the discriminator is wrong about {wrong.apart:.0%} of the points, and log(1 − D) passes
    {at_end.minimax:.1e} to the generator, after {largest:.2f} at its most."""
    assert m["wrong"]["apart"] == 0
    assert 3.9e-3 < m["at_end"]["minimax"] < 6.5e-3
    assert 0.42 < m["largest"] < 0.75
    assert m["norms"]["minimax"]["median"][0] < 0.3 * m["largest"]  # it grows before it falls
    falling = m["norms"]["minimax"]["median"][MARKS.index(50) :]
    assert all(later < earlier for earlier, later in pairwise(falling))


def claim_the_other_loss_is_loud_instead(m):
    """From the same discriminator −log D passes {at_end.other:.1f}, which is as steep as its score has become, ever
    more so; a critic whose slope is held near 1 passes {at_end.critic:.2f}, and near that from step 100 on."""
    assert 5.6 < m["at_end"]["other"] < 9.6
    assert 0.9 < m["at_end"]["critic"] < 1.2
    late = {loss: m["norms"][loss]["median"][MARKS.index(100) :] for loss in ("other", "critic")}
    assert all(later > earlier for earlier, later in pairwise(late["other"]))
    assert all(abs(now / m["at_end"]["critic"] - 1) < 0.1 for now in late["critic"])


def claim_an_unsure_one_does_not(m):
    """Where the two overlap, so that {wrong.overlap:.0%} of the points are taken for what they aren't, log(1 − D)
    passes {at_end.overlap:.2f}."""
    assert 0.1 < m["wrong"]["overlap"] < 0.2
    assert 0.65 < m["at_end"]["overlap"] < 1.1
