"""A thousand steps leave {tanh.left:.0e} of a gradient by tanh, {chrono.left:.2f} by an LSTM with chrono biases.

The gradient with respect to the first state, relative to the last one's, before training. A state is all that a unit
carries from one step to the next: of an LSTM h and c, of complex units both parts. Each step reads 16 standard normal
numbers; weights are PyTorch's defaults unless the unit's paper says otherwise.

- tanh, W orthogonal: the matrix keeps lengths (Saxe et al. 2014), the slopes don't: `theory.rate`. Without tanh: 1.
- unitary W and modReLU (Arjovsky et al. 2016), which changes the size of a complex number and keeps its angle.
- ReLU and W = I (Le, Jaitly & Hinton 2015). A unit passes the gradient on, whole, if it was never off. Over white noise
  its state is a random walk, which stays above 0 for T steps with probability C(2T, T) / 4^T, about 1 / sqrt(pi T),
  however the steps are distributed, if symmetrically (Sparre Andersen). The norm keeps the root of that.
- LSTM with chrono biases (Tallec & Ollivier 2018): forget gates of log(uniform in 1 to T - 1), input gates of minus
  that; "open" leaves the input gates at PyTorch's.
- linear recurrent unit (Orvieto et al. 2023, section 3.3): |lambda|^2 uniform between 0.99^2 and 0.999^2.
- selective state space (Gu & Dao 2023): state n of 16 in a channel decays by exp(-n Delta), with Delta =
  softplus(w x + b) from the input, and at b alone between 0.001 and 0.1, uniform on a logarithmic scale. The numbers
  are those of its code.

A thousand steps of tanh underflow where norms are squared, so the gradient is given length 1 at each step and the
logarithms of its lengths are added up.
"""

import math
from collections.abc import Callable

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs import theory
from vgdocs.experiments import band, band_traces

SEED = 0
REPLICAS = 7  # networks of each kind, side by side
STEPS = 1000  # T
HIDDEN = 64  # units
INPUTS = 16  # standard normal numbers in each step
BATCH = 4  # sequences
MANY = 64  # sequences for ReLU, where few units pass anything on
EVERY = 20  # every twentieth step is drawn
WIDEST, NARROWEST = 0.999, 0.99  # |lambda| of linear recurrent units lies between them
CHANNELS = 16  # of a selective unit
DELTA = (0.001, 0.1)  # between which its steps lie
SIGMA2 = INPUTS / (3 * HIDDEN)  # variance that the inputs give each pre-activation
NAMES = {  # and roles; above those that keep it, below those that lose it
    "unitary": ("unitary, modReLU", None),
    "identity": ("identity, ReLU", None),
    "selective": ("selective state space", None),
    "chrono": ("LSTM, chrono biases", "healthy"),
    "lru": ("linear recurrent units", None),
    "orthogonal": ("tanh, orthogonal", None),
    "lstm": ("LSTM, default", None),
    "tanh": ("tanh, default", "vanishing"),
}
KEEPS = ("unitary", "identity", "selective", "chrono", "lru")
KINDS = (*NAMES, "linear", "open")
WIDER = {
    "open.left": (20.0, "an explosion over 1000 steps"),
    "selective.left": (2.0, "a few slow channels carry it"),
}
Step = Callable[[Tensor, Tensor], Tensor]  # state (replicas, batch, .), what the input adds, next state


def recurrent(kind: str, x: Tensor, g: torch.Generator) -> tuple[Step, Tensor, int]:
    """A step, what each input adds to it, (T, replicas, batch, .), and the size of the state."""

    def uniform(*shape: int) -> Tensor:  # PyTorch's default
        return (2 * torch.rand(REPLICAS, *shape, generator=g, dtype=x.dtype) - 1) / HIDDEN**0.5

    def orthogonal() -> Tensor:
        return torch.linalg.qr(torch.randn(REPLICAS, HIDDEN, HIDDEN, generator=g, dtype=x.dtype))[0]

    phi = {"identity": torch.relu, "linear": theory.linear}.get(kind, torch.tanh)
    if kind == "identity":
        return lambda h, a: torch.relu(h + a), x @ uniform(INPUTS, HIDDEN), HIDDEN
    W = uniform(HIDDEN, HIDDEN) if kind == "tanh" else orthogonal()
    return lambda h, a: phi(h @ W + a), x @ uniform(INPUTS, HIDDEN), HIDDEN


