"""A sigmoid hands on at most {largest.sigmoid:.2f} of the gradient, and {mean.sigmoid:.3f} on average at unit variance.

The derivative phi' by autograd, and over pre-activations z drawn from N(0, 1) the mean of phi' and its root mean
square: times the weights' scale sigma_w, sqrt(E phi'(z)²) is the factor that one wide layer puts on the gradient's
norm. phi' alone is never the whole factor.
Poole et al. 2016 (arXiv 1606.05340); GELU: Hendrycks & Gimpel 2016 (arXiv 1606.08415); SELU: Klambauer et al. 2017
(arXiv 1706.02515).
"""

import math

import plotly.graph_objects as go
import torch

from vgdocs.theory import ACTIVATIONS, chi, derivative, gaussian_mean

SEED = 0
SAMPLES = 200_000  # draws of z from N(0, 1)
FINE = 120_001  # points on [-6, 6] where the largest slope is looked for; 0 is one of them
PLOTTED = 1250  # every so many of them are drawn
NAMES = [name for name in ACTIVATIONS if name != "linear"]
DRAWN = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU"}


def measure(seed: int = SEED) -> dict:
    """Slopes on a grid; the largest slope; mean and root mean square slope at unit variance."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(SAMPLES, generator=generator, dtype=torch.float64)
    x = torch.linspace(-6, 6, FINE, dtype=torch.float64)
    m: dict = {"x": x[::PLOTTED].tolist(), "slope": {}, "largest": {}, "mean": {}, "rms": {}}
    for name in NAMES:
        slope = derivative(ACTIVATIONS[name])  # elementwise, by autograd
        m["slope"][name] = slope(x)[::PLOTTED].tolist()
        m["largest"][name] = slope(x).max().item()
        m["mean"][name] = slope(z).mean().item()
        m["rms"][name] = slope(z).square().mean().sqrt().item()
    return m


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    for name, label in DRAWN.items():  # without leaky ReLU and ELU, which lie close to these
        shape = "vh" if name == "relu" else "linear"  # ReLU's slope jumps
        fig.add_scatter(x=m["x"], y=m["slope"][name], name=label, mode="lines", line={"shape": shape})
    return fig.update_xaxes(title="pre-activation z").update_yaxes(title="derivative of the activation, φ′(z)")


def claim_largest_slopes(m):
    """The largest slope is {largest.sigmoid:.2f} for sigmoid, {largest.tanh:.0f} for tanh and ReLU,
    {largest.gelu:.2f} for GELU, {largest.silu:.2f} for SiLU and {largest.selu:.2f} for SELU."""
    known = {"sigmoid": 1 / 4, "tanh": 1, "relu": 1, "leaky_relu": 1, "elu": 1, "silu": 1.0998393}
    known["gelu"] = (1 + math.erf(1)) / 2 + math.exp(-1) / math.sqrt(math.pi)  # at z = sqrt(2)
    known["selu"] = 1.0507009873554805 * 1.6732632423543772  # scale x alpha, as z rises to 0
    for name in NAMES:
        assert math.isclose(m["largest"][name], known[name], rel_tol=1e-6), name


def claim_sigmoid_averages_a_fifth(m):
    """With pre-activations of unit variance sigmoid's slope is {mean.sigmoid:.3f} on average, tanh's
    {mean.tanh:.3f}: a sigmoid loses gradient by its slope long before it saturates."""
    assert 0.20 < m["mean"]["sigmoid"] < 0.215
    assert 0.59 < m["mean"]["tanh"] < 0.62


def claim_relu_passes_half(m):
    """ReLU passes all or nothing: {mean.relu:.2f} on average, {rms.relu:.3f} in the root mean square."""
    assert abs(m["mean"]["relu"] - 1 / 2) < 0.01
    assert abs(m["rms"]["relu"] - math.sqrt(1 / 2)) < 0.01


def claim_averages_are_gaussian_integrals(m):
    """Mean and root mean square slope agree with the integral over the normal density within 1%."""
    for name in NAMES:
        slope = derivative(ACTIVATIONS[name])
        assert math.isclose(m["mean"][name], gaussian_mean(slope, 1.0), rel_tol=0.01), name
        assert math.isclose(m["rms"][name], math.sqrt(chi(ACTIVATIONS[name], 1.0, 1.0)), rel_tol=0.01), name
