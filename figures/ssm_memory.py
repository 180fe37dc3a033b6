"""A diagonal recurrence keeps exactly |λ|ᵏ of a gradient over k steps, and pays for a long memory in sensitivity.

h_t = lambda h_{t-1} + x_t, one complex lambda per unit: the core of a state-space layer or linear recurrent unit
(Orvieto et al. 2023, section 3). Without matrix and activation nothing but |lambda| acts on the gradient, and the
memory is about 1/(1 - |lambda|) steps long. But inputs add up as well: over white noise of variance 1 the state has
variance 1/(1 - |lambda|^2), and its derivative with respect to |lambda| has variance
(1 + |lambda|^2)/(1 - |lambda|^2)^3, which outgrows it: the "curse of memory" (Zucchet & Orvieto 2024).

The linear recurrent unit starts with the state divided by its size (then by a parameter of its own) and trains nu and
theta in lambda = exp(-exp(nu) + i theta). The control: the derivatives of *that* state, by nu |lambda| |ln |lambda|| /
(1 - |lambda|^2), which tends to 1/2, and by theta |lambda| sqrt(1 + |lambda|^2) / (1 - |lambda|^2), which grows with
the memory.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

SEED = 0
UNITS = 16  # with one angle of lambda each
STEPS = 1000  # steps that the gradient goes back
SEQUENCES = 500  # of white noise
LENGTH = 8000  # of each: eight times the longest memory
SHOWN = {"at_0_9": 0.9, "at_0_99": 0.99, "at_0_999": 0.999}  # |lambda| of the curves and of the numbers
SIZES = {  # of the state and of derivatives: name, and root mean square over white noise at r = |lambda|, in theory
    "state": ("state h", lambda r: (1 / (1 - r**2)) ** 0.5),
    "derivative": ("∂h/∂|λ|", lambda r: ((1 + r**2) / (1 - r**2) ** 3) ** 0.5),
    "by_nu": ("normalised, ∂/∂ν", lambda r: -r * math.log(r) / (1 - r**2)),
    "by_theta": ("normalised, ∂/∂θ", lambda r: r * (1 + r**2) ** 0.5 / (1 - r**2)),
}
MODULI = [1 - 10 ** (-i / 4) for i in range(2, 13)]  # |lambda| from 0.68 to 0.999


def gradient_back(modulus: float, angles: torch.Tensor) -> list[float]:
    """Norms of the gradient with respect to the state, 0 to STEPS steps back, relative to the last state's."""
    lam = torch.polar(torch.full_like(angles, modulus), angles)  # (units,)
    h = [torch.zeros_like(lam).requires_grad_()]
    for _ in range(STEPS):
        h.append(lam * h[-1])  # inputs add to the state and leave its gradient alone
    norms = [float(g.abs().square().sum().sqrt()) for g in torch.autograd.grad(h[-1].real.sum(), h)]
    return [norm / norms[-1] for norm in reversed(norms)]