def unitary(x: Tensor, g: torch.Generator) -> tuple[Step, Tensor, int]:
    """The unitary network: biases of modReLU uniform in -0.01 to 0.01."""
    shape = (REPLICAS, HIDDEN, HIDDEN)
    W = torch.linalg.qr(torch.randn(shape, generator=g, dtype=torch.complex128))[0]
    U = torch.randn(REPLICAS, INPUTS, HIDDEN, generator=g, dtype=torch.complex128) / (3 * HIDDEN) ** 0.5
    bias = 0.02 * torch.rand(REPLICAS, 1, HIDDEN, generator=g, dtype=x.dtype) - 0.01

    def step(state: Tensor, a: Tensor) -> Tensor:
        z = torch.view_as_complex(state.unflatten(-1, (HIDDEN, 2))) @ W + a
        return torch.view_as_real(z * (1 + bias / z.abs()).clamp(min=0)).flatten(-2)

    return step, x.to(U.dtype) @ U, 2 * HIDDEN


def lstm(kind: str, x: Tensor, g: torch.Generator) -> tuple[Step, Tensor, int]:
    """An LSTM whose state is (h, c), with the gates in the order i, f, o, and then the candidate."""

    def uniform(*shape: int) -> Tensor:
        return (2 * torch.rand(REPLICAS, *shape, generator=g, dtype=x.dtype) - 1) / HIDDEN**0.5

    U, W, b = uniform(INPUTS, 4 * HIDDEN), uniform(HIDDEN, 4 * HIDDEN), uniform(1, 4 * HIDDEN) + uniform(1, 4 * HIDDEN)
    if kind != "lstm":
        spans = 1 + (STEPS - 2) * torch.rand(REPLICAS, 1, HIDDEN, generator=g, dtype=x.dtype)
        b[..., HIDDEN : 2 * HIDDEN] = spans.log()
        if kind == "chrono":
            b[..., :HIDDEN] = -spans.log()

    def step(state: Tensor, a: Tensor) -> Tensor:
        h, c = state.split(HIDDEN, -1)
        z = h @ W + a
        i, f, o = torch.sigmoid(z[..., : 3 * HIDDEN]).split(HIDDEN, -1)
        c = f * c + i * torch.tanh(z[..., 3 * HIDDEN :])
        return torch.cat([o * torch.tanh(c), c], -1)

    return step, x @ U + b, 2 * HIDDEN


def linear_unit(x: Tensor, g: torch.Generator) -> tuple[Step, Tensor, int]:
    """Linear recurrent units; their angles turn the gradient and leave its length, so that moduli are enough."""
    squares = torch.rand(REPLICAS, 1, HIDDEN, generator=g, dtype=x.dtype) * (WIDEST**2 - NARROWEST**2) + NARROWEST**2
    U = torch.randn(REPLICAS, INPUTS, HIDDEN, generator=g, dtype=x.dtype) / INPUTS**0.5
    return lambda h, a: squares.sqrt() * h + a, x @ U, HIDDEN


def selective(x: Tensor, g: torch.Generator) -> tuple[Step, Tensor, int]:
    """Selective units; how large a step is, the input says."""
    span = math.log(DELTA[1] / DELTA[0])
    start = DELTA[0] * torch.exp(span * torch.rand(REPLICAS, 1, HIDDEN, generator=g, dtype=x.dtype))
    w = (2 * torch.rand(REPLICAS, INPUTS, HIDDEN, generator=g, dtype=x.dtype) - 1) / INPUTS**0.5
    delta = torch.nn.functional.softplus(x @ w + torch.log(torch.expm1(start)))  # (T, replicas, batch, hidden)
    rates = torch.arange(1, CHANNELS + 1, dtype=x.dtype)

    def step(state: Tensor, d: Tensor) -> Tensor:
        d = d[..., None] * rates
        return (torch.exp(-d) * state.unflatten(-1, (HIDDEN, CHANNELS)) + d).flatten(-2)

    return step, delta, HIDDEN * CHANNELS


