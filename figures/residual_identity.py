"""A skip connection adds one to a block's slope: at initialisation that ends vanishing, and unscaled it explodes.

For a block y = x + f(x) the slope is dy/dx = 1 + df/dx exactly (He et al. 2016, "Identity Mappings", equation 5),
which is 0 where f = -x: nothing keeps it at 1 or above. In a stack of L random blocks the branch and the skip are
uncorrelated, so each block multiplies the gradient's squared norm by 1 + c, where c is the branch's own factor:

    plain       c**(L/2)                c = 1 with He's 2/n for W1 and 1/n for W2, 1/2 with Xavier's 1/n for both
    residual    (1 + c)**(L/2)          f = W2 relu(W1 h), which ends in a linear map
    scaled      (1 + 1/L)**(L/2)        f / sqrt(L), c = 1, and below sqrt(e) at any depth
    pre-norm    sqrt(L + 1)             f = W2 relu(W1 LN(h)), c = 1: the stream grows, so block l adds only 1/l

Theory has infinite width; at this one single networks scatter around it, the more the more blocks they have.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate
from vgdocs.theory import derivative

SEED = 0
REPLICAS = 10  # networks of each kind
BLOCKS = 100  # L, each with two layers in its branch
WIDTH = 128  # units in a layer
BATCH = 8  # inputs
STEP = 4  # every fourth block is drawn

SCALAR = {"tanh": lambda x: (2 * x).tanh(), "sine": lambda x: (3 * x).sin(), "relu": torch.relu, "minus_x": torch.neg}
KINDS = {  # name, role, panel; factor on the squared norm at block i, in theory; the block, of input h and branch f
    "plain_xavier": ("plain, Xavier weights", "vanishing", 1, lambda i: 1 / 2, lambda h, f: f(h) / math.sqrt(2)),
    "plain": ("plain, lengths kept", None, 2, lambda i: 1, lambda h, f: f(h)),
    "residual": ("residual", "exploding", 1, lambda i: 1 + 1, lambda h, f: h + f(h)),
    "residual_xavier": ("residual, Xavier", "exploding", 1, lambda i: 1 + 1 / 2, lambda h, f: h + f(h) / 2**0.5),
    "scaled": ("residual, branch / √L", "healthy", 2, lambda i: 1 + 1 / BLOCKS, lambda h, f: h + f(h) / BLOCKS**0.5),
    "pre_norm": ("pre-norm residual", None, 2, lambda i: 1 + 1 / i, lambda h, f: h + f(F.layer_norm(h, (WIDTH,)))),
}
RATES = {
    "plain_xavier": 0.5**0.5,
    "plain": 1.0,
    "residual": 2**0.5,
    "residual_xavier": 1.5**0.5,
}  # of those that keep one, per block, in theory
WIDER = {"ratio.plain_xavier ratio.residual ratio.residual_xavier": (10.0, "a product over 100 blocks of finite width")}


def random_branch(g: torch.Generator):
    """f(h) = W2 relu(W1 h) with weights drawn from g; (BATCH, WIDTH) in and out."""
    W1, W2 = (weight(WIDTH, WIDTH, init, g) for init in ("he", "xavier"))
    return lambda h: torch.relu(h @ W1.T) @ W2.T


def stacks(seed: int) -> dict:
    """A stack of each kind, all from the same random numbers: dL/dh, the gradient with respect to the blocks' outputs.

    Profiles are norms over the output's, from the last block back to the input; rates are factors per block.
    """
    g = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, BATCH, WIDTH, generator=g, dtype=torch.float64)  # v is dL/dh of the last block
    branches = [random_branch(g) for _ in range(BLOCKS)]
    norms = {}
    for kind, (*_, block) in KINDS.items():
        h = [x.requires_grad_()]
        for f in branches:
            h.append(block(h[-1], f))
        norms[kind] = norms_of_gradients((h[-1] * v).sum(), h)
    return {
        "profile": {kind: [norm / n[-1] for norm in n[::-STEP]] for kind, n in norms.items()},
        "rate": {kind: rate(norms[kind]) for kind in RATES},
    }


def measure(seed: int = SEED) -> dict:
    """Slopes of scalar blocks, and the gradient through stacks of random ones."""
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    m = band([stacks(s) for s in derive_seeds(seed, REPLICAS)])
    m["branch_slope"] = {name: derivative(f)(x).tolist() for name, f in SCALAR.items()}
    m["block_slope"] = {name: derivative(lambda x, f=f: x + f(x))(x).tolist() for name, f in SCALAR.items()}
    m["largest_slope_where_f_is_minus_x"] = max(map(abs, m["block_slope"]["minus_x"]))
    m["ratio"] = {kind: m["profile"][kind]["median"][-1] for kind in KINDS if kind != "plain"}  # input over output
    m |= {"back": list(range(0, BLOCKS + 1, STEP)), "theory": {}}
    for kind, (*_, factor, _) in KINDS.items():
        m["theory"][kind] = [math.prod(map(factor, range(BLOCKS + 1 - n, BLOCKS + 1))) ** 0.5 for n in m["back"]]
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    for kind, (name, role, row, *_) in KINDS.items():
        fig.add_traces(band_traces(m["back"], m["profile"][kind], name, role), rows=row, cols=1)
    for kind, (_, _, row, *_) in KINDS.items():
        fig.add_scatter(x=m["back"], y=m["theory"][kind], name="theory", mode="lines", meta="theory", row=row, col=1)
    fig.update_yaxes(title="gradient w.r.t.<br>block outputs, relative", type="log")
    fig.update_yaxes(title="the same,<br>closer", dtick=1, row=2, col=1)
    return fig.update_xaxes(title="blocks gone back", row=2, col=1)


def claim_the_skip_adds_exactly_one(m):
    """The slope of y = x + f(x) is exactly 1 + df/dx, and where f(x) = -x it is exactly
    {largest_slope_where_f_is_minus_x:.0f}."""
    for name in SCALAR:
        assert m["block_slope"][name] == [1 + slope for slope in m["branch_slope"][name]]
    assert min(m["block_slope"]["sine"]) < -1.9  # below 0, too: sin falls three times as fast as x rises
    assert m["largest_slope_where_f_is_minus_x"] == 0


def claim_each_block_multiplies_as_theory_has_it(m):
    """Going back, each plain block multiplies the gradient by {rate.plain_xavier:.3f} with Xavier's weights and by
    {rate.plain:.3f} where branches keep lengths, each residual block by {rate.residual_xavier:.3f} and by
    {rate.residual:.3f}; theory says √½, 1, √1.5 and √2."""
    for kind, theory in RATES.items():
        rate = m["rate"][kind]
        assert 0.95 * theory < rate["lo"] <= rate["median"] <= rate["hi"] < 1.05 * theory
        assert abs(rate["median"] / theory - 1) < 0.025


def claim_an_unscaled_stack_explodes(m):
    """Over 100 blocks the plain network with Xavier's weights keeps {ratio.plain_xavier:.1e} of the gradient. With
    skips around the same branches it grows to {ratio.residual_xavier:.1e} times its size, around branches that keep
    lengths to {ratio.residual:.1e} times."""
    for kind in ("plain_xavier", "residual", "residual_xavier"):
        assert abs(math.log(m["ratio"][kind] / m["theory"][kind][-1])) < math.log(5)
    assert m["profile"]["plain_xavier"]["hi"][-1] < 1e-13
    assert m["profile"]["residual"]["lo"][-1] > 1e13
    assert m["profile"]["residual_xavier"]["lo"][-1] > 1e8


def claim_scaled_and_pre_norm_stacks_stay_in_reach(m):
    """Divided by √L, the branches let the gradient grow by {ratio.scaled:.2f} over 100 blocks, and behind a
    normalisation by {ratio.pre_norm:.1f}; theory says (1 + 1/L)^(L/2) and √(L + 1)."""
    for kind, bound in [("scaled", 0.1), ("pre_norm", 0.2)]:
        assert abs(m["ratio"][kind] / m["theory"][kind][-1] - 1) < bound
        assert m["profile"][kind]["hi"][-1] < 1.5 * m["theory"][kind][-1]
        assert min(m["profile"][kind]["lo"]) > 0.8  # no block on the way loses the gradient