def measure(seed: int = SEED) -> dict:
    """Gradients back in time, and the sizes of the state and of its derivative, over many sequences."""
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * math.pi * torch.rand(UNITS, generator=generator, dtype=torch.float64)
    x = torch.randn(LENGTH, SEQUENCES, generator=generator)  # newest first, in float32 to save memory
    lags = torch.arange(LENGTH)

    def state(modulus: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """The last state, unrolled: the sum of lambda^k x_{T-k}; its real and its imaginary part."""
        size, turn = modulus**lags, (angles[:, None] + turned) * lags  # (T,), (units, T)
        return torch.stack([size * turn.cos(), size * turn.sin()]).float() @ x  # (2, units, sequences)

    def normalised(nu: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """The same over its own size, as a function of what the linear recurrent unit trains."""
        modulus = torch.exp(-nu.exp())
        return torch.sqrt(1 - modulus**2) * state(modulus, theta)

    m: dict = {key: [] for key in SIZES}
    zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for modulus in torch.tensor(MODULI, dtype=torch.float64):
        nu = (-modulus.log()).log()
        found = torch.func.jvp(state, (modulus, zero), (one, zero))  # h and its derivative
        found += tuple(torch.func.jvp(normalised, (nu, zero), along)[1] for along in ((one, zero), (zero, one)))
        for key, z in zip(SIZES, found, strict=True):
            m[key].append(float(z.double().square().sum(0).mean().sqrt()))
    for name, modulus in SHOWN.items():
        gradient, i = gradient_back(modulus, angles), MODULI.index(modulus)
        m[name] = {"gradient": gradient[::20], "left": gradient[-1]} | {key: m[key][i] for key in SIZES}
    return m


def errors(m: dict, key: str) -> list[float]:
    """Relative errors of theory, along the curve and at the moduli of the numbers."""
    _, theory = SIZES[key]
    sizes = [*zip(MODULI, m[key], strict=True), *((modulus, m[name][key]) for name, modulus in SHOWN.items())]
    return [abs(size / theory(modulus) - 1) for modulus, size in sizes]


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.22)
    back = list(range(0, STEPS + 1, 20))
    memory = [1 / (1 - modulus) for modulus in MODULI]
    for (name, modulus), role in zip(SHOWN.items(), ("vanishing", None, "healthy"), strict=True):
        line = {"name": f"|λ| = {modulus}", "mode": "lines", "meta": role}
        fig.add_scatter(x=back, y=m[name]["gradient"], **line, row=1, col=1)
    for key, (label, _) in SIZES.items():
        fig.add_scatter(x=memory, y=m[key], name=label, mode="markers", row=2, col=1)
    dashed = {"name": "theory", "mode": "lines", "meta": "theory"}
    for modulus in SHOWN.values():
        fig.add_scatter(x=back, y=[modulus**k for k in back], **dashed, row=1, col=1)
    for _, theory in SIZES.values():
        fig.add_scatter(x=memory, y=list(map(theory, MODULI)), **dashed, row=2, col=1)
    fig.update_xaxes(title="steps back", row=1, col=1)
    fig.update_xaxes(title="memory 1/(1 − |λ|), steps", type="log", row=2, col=1)
    fig.update_yaxes(title="‖∂L/∂h‖, relative", range=[-10, 0.5], row=1, col=1)  # 0.9 goes on to 1e-46
    return fig.update_yaxes(type="log").update_yaxes(title="root mean square", row=2, col=1)


def claim_gradient_is_lambda_to_the_k(m):
    """After 1000 steps exactly |λ|¹⁰⁰⁰ of the gradient is left: {at_0_9.left:.1e} at |λ| = 0.9, {at_0_99.left:.1e} at
    0.99 and {at_0_999.left:.2f} at 0.999."""
    for name, modulus in SHOWN.items():
        assert abs(m[name]["left"] / modulus**STEPS - 1) < 1e-9
        for i, value in enumerate(m[name]["gradient"]):
            assert abs(value / modulus ** (20 * i) - 1) < 1e-9


def claim_state_grows_with_memory(m):
    """Over white noise of variance 1 the state's root mean square is 1/√(1 − |λ|²): {at_0_9.state:.1f} at |λ| = 0.9 and
    {at_0_999.state:.1f} at 0.999."""
    assert all(error < 0.1 for error in errors(m, "state"))


def claim_sensitivity_outgrows_the_state(m):
    """The state's derivative with respect to |λ| grows faster than the state: from {at_0_9.derivative:.0f} at |λ| = 0.9
    to {at_0_99.derivative:.0f} at 0.99 and {at_0_999.derivative:.1e} at 0.999."""
    assert all(error < 0.1 for error in errors(m, "derivative"))


def claim_nu_takes_the_curse_off_the_modulus(m):
    """Divided by its size and trained by ν, the state reacts alike at any memory: {at_0_9.by_nu:.2f} at |λ| = 0.9 and
    {at_0_999.by_nu:.2f} at 0.999. To the angle it reacts the more strongly the longer the memory is:
    {at_0_9.by_theta:.0f} and {at_0_999.by_theta:.0f}."""
    assert all(error < 0.1 for error in errors(m, "by_nu") + errors(m, "by_theta"))