def gradients_back(kind: str, seed: int) -> list[list[float]]:
    """Logarithms of the gradient's length 0 to STEPS steps back, over the last one's; a list for each network."""
    g = torch.Generator().manual_seed(seed)
    batch = MANY if kind == "identity" else BATCH
    x = torch.randn(STEPS, REPLICAS, batch, INPUTS, generator=g, dtype=torch.float64)
    of_kind = {"unitary": unitary, "lru": linear_unit, "selective": selective}
    if kind in ("lstm", "chrono", "open"):
        step, added, size = lstm(kind, x, g)
    else:
        step, added, size = of_kind[kind](x, g) if kind in of_kind else recurrent(kind, x, g)
    states = [torch.zeros(REPLICAS, batch, size, dtype=x.dtype)]
    with torch.no_grad():
        for a in added[:-1]:
            states.append(step(states[-1], a))
    back = torch.randn(REPLICAS, batch, size, generator=g, dtype=x.dtype)  # dL/dstate at the end
    logs = []
    for state, a in zip(reversed(states), reversed(added), strict=True):
        length = torch.linalg.vector_norm(back, dim=(1, 2))
        logs.append(length.log())
        state.requires_grad_()
        (back,) = torch.autograd.grad(step(state, a), state, back / length.view(-1, 1, 1))
    logs.append(torch.linalg.vector_norm(back, dim=(1, 2)).log())
    sums = torch.stack(logs, 1).cumsum(1)  # (replicas, T + 1)
    return (sums - sums[:, :1]).tolist()


def walk_stays() -> list[float]:
    """Root of the probability that a walk of STEPS steps has no new minimum in its last k, for k = 0 to STEPS.

    The minimum of n steps is the j-th with probability u_j u_(n-j), where u_j = C(2j, j) / 4^j (the arcsine law).
    """
    u = [1.0]
    for j in range(1, STEPS + 1):
        u.append(u[-1] * (2 * j - 1) / (2 * j))
    sums = torch.tensor([u[j] * u[STEPS - j] for j in range(STEPS + 1)], dtype=torch.float64).cumsum(0)
    return sums.flip(0).sqrt().tolist()


def ring(steps: int) -> float:
    """What linear recurrent units leave: the root of the mean of |lambda|^(2 steps)."""
    ends = [modulus ** (2 * steps + 2) for modulus in (NARROWEST, WIDEST)]
    return math.sqrt((ends[1] - ends[0]) / (steps + 1) / (WIDEST**2 - NARROWEST**2))


def measure(seed: int = SEED) -> dict:
    """What is left of each unit's gradient, and the factor on it per step back."""
    m: dict = {}
    for kind in KINDS:
        runs = gradients_back(kind, seed)
        m[kind] = {
            "curve": band([[math.exp(log) for log in run[::EVERY]] for run in runs]),
            "rate": band([math.exp(run[-1] / STEPS) for run in runs]),
        }
        m[kind]["left"] = m[kind]["curve"]["median"][-1]
    return m


def draw(m: dict) -> go.Figure:
    """Above the units that keep their gradient, below those that don't, on an axis of their own."""
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    back = list(range(0, STEPS + 1, EVERY))
    for kind, (name, role) in NAMES.items():
        fig.add_traces(band_traces(back, m[kind]["curve"], name, role), rows=1 if kind in KEEPS else 2, cols=1)
    dashed = {"x": back, "name": "theory", "mode": "lines", "meta": "theory"}
    rate = theory.rate(torch.tanh, 1.0, SIGMA2)
    for row, curve in ((1, walk_stays()[::EVERY]), (1, list(map(ring, back))), (2, [rate**k for k in back])):
        fig.add_scatter(y=curve, **dashed, row=row, col=1)
    fig.update_xaxes(title="steps back").update_yaxes(title="‖∂L/∂state‖, relative", type="log")
    return fig.update_yaxes(range=[-2, 0.3], row=1, col=1)


