"""In 54 residual blocks with norms, paths of ten branches or fewer bring {trained.short:.1%} of the squared gradient.

Each of 54 blocks h + f(h) can be passed through its branch f or beside it: 2^54 paths, most of about 27 branches.
The gradient is the sum over all of them, and splits exactly by length. Going backward, with G_k what the paths
through k branches have brought so far and J the branch's Jacobian,

    G_k <- G_k + J^T G_{k-1}

Drawn is |G_k|^2 at the first block, as a share of the sum over k: cross terms between lengths are left out. With
f(h) = c sqrt(2) W2 relu(W1 h) of random weights theory is binomial: a path weighs c^2 per branch. At c = 1 every path
weighs the same, and the long ones carry the gradient because they are many; 1/sqrt(54), or a norm before the branch,
leaves the short ones. Veit et al. 2016 (abstract) found that in a ResNet of 110 layers most of the gradient comes from
paths of 10 to 34 layers, which are 5 to 17 branches.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs import experiments
from vgdocs.experiments import band, band_traces, derive_seeds, weight

SEED = 0
REPLICAS = 10  # networks of each kind at initialisation
TRAINED = 3  # of those with a norm, trained
EPOCHS = 4
SWEEP = {"reason": "training only brings a network into a trained state; no claim compares trainings"}
BLOCKS = 54  # as in ResNet-110
WIDTH = 32
IMAGES = 64  # digits over which the gradient is taken
SHORT = 10  # branches
TOLERANCE = {"trained.mean": 0.2, "trained.short": 0.01}
KINDS = {  # scale of the branches; whether a norm stands before each; their weights relative to the skips, in theory
    "unscaled": (1.0, False, [1.0] * BLOCKS),
    "scaled": (1 / math.sqrt(BLOCKS), False, [1 / BLOCKS] * BLOCKS),
    "norm": (1.0, True, [1 / block for block in range(1, BLOCKS + 1)]),  # the norm divides by a growing stream
}


class Net(nn.Module):
    """Digits through residual blocks; `scale` multiplies the branches, `norm` puts a layer norm before each."""

    def __init__(self, seed: int, scale: float, norm: bool) -> None:
        super().__init__()
        self.g = torch.Generator().manual_seed(seed)
        self.scale, self.norm = scale, nn.LayerNorm(WIDTH, elementwise_affine=False) if norm else nn.Identity()
        sizes = [(WIDTH, 64), (10, WIDTH)] + [(WIDTH, WIDTH)] * (2 * BLOCKS)
        self.first, self.last, *inner = (nn.Parameter(weight(*s, "lecun", self.g, torch.float32)) for s in sizes)
        self.w1, self.w2 = nn.ParameterList(inner[:BLOCKS]), nn.ParameterList(inner[BLOCKS:])

    def branch(self, block: int, h: Tensor) -> Tensor:
        return self.scale * math.sqrt(2) * torch.relu(self.norm(h) @ self.w1[block].T) @ self.w2[block].T

    def head(self, h: Tensor) -> Tensor:
        return self.norm(h) @ self.last.T

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.first.T
        for block in range(BLOCKS):
            h = h + self.branch(block, h)
        return self.head(h)


def by_length(net: Net, x: Tensor, y: Tensor) -> list[float]:
    """Shares of the squared gradient at the first block that came through 0, 1, ... BLOCKS branches."""
    h, steps = (x @ net.first.T).detach(), []
    for block in range(BLOCKS):
        f = net.branch(block, h.requires_grad_())
        steps.append((h, f))
        h = (h + f).detach()
    G = torch.zeros(BLOCKS + 1, *h.shape)  # (branches passed, images, width)
    (G[0],) = torch.autograd.grad(F.cross_entropy(net.head(h.requires_grad_()), y), h)
    for h, f in reversed(steps):
        (through,) = torch.autograd.grad(f, h, G[:-1].clone(), is_grads_batched=True)
        G[1:] += through
    squares = G.flatten(1).pow(2).sum(1)
    return (squares / squares.sum()).tolist()


def binomial(branch_weights: list[float]) -> list[float]:
    """The shares in theory, of branches that weigh so much relative to their skips: squares add up."""
    shares = [1.0] + [0.0] * BLOCKS
    for w in branch_weights:
        shares = [(beside + w * through) / (1 + w) for beside, through in zip(shares, [0.0, *shares], strict=False)]
    return shares


def measure(seed: int = SEED) -> dict:
    """The shares by length of three kinds of network at initialisation, and of one after training."""
    data = experiments.digits()
    x, y = data[0][:IMAGES], data[1][:IMAGES]
    seeds = derive_seeds(seed, REPLICAS)
    shares = {kind: [by_length(Net(s, *how), x, y) for s in seeds] for kind, (*how, _) in KINDS.items()}
    shares["trained"], accuracies = [], []
    for s in seeds[:TRAINED]:
        net = Net(s, 1.0, norm=True)
        accuracies.append(experiments.train(net, data, epochs=EPOCHS, lr=1e-3, generator=net.g)["test_accuracy"])
        shares["trained"].append(by_length(net, x, y))
    m: dict = {"length": list(range(BLOCKS + 1)), "accuracies": accuracies}
    m["short_paths"] = sum(math.comb(BLOCKS, k) for k in range(SHORT + 1)) / 2**BLOCKS
    for kind, runs in shares.items():
        means = [sum(k * share for k, share in enumerate(run)) for run in runs]
        m[kind] = {"share": band(runs), "mean": band(means)["median"]}
    for kind in ("norm", "trained"):
        m[kind]["short"] = band([sum(run[: SHORT + 1]) for run in shares[kind]])["median"]
    return m | {"theory": {kind: binomial(weights) for kind, (*_, weights) in KINDS.items()}}


def draw(m: dict) -> go.Figure:
    names = {"unscaled": "unscaled", "scaled": "branch / √54", "norm": "norm", "trained": "norm, trained"}
    fig = go.Figure()
    for kind, name in names.items():
        fig.add_traces(band_traces(m["length"], m[kind]["share"], name))
    for shares in m["theory"].values():
        fig.add_scatter(x=m["length"], y=shares, name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="branches on the path, of 54")
    return fig.update_yaxes(title="share of ‖∂L/∂h‖² at the first block", rangemode="tozero")


def claim_unscaled_branches_use_long_paths(m):
    """Unscaled, a path passes {unscaled.mean:.1f} of 54 branches, weighted by squares; in theory half of them."""
    assert math.isclose(m["unscaled"]["mean"], BLOCKS / 2, rel_tol=0.08)


def claim_scaled_branches_use_short_paths(m):
    """Divided by sqrt(54), {scaled.mean:.2f} of them: most of the squares come by the skips or through one branch."""
    assert math.isclose(m["scaled"]["mean"], BLOCKS / (BLOCKS + 1), rel_tol=0.08)
    assert sum(m["scaled"]["share"]["median"][:2]) > 0.5


def claim_a_norm_makes_paths_short(m):
    """With a norm before each branch, {norm.mean:.1f} at initialisation and {trained.mean:.1f} after training; paths of
    up to ten branches, {short_paths:.0e} of all, bring {norm.short:.3f} and {trained.short:.3f} of the squares."""
    assert math.isclose(m["short_paths"], 1.693e-6, rel_tol=1e-3)
    assert math.isclose(m["norm"]["mean"], sum(k * share for k, share in enumerate(m["theory"]["norm"])), rel_tol=0.25)
    assert 3.3 < m["trained"]["mean"] < 6
    assert 0.98 < m["norm"]["short"] < 1
    assert 0.98 < m["trained"]["short"] < 1
    assert all(accuracy > 0.8 for accuracy in m["accuracies"])
