"""A skip connection adds one to a block's slope: at initialisation that ends vanishing, and unscaled it explodes.

For a block y = x + f(x) the slope is dy/dx = 1 + df/dx exactly (He et al. 2016, "Identity Mappings", equation 5),
which is 0 where f = -x: nothing keeps it at 1 or above. In a stack of L random blocks the branch and the skip are
uncorrelated, so each block multiplies the gradient's squared norm by 1 + c, where c is the branch's own factor:

    plain       c**(L/2)                c = 1 for He's scale, 1/2 for Xavier's
    residual    (1 + 1)**(L/2)          f = W2 relu(W1 h), which ends in a linear map
    scaled      (1 + 1/L)**(L/2)        f / sqrt(L), and below sqrt(e) at any depth
    pre-norm    sqrt(L + 1)             f = W2 relu(W1 LN(h)): the stream grows, so block l adds only 1/l

Theory has infinite width; at this one single networks scatter around it, the more the more blocks they have.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import residual_growth

SEED = 0
REPLICAS = 10  # networks of each kind
BLOCKS = 100  # L, each with two layers in its branch
WIDTH = 128  # units in a layer
BATCH = 8  # inputs
STEP = 4  # every fourth block is drawn

BRANCHES = {
    "tanh": lambda x: torch.tanh(2 * x),
    "sine": lambda x: torch.sin(3 * x),
    "relu": torch.relu,
    "minus_x": lambda x: -x,
}
KINDS = {
    "plain_xavier": "plain, Xavier weights",
    "plain": "plain, He weights",
    "residual": "residual",
    "scaled": "residual, branch / √L",
    "pre_norm": "pre-norm residual",
}
ROLES = {"plain_xavier": "vanishing", "residual": "exploding", "scaled": "healthy"}
PANELS = {"plain_xavier": 1, "residual": 1, "plain": 2, "scaled": 2, "pre_norm": 2}
WIDER = {
    "ratio.plain_xavier": (10.0, "a product over 100 blocks of finite width"),
    "ratio.residual": (10.0, "a product over 100 blocks of finite width"),
}


def slopes(branch) -> tuple[list[float], list[float]]:
    """df/dx and dy/dx of the scalar block y = x + f(x), at 25 places."""
    x = torch.linspace(-3, 3, 25, dtype=torch.float64, requires_grad=True)
    (alone,) = torch.autograd.grad(branch(x).sum(), x)
    (block,) = torch.autograd.grad((x + branch(x)).sum(), x)
    return alone.tolist(), block.tolist()


def networks(seed: int) -> dict[str, list[float]]:
    """One network of each kind, all from the same random numbers: norms of dL/dh, the gradient with respect to
    the blocks' outputs h, from the input to the last block."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
    v = torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64)  # dL/dh of the last block
    W = [[weight(WIDTH, WIDTH, init, generator) for init in ("he", "xavier")] for _ in range(BLOCKS)]

    def branch(h: torch.Tensor, block: int) -> torch.Tensor:  # (BATCH, WIDTH)
        W1, W2 = W[block]
        return torch.relu(h @ W1.T) @ W2.T

    steps = {
        "plain_xavier": lambda h, block: branch(h, block) / math.sqrt(2),
        "plain": branch,
        "residual": lambda h, block: h + branch(h, block),
        "scaled": lambda h, block: h + branch(h, block) / math.sqrt(BLOCKS),
        "pre_norm": lambda h, block: h + branch(F.layer_norm(h, (WIDTH,)), block),
    }
    norms = {}
    for kind, step in steps.items():
        h = [x]
        for block in range(BLOCKS):
            h.append(step(h[-1], block))
        norms[kind] = norms_of_gradients((h[-1] * v).sum(), h)
    return norms


def predicted(kind: str, back: int) -> float:
    """Norm of the gradient `back` blocks before the end, over that at the end, for infinite width."""
    return {
        "plain_xavier": 0.5 ** (back / 2),
        "plain": 1.0,
        "residual": residual_growth(back),
        "scaled": residual_growth(back, 1 / BLOCKS),
        "pre_norm": math.sqrt((BLOCKS + 1) / (BLOCKS + 1 - back)),
    }[kind]