def claim_plain_and_default_units_vanish(m):
    """By default a tanh network passes back {tanh.rate:.2f} per step, which leaves {tanh.left:.0e}, and an LSTM
    {lstm.rate:.2f}, which leaves {lstm.left:.0e}."""
    for kind, low, high in (("tanh", 0.44, 0.7), ("lstm", 0.56, 0.71)):
        rate = m[kind]["rate"]
        assert low < rate["lo"] <= rate["median"] <= rate["hi"] < high
        assert math.isclose(m[kind]["left"], rate["median"] ** STEPS, rel_tol=1e-6)


def claim_tanh_undoes_an_orthogonal_matrix(m):
    """With an orthogonal matrix the slopes of tanh pass back {orthogonal.rate:.2f} per step, as theory says, and
    {orthogonal.left:.0e} is left; without tanh all is left, {linear.left:.3f}."""
    rate = m["orthogonal"]["rate"]
    for end in ("lo", "median", "hi"):
        assert math.isclose(rate[end], theory.rate(torch.tanh, 1.0, SIGMA2), rel_tol=0.015)
    assert math.isclose(m["orthogonal"]["left"], rate["median"] ** STEPS, rel_tol=1e-6)
    assert math.isclose(m["linear"]["left"], 1, rel_tol=1e-9)
    assert all(math.isclose(m["linear"]["rate"][end], 1, rel_tol=1e-9) for end in rate)


def claim_a_unitary_network_keeps_it(m):
    """A unitary network whose activation leaves angles alone keeps {unitary.left:.2f}."""
    curve = m["unitary"]["curve"]
    assert 0.8 < m["unitary"]["left"] < 1.3
    assert 0.5 < min(curve["lo"]) <= max(curve["hi"]) < 1.7
    assert all(0.9995 < m["unitary"]["rate"][end] < 1.0005 for end in curve)


def claim_relu_and_identity_keep_a_power(m):
    """ReLU units that start as the identity leave {identity.left:.3f}: as many as a random walk that never turns
    negative, and so about (πT)^(-1/4), a power of the steps."""
    theory_curve = walk_stays()
    assert math.isclose(m["identity"]["left"], theory_curve[-1], rel_tol=0.2)
    assert all(0.997 < m["identity"]["rate"][end] < 0.9985 for end in ("lo", "median", "hi"))
    for k, value in enumerate(m["identity"]["curve"]["median"]):
        assert math.isclose(value, theory_curve[k * EVERY], rel_tol=0.2)


def claim_chrono_biases_keep_it(m):
    """Biases spread over the steps to be bridged leave an LSTM {chrono.left:.2f}. With the same forget biases and the
    input gates as they come the gradient explodes, to {open.left:.0f} times its size."""
    assert 0.12 < m["chrono"]["left"] < 0.21
    assert all(0.9975 < m["chrono"]["rate"][end] < 0.9987 for end in ("lo", "median", "hi"))
    assert 80 < m["open"]["left"] < 9000
    assert all(1.003 < m["open"]["rate"][end] < 1.015 for end in ("lo", "median", "hi"))


def claim_a_few_slow_units_carry_it(m):
    """Linear recurrent units with |λ| up to 0.999 leave {lru.left:.3f}, as theory says, and selective units with steps
    from 0.001 on {selective.left:.3f}: their slowest carry it."""
    assert math.isclose(m["lru"]["left"], ring(STEPS), rel_tol=0.25)
    assert all(0.9965 < m["lru"]["rate"][end] < 0.9985 for end in ("lo", "median", "hi"))
    assert 0.011 < m["selective"]["left"] < 0.04
    assert all(0.994 < m["selective"]["rate"][end] < 0.9975 for end in ("lo", "median", "hi"))
