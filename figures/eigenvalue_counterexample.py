"""A tanh RNN whose weights have no eigenvalue but 0 can grow the gradient by {chaos:.2f} per step back.

Two networks show that eigenvalues of W do not decide whether a gradient vanishes; its largest singular value
sigma_1 bounds the factor per step (Pascanu et al. 2013, section 2.1: sigma_1 < 1 is sufficient to vanish with tanh).
1. x_{t+1} = W tanh(x_t) + b with W = [[8, 8], [-8, -8]], so that W W = 0 and the spectral radius is 0. At the
   fixed point tanh(x*) = (0, 1/2) the Jacobian is W diag(1, 3/4) = [[8, 6], [-8, -6]]: its eigenvalues are 2 and 0.
   This fixed point is unstable, so the doubling lasts only as long as the state stays there.
   With b = (-1.8, 2.2) the same W is chaotic: the gradient grows from each of ten random starts, over all 600 steps.
2. h_{t+1} = W h_t with a Gaussian W scaled to spectral radius 0.95. Eigenvectors that are nearly parallel let the
   gradient grow before it decays; a normal matrix (here orthogonal) of the same radius only decays.
"""

from itertools import pairwise
from statistics import median

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 30  # random matrices behind the band
DOUBLINGS = 20  # steps at the 2 x 2 network's fixed point; rounding errors double with them, so not many more
CHAOTIC_BIAS = [-1.8, 2.2]  # b of the chaotic network
STARTS = 10  # random states that it starts from
SETTLING = 200  # steps before any is measured
LONG = 600  # steps over which its rate is measured: 1.7**600 squared is still a float64
BESIDE = 1e-6  # distance from the unstable fixed point
STEPS = 100  # steps of the random network
HIDDEN = 100  # units of the random network
RHO = 0.95  # its spectral radius
W2 = torch.tensor([[8.0, 8.0], [-8.0, -8.0]], dtype=torch.float64)  # the 2 x 2 network's
TOLERANCE = {"chaos": 0.03}  # rounding decides where a chaotic network goes, and processors round differently


def step_back(with_tanh: bool, steps: int = DOUBLINGS, offset: float = 0.0) -> list[float]:
    """Norms of the 2 x 2 network's gradient with respect to x_t, 0 to `steps` back; the start is `offset` beside x*."""
    f = torch.tanh if with_tanh else torch.nn.Identity()
    fixed = torch.tensor([0.0, 0.5], dtype=torch.float64).atanh()  # x*
    b = fixed - W2 @ f(fixed)
    x = [(fixed + offset).requires_grad_()]
    for _ in range(steps):
        x.append(W2 @ f(x[-1]) + b)  # (2,)
    return norms_of_gradients(x[-1] @ torch.tensor([1.0, 0.0], dtype=torch.float64), x)[::-1]


def chaotic(seed: int) -> tuple[list[list[float]], list[float]]:
    """From STARTS states, the gradient's norms 0 to STEPS steps back, and its factor per step over LONG steps."""
    b = torch.tensor(CHAOTIC_BIAS, dtype=torch.float64)
    x = [torch.randn(STARTS, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()]
    for _ in range(SETTLING + LONG):
        x.append(torch.tanh(x[-1]) @ W2.T + b)  # (starts, 2)
    gradients = torch.autograd.grad(x[-1][:, 0].sum(), x[SETTLING:])
    norms = torch.stack([g.norm(dim=1) for g in gradients]).flip(0)  # (steps back, starts)
    return norms[: STEPS + 1].T.tolist(), (norms[-1] ** (1 / LONG)).tolist()


def largest_growth(weights: torch.Tensor) -> list[float]:
    """||W^k|| for k = 0 to STEPS: the most that k steps of a linear RNN can do to a gradient's norm."""
    powers = torch.stack([torch.linalg.matrix_power(weights, k) for k in range(STEPS + 1)])
    return torch.linalg.matrix_norm(powers, 2).tolist()


def measure(seed: int = SEED) -> dict:
    """The 2 x 2 network's gradients, and what random matrices can do to a gradient."""
    growth = []
    for s in derive_seeds(seed, REPLICAS):
        W = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(s), dtype=torch.float64)
        growth.append(largest_growth(W * (RHO / torch.linalg.eigvals(W).abs().max())))
    with_tanh = step_back(with_tanh=True)
    curves, rates = chaotic(seed)
    return {
        "with_tanh": with_tanh,
        "beside": step_back(with_tanh=True, steps=STEPS, offset=BESIDE),
        "chaotic": band(curves),
        "chaos": band(rates),
        "without_tanh": step_back(with_tanh=False),
        "per_step": (with_tanh[-1] / with_tanh[1]) ** (1 / (DOUBLINGS - 1)),
        "random": band(growth),
        "orthogonal": largest_growth(RHO * torch.linalg.qr(W)[0]),
        "largest_singular_value": band([curve[1] for curve in growth]),  # ||W||
        "peak": median(max(curve) for curve in growth),
        "steps_above_one": median(sum(norm > 1 for norm in curve) for curve in growth),
    }