def measure(seed: int = SEED) -> dict:
    """Slopes of scalar blocks, and the gradient through stacks of random ones."""
    back = list(range(0, BLOCKS + 1, STEP))
    pairs = {name: slopes(branch) for name, branch in BRANCHES.items()}
    m = {
        "branch_slope": {name: branch for name, (branch, _) in pairs.items()},
        "block_slope": {name: block for name, (_, block) in pairs.items()},
        "largest_slope_where_f_is_minus_x": max(abs(slope) for slope in pairs["minus_x"][1]),
        "rate": {},  # factor on the norm per block going backward
        "ratio": {},  # ||dL/dh|| at the input over the output, median
        "back": back,
        "profile": {},  # ||dL/dh|| over the output's
        "theory": {},
    }
    replicas = [networks(s) for s in derive_seeds(seed, REPLICAS)]
    for kind in KINDS:
        norms = [replica[kind] for replica in replicas]
        m["profile"][kind] = band([[n[BLOCKS - b] / n[BLOCKS] for b in back] for n in norms])
        m["theory"][kind] = [predicted(kind, b) for b in back]
        if kind in ("plain_xavier", "plain", "residual"):
            m["rate"][kind] = band([rate(n) for n in norms])
        if kind != "plain":
            m["ratio"][kind] = m["profile"][kind]["median"][-1]
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    for kind, name in KINDS.items():
        traces = band_traces(m["back"], m["profile"][kind], name, ROLES.get(kind))
        fig.add_traces(traces, rows=PANELS[kind], cols=1)
    for kind in KINDS:
        fig.add_scatter(
            x=m["back"],
            y=m["theory"][kind],
            name="theory",
            legendgroup="theory",
            showlegend=kind == "plain",
            mode="lines",
            meta={"role": "theory"},
            row=PANELS[kind],
            col=1,
        )
    fig.update_yaxes(type="log", exponentformat="power")
    fig.update_yaxes(title="gradient w.r.t.<br>block outputs, relative", row=1, col=1)
    fig.update_yaxes(title="the same,<br>closer", dtick=1, row=2, col=1)
    fig.update_xaxes(title="blocks gone back", row=2, col=1)
    return fig


def claim_the_skip_adds_exactly_one(m):
    """The slope of y = x + f(x) is exactly 1 + df/dx, and where f(x) = -x it is exactly
    {largest_slope_where_f_is_minus_x:.0f}."""
    assert set(m["block_slope"]) == {"tanh", "sine", "relu", "minus_x"}
    for name, block in m["block_slope"].items():
        assert block == [1 + branch for branch in m["branch_slope"][name]]
    assert min(m["block_slope"]["sine"]) < -1.9  # below 0, too: sin falls three times as fast as x rises
    assert m["largest_slope_where_f_is_minus_x"] == 0


def claim_each_block_multiplies_as_theory_has_it(m):
    """Going back, each plain block multiplies the gradient by {rate.plain_xavier:.3f} with Xavier's weights and by
    {rate.plain:.3f} with He's, each residual block by {rate.residual:.3f}; theory says √½, 1 and √2."""
    for kind, theory in [("plain_xavier", 0.5**0.5), ("plain", 1.0), ("residual", 2**0.5)]:
        measured = m["rate"][kind]
        assert abs(measured["median"] / theory - 1) < 0.025
        assert measured["lo"] <= measured["median"] <= measured["hi"]
        assert abs(measured["lo"] / theory - 1) < 0.05
        assert abs(measured["hi"] / theory - 1) < 0.05


def claim_an_unscaled_stack_explodes(m):
    """Over 100 blocks the plain network with Xavier's weights keeps {ratio.plain_xavier:.1e} of the gradient, and
    the unscaled residual one makes it {ratio.residual:.1e} times larger."""
    for kind in ("plain_xavier", "residual"):
        assert abs(math.log(m["ratio"][kind] / m["theory"][kind][-1])) < math.log(5)
    assert m["profile"]["plain_xavier"]["hi"][-1] < 1e-13
    assert m["profile"]["residual"]["lo"][-1] > 1e13


def claim_scaled_and_pre_norm_stacks_stay_in_reach(m):
    """Divided by √L, the branches let the gradient grow by {ratio.scaled:.2f} over 100 blocks, and behind a
    normalisation by {ratio.pre_norm:.1f}; theory says (1 + 1/L)^(L/2) and √(L + 1)."""
    assert abs(m["ratio"]["scaled"] / m["theory"]["scaled"][-1] - 1) < 0.1
    assert abs(m["ratio"]["pre_norm"] / m["theory"]["pre_norm"][-1] - 1) < 0.2
    for kind in ("scaled", "pre_norm"):
        profile = m["profile"][kind]
        assert profile["hi"][-1] < 1.5 * m["theory"][kind][-1]
        assert min(profile["lo"]) > 0.8  # no block on the way loses the gradient
