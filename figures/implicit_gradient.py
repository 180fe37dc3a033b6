"""An implicit gradient grows to {pulled.at_0_999.size:.0f} times its size as an eigenvalue comes to 0.999.

A deep equilibrium layer (Bai, Kolter & Koltun 2019) answers with the fixed point of z = tanh(W z + x). With J = df/dz
there, the implicit function theorem gives dL/dx = D (I - J^T)^(-1) v, where D = diag(tanh') and v = dL/dz, and k
unrolled iterations give the first k terms of D (v + J^T v + (J^T)^2 v + ...), which converges where the spectral radius
rho of J is below 1.

The fixed point z* is chosen first, so that J can be: W = D^(-1) J and x = artanh(z*) - W z*. J is rho S, with S
symmetric and eigenvalues uniform between 0 and 1, the largest of them 1; v has as much along each of them. The control
is J = -rho S: the same spectral radius and singular values, and no eigenvalue near 1. Unrolled iterations start at z*,
so that nothing but the way back differs.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import rate

SEED = 0
REPLICAS = 3  # layers behind each band
UNITS = 64
RADII = [1 - 10 ** (-i / 2) for i in range(1, 7)]  # spectral radii, from 0.68 to 0.999
SHOWN = {"at_0_9": 0.9, "at_0_99": 0.99, "at_0_999": 0.999}  # whose numbers are cited
SIGNS = {"pulled": 1.0, "pushed": -1.0}  # of J
ENOUGH = 0.01  # relative error of an unrolled gradient
BEYOND = 1.5  # a radius at which iterating diverges
NUDGE = 1e-4  # of x, up and down


class Layer:
    """tanh(W z + x) with a fixed point z, the Jacobian J = radius * sign * S there, and a gradient v = dL/dz."""

    def __init__(self, radius: float, sign: float, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        Q = torch.linalg.qr(torch.randn(UNITS, UNITS, generator=g, dtype=torch.float64))[0]
        self.eigenvalues = radius * sign * torch.rand(UNITS, generator=g, dtype=torch.float64)
        self.eigenvalues[0] = radius * sign
        self.z = torch.tanh(torch.randn(UNITS, generator=g, dtype=torch.float64))
        self.v = Q @ torch.randn(UNITS, generator=g, dtype=torch.float64).sign()
        self.J = (Q * self.eigenvalues) @ Q.T
        self.W = self.J / (1 - self.z**2)[:, None]
        self.x = torch.atanh(self.z) - self.W @ self.z

    def implicit(self) -> tuple[Tensor, float]:
        """dL/dx by the implicit function theorem, and the size of what arrives at z over that of v."""
        at_z = torch.linalg.solve(torch.eye(UNITS, dtype=torch.float64) - self.J.T, self.v)
        return (1 - self.z**2) * at_z, float(at_z.norm() / self.v.norm())

    def unrolled(self, most: int) -> list[float]:
        """Relative errors of dL/dx through 1, 2, ... iterations, up to `most`, or until one is ENOUGH."""
        exact, _ = self.implicit()
        z, x = self.z.clone().requires_grad_(), self.x.clone().requires_grad_()
        after = torch.tanh(self.W @ z + x)
        found, back, errors = torch.zeros_like(exact), self.v, [math.inf]
        while len(errors) <= most and errors[-1] > ENOUGH:
            at_x, back = torch.autograd.grad(after, (x, z), back, retain_graph=True)
            found = found + at_x
            errors.append(float((found - exact).norm() / exact.norm()))
        return errors[1:]

    def solved(self, x: Tensor) -> Tensor:
        """The fixed point for another x, by Newton's method, which doesn't iterate the layer."""
        z = self.z
        for _ in range(5):
            after = torch.tanh(self.W @ z + x)
            jacobian = (1 - after**2)[:, None] * self.W
            z = z + torch.linalg.solve(torch.eye(UNITS, dtype=z.dtype) - jacobian, after - z)
        return z


def difference(layer: Layer, seed: int) -> float:
    """Relative error of the implicit gradient along a direction, beside the difference of two solved fixed points."""
    g = torch.Generator().manual_seed(seed)
    exact, _ = layer.implicit()
    along = exact / exact.norm() + torch.randn(UNITS, generator=g, dtype=torch.float64) / UNITS
    up, down = (layer.solved(layer.x + step * along) for step in (NUDGE, -NUDGE))
    return float((up - down) @ layer.v / (2 * NUDGE) / (exact @ along) - 1)


def measure(seed: int = SEED) -> dict:
    """Sizes of the implicit gradient and iterations to come near it, and both where iterating diverges."""
    seeds, m = derive_seeds(seed, REPLICAS), {}
    for name, sign in SIGNS.items():
        layers = [[Layer(radius, sign, s) for radius in RADII] for s in seeds]
        sizes = [[layer.implicit()[1] for layer in of_seed] for of_seed in layers]
        steps = [[len(layer.unrolled(10**5)) for layer in of_seed] for of_seed in layers]
        m[name] = {"sizes": band(sizes), "steps": band(steps)}
        m[name]["theory"] = [
            [float((1 / (1 - layer.eigenvalues) ** 2).mean().sqrt()) for layer in of_seed] for of_seed in layers
        ]
        m[name]["every_size"] = sizes
        for key, radius in SHOWN.items():
            i = min(range(len(RADII)), key=lambda i: abs(RADII[i] - radius))
            m[name][key] = {"size": m[name]["sizes"]["median"][i], "steps": m[name]["steps"]["median"][i]}
    layers = [Layer(BEYOND, -1.0, s) for s in seeds]
    m["differences"] = [difference(Layer(radius, -1.0, s), s) for s in seeds for radius in (0.9, BEYOND)]
    m["beyond"] = {
        "size": band([layer.implicit()[1] for layer in layers])["median"],
        "growth": band([1 / rate(layer.unrolled(60)[20:]) for layer in layers])["median"],  # of the error
    }
    return m


def draw(m: dict) -> go.Figure:
    """Over 1 / (1 - rho): above the size of the implicit gradient, below the iterations that come within 1% of it."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    away = [1 / (1 - radius) for radius in RADII]
    for name, label, role in (("pulled", "eigenvalue near 1", "exploding"), ("pushed", "near −1", "healthy")):
        fig.add_traces(band_traces(away, m[name]["sizes"], label, role), rows=1, cols=1)
        fig.add_traces(band_traces(away, m[name]["steps"], label, role), rows=2, cols=1)
    theory = [math.log(ENOUGH) / math.log(radius) for radius in RADII]
    fig.add_scatter(x=away, y=theory, name="log 0.01 / log ρ", mode="lines", meta="theory", row=2, col=1)
    fig.update_yaxes(title="‖(I − Jᵀ)⁻¹v‖ / ‖v‖", row=1, col=1)
    fig.update_yaxes(title="iterations<br>to within 1%", row=2, col=1)
    fig.update_xaxes(title="1/(1 − ρ)", row=2, col=1)
    return fig.update_xaxes(type="log").update_yaxes(type="log")