def draw(m: dict) -> go.Figure:
    """Above the 2 x 2 network, below the large linear one."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    back = list(range(STEPS + 1))

    def add(row: int, y: list[float], name: str, mode: str = "lines", meta: str | None = None) -> None:
        fig.add_scatter(x=back[: len(y)], y=y, name=name, mode=mode, meta=meta, row=row, col=1)

    fig.add_traces(band_traces(back, m["chaotic"], "eigenvalues 0, tanh, chaotic", "exploding"), rows=1, cols=1)
    add(1, m["with_tanh"], "at the unstable fixed point", "markers")
    add(1, m["without_tanh"][:2], "eigenvalues 0, linear (then 0)", "lines+markers", "vanishing")
    fig.add_traces(band_traces(back, m["random"], "Gaussian, radius 0.95"), rows=2, cols=1)
    add(2, m["orthogonal"], "orthogonal, radius 0.95")
    add(2, [RHO**k for k in back], "theory", meta="theory")
    fig.update_xaxes(title="steps back").update_yaxes(type="log")
    fig.update_yaxes(title="‖∂L/∂x‖", row=1, col=1)
    return fig.update_yaxes(title="largest ‖∂L/∂h‖", dtick=1, row=2, col=1)


def claim_chaos_explodes_though_every_eigenvalue_is_zero(m):
    """Weights of spectral radius 0 multiply the gradient of a chaotic tanh RNN by {chaos:.2f} per step back, over
    600 steps and from each of ten starts."""
    rate = m["chaos"]
    assert 1.6 < rate["lo"] <= rate["median"] <= rate["hi"] < 1.8
    assert m["chaotic"]["lo"][-1] > 1e15


def claim_doubles_at_the_unstable_fixed_point(m):
    """At its unstable fixed point the network multiplies the gradient by {per_step:.4f} per step back."""
    assert abs(m["per_step"] - 2) < 1e-6
    for nearer, farther in pairwise(m["with_tanh"][1:]):
        assert abs(farther / nearer - 2) < 1e-6


def claim_beside_the_fixed_point_it_vanishes(m):
    """Started a millionth beside the unstable fixed point, the network leaves it, and 100 steps end with the gradient
    of a vanishing one."""
    assert m["beside"][-1] < 1e-50


def claim_without_tanh_two_steps_end_it(m):
    """Without the tanh the same weights end the gradient after two steps, exactly."""
    assert m["without_tanh"][1] > 1
    assert all(norm == 0 for norm in m["without_tanh"][2:])


def claim_random_weights_grow_first(m):
    """Gaussian weights of spectral radius 0.95 can make a gradient {peak:.1f} times as large, and take
    {steps_above_one:.0f} steps to bring it below its first size."""
    assert max(m["random"]["lo"]) > 1.2  # every one of them grows
    assert 1.8 < m["peak"] < 2.8
    assert 14 < m["steps_above_one"] < 26
    assert m["random"]["hi"][STEPS] < 0.2


def claim_orthogonal_weights_only_decay(m):
    """Orthogonal weights of the same spectral radius only decay, as 0.95 to the power of the steps."""
    for k, norm in enumerate(m["orthogonal"]):
        assert abs(norm / RHO**k - 1) < 1e-9


def claim_singular_value_is_larger(m):
    """The largest singular value of the Gaussian weights is {largest_singular_value:.2f}, nearly twice their
    spectral radius: it is what bounds the first step."""
    sigma = m["largest_singular_value"]
    assert 1.45 < sigma["lo"] <= sigma["median"] <= sigma["hi"] < 2.1
    assert 1.7 < sigma["median"] < 1.85
