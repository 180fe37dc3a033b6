"""He's scale holds the gradient only on average: a typical net of width 32 keeps {typical.width_32:.0e} in 200 layers.

200 layers z_l = W_l relu(z_l-1), W of variance 2 / n, one input. Each layer multiplies the squared norm of dL/dz by
(2/n) x a chi-squared variable with k degrees of freedom, where k, the number of active units, is binomial(n, 1/2).
That factor is 1 on average, but its logarithm is below 0 on average, about -5 / (2n), and varies by about 5 / n. So
after L layers the typical norm is about exp(-5L / (4n)), and single networks lie far apart: few and large ones
make up the mean. Width in proportion to depth is the cure.
Hanin 2018 (arXiv 1801.03744): the spread grows exponentially with the sum of 1/n over the layers.
"""

import math
import statistics

import plotly.graph_objects as go
import torch

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 30  # networks of each width
DEPTH = 200  # layers
WIDTHS = [32, 64, 128]  # units per layer
DRAWN = 5  # every so many layers
WIDER = {
    "typical.width_32": (40.0, "the median of thirty networks that differ by powers of ten"),
    "typical.width_64": (10.0, "the median of thirty networks that differ by powers of ten"),
    "typical.width_128": (5.0, "the median of thirty networks that differ by a power of ten"),
    "log_variance.width_32": (3.0, "the variance of thirty values"),
    "log_variance.width_64": (3.0, "the variance of thirty values"),
    "log_variance.width_128": (3.0, "the variance of thirty values"),
}


def gradient_norms(width: int, seed: int, device: str) -> list[float]:
    """Norms of dL/dz, first layer to last, over that of the last."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, 1, width, generator=generator, dtype=torch.float64).to(device)  # (1, width)
    z = []
    for _ in range(DEPTH):
        W = weight(width, width, "he", generator, torch.float32).to(device).double()  # drawn in float32: twice as fast
        z.append((h @ W.T).requires_grad_())
        h = torch.relu(z[-1])
    norms = norms_of_gradients((h * v).sum(), z)
    return [norm / norms[-1] for norm in norms]


def measure(seed: int = SEED, device: str = "cpu") -> dict:
    """By width: the profile of the gradient, its typical value at the first layer and its spread over networks."""
    m: dict = {"profile": {}, "typical": {}, "log_variance": {}}
    for width in WIDTHS:
        profiles = [gradient_norms(width, s, device) for s in derive_seeds(seed, REPLICAS)]
        first = [profile[0] for profile in profiles]
        m["profile"][f"width_{width}"] = band([profile[::-1][::DRAWN] for profile in profiles])  # last layer first
        m["typical"][f"width_{width}"] = statistics.median(first)
        m["log_variance"][f"width_{width}"] = statistics.variance(2 * math.log(ratio) for ratio in first)
    return m


def mean_log_factor(width: int) -> float:
    """Mean logarithm of a layer's factor on the norm: E log(2/n chi²_k) / 2, k binomial; about -5 / (4n)."""
    k = torch.arange(1, width + 1, dtype=torch.float64)
    n = torch.tensor(float(width), dtype=torch.float64)
    log_binomial = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1) - n * math.log(2)
    return float((log_binomial.exp() * (torch.digamma(k / 2) + math.log(4 / width))).sum() / 2)


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    back = list(range(0, DEPTH, DRAWN))
    for width in WIDTHS:
        fig.add_traces(band_traces(back, m["profile"][f"width_{width}"], f"width {width}"))
    for width in WIDTHS:
        y = [math.exp(steps * mean_log_factor(width)) for steps in back]
        fig.add_scatter(
            x=back, y=y, name="theory", mode="lines", meta="theory", legendgroup="theory", showlegend=width == 32
        )
    fig.update_xaxes(title="layers gone back from the last")
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log", exponentformat="power")
    return fig


def claim_typical_gradient_falls_with_depth_over_width(m):
    """Of the gradient over 200 layers at He's scale the median network keeps {typical.width_32:.0e} at width 32,
    {typical.width_64:.2f} at 64 and {typical.width_128:.2f} at 128: about exp(-5L / (4n))."""
    steps = DEPTH - 1
    for width in WIDTHS:
        # a median's standard error is 1.25 standard deviations over the root of the sample's size
        error = 1.25 * math.sqrt(5 * steps / width) / 2 / math.sqrt(REPLICAS)
        distance = math.log(m["typical"][f"width_{width}"]) - steps * mean_log_factor(width)
        assert abs(distance) < 3.5 * error, width
        assert math.isclose(mean_log_factor(width), -5 / (4 * width), rel_tol=0.06)
    assert m["typical"]["width_32"] < 0.02
    assert m["typical"]["width_32"] < m["typical"]["width_64"] < m["typical"]["width_128"]


def claim_spread_grows_with_depth_over_width(m):
    """The logarithm of the squared gradient varies by {log_variance.width_32:.0f} between networks of width 32 and by
    {log_variance.width_128:.1f} at 128: about 5L / n."""
    for width in WIDTHS:
        share = m["log_variance"][f"width_{width}"] / (5 * (DEPTH - 1) / width)
        assert 0.4 < share < 2.2, width