def claim_an_eigenvalue_near_one_makes_it_large(m):
    """With an eigenvalue of 0.9 the gradient grows to {pulled.at_0_9.size:.1f} times its size, of 0.99 to
    {pulled.at_0_99.size:.0f} times and of 0.999 to {pulled.at_0_999.size:.0f} times; theory says the same."""
    for low, key, high in ((2.3, "at_0_9", 4.5), (10.5, "at_0_99", 21), (105, "at_0_999", 155)):
        assert low < m["pulled"][key]["size"] < high
    for name in SIGNS:
        for sizes, theory in zip(m[name]["every_size"], m[name]["theory"], strict=True):
            for size, expected in zip(sizes, theory, strict=True):
                assert math.isclose(size, expected, rel_tol=1e-9)


def claim_the_radius_alone_does_not(m):
    """With the same spectral radius of 0.999 and an eigenvalue near -1 it is {pushed.at_0_999.size:.2f} times its size,
    little less than at 0.9, {pushed.at_0_9.size:.2f}, or at 0.99, {pushed.at_0_99.size:.2f}."""
    for key in SHOWN:
        assert 0.6 < m["pushed"][key]["size"] < 0.82


def claim_the_radius_sets_the_iterations(m):
    """To come within 1% takes {pulled.at_0_9.steps:.0f} unrolled iterations at a spectral radius of 0.9,
    {pulled.at_0_99.steps:.0f} at 0.99 and {pulled.at_0_999.steps:.0f} at 0.999, and with the other sign
    {pushed.at_0_9.steps:.0f}, {pushed.at_0_99.steps:.0f} and {pushed.at_0_999.steps:.0f}."""
    for key, radius in SHOWN.items():
        expected = math.log(ENOUGH) / math.log(radius)
        assert 0.7 * expected < m["pulled"][key]["steps"] < 1.1 * expected
        assert 0.4 * expected < m["pushed"][key]["steps"] < 0.72 * expected


def claim_beyond_one_the_implicit_gradient_is_there(m):
    """At a spectral radius of 1.5, with no eigenvalue near 1, the implicit gradient is {beyond.size:.2f} times its
    size and agrees with differences; the error of the unrolled one grows {beyond.growth:.2f} times per iteration."""
    assert 0.5 < m["beyond"]["size"] < 0.72
    assert math.isclose(m["beyond"]["growth"], BEYOND, rel_tol=0.02)
    assert all(abs(error) < 1e-6 for error in m["differences"])
