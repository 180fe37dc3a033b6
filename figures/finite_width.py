"""He's scale holds the gradient only on average: a typical net of width 32 keeps {typical.width_32:.0e} in 200 layers.

200 layers z_l = W_l relu(z_l-1), W of variance 2 / n, one input. Each layer multiplies the squared norm of dL/dz by
(2/n) x a chi-squared variable with k degrees of freedom, where k, the number of active units, is binomial(n, 1/2).
That factor is 1 on average, but its logarithm is below 0 on average, about -5 / (2n), and varies by about 5 / n. So
after L layers the typical norm is about exp(-5L / (4n)), and single networks lie far apart: few and large ones
make up the mean. Depth and width enter as L / n, so width in proportion to depth holds it; measured at one depth.
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
WIDTHS = {"width_32": 32, "width_64": 64, "width_128": 128}  # units per layer
DRAWN = 5  # every so many layers
WIDER = {
    "typical.width_32": (40.0, "the median of thirty networks that differ by powers of ten"),
    "typical.width_64": (10.0, "the median of thirty networks that differ by powers of ten"),
    "typical.width_128": (5.0, "the median of thirty networks that differ by a power of ten"),
    "log_variance.width_32 log_variance.width_64 log_variance.width_128": (3.0, "the variance of thirty values"),
}


def gradient_norms(width: int, seed: int, device: str) -> list[float]:
    """Norms of dL/dz, last layer to first, over that of the last."""
    generator = torch.Generator().manual_seed(seed)
    h, v = torch.randn(2, 1, width, generator=generator, dtype=torch.float64).to(device)  # (1, width)
    z = []
    for _ in range(DEPTH):
        W = weight(width, width, "he", generator, torch.float32).to(device).double()  # drawn in float32: twice as fast
        z.append((h @ W.T).requires_grad_())
        h = torch.relu(z[-1])
    norms = norms_of_gradients((h * v).sum(), z)
    return [norm / norms[-1] for norm in reversed(norms)]


def measure(seed: int = SEED, device: str = "cpu") -> dict:
    """By width: the profile of the gradient, its typical value at the first layer and its spread over networks."""
    m: dict = {"profile": {}, "typical": {}, "log_variance": {}}
    for key, width in WIDTHS.items():
        profiles = [gradient_norms(width, s, device) for s in derive_seeds(seed, REPLICAS)]
        m["profile"][key] = band([profile[::DRAWN] for profile in profiles])
        m["typical"][key] = statistics.median(profile[-1] for profile in profiles)
        m["log_variance"][key] = statistics.variance(2 * math.log(profile[-1]) for profile in profiles)
    return m


def mean_log_factor(width: int) -> float:
    """Mean logarithm of a layer's factor on the norm: E log(2/n chi²_k) / 2, k binomial; about -5 / (4n)."""
    k = torch.arange(1, width + 1, dtype=torch.float64)
    binomial = torch.tensor([math.comb(width, int(active)) / 2**width for active in k], dtype=torch.float64)
    return float((binomial * (torch.digamma(k / 2) + math.log(4 / width))).sum() / 2)


def draw(m: dict) -> go.Figure:
    fig, back = go.Figure(), list(range(0, DEPTH, DRAWN))
    for key, width in WIDTHS.items():
        fig.add_traces(band_traces(back, m["profile"][key], f"width {width}"))
    for width in WIDTHS.values():
        y = [math.exp(steps * mean_log_factor(width)) for steps in back]
        fig.add_scatter(x=back, y=y, name="theory", mode="lines", meta="theory")
    fig.update_yaxes(title="‖∂L/∂z‖ relative to the last layer", type="log")
    return fig.update_xaxes(title="layers gone back from the last")


def claim_typical_gradient_falls_with_depth_over_width(m):
    """Of the gradient over 200 layers at He's scale the median network keeps {typical.width_32:.0e} at width 32,
    {typical.width_64:.2f} at 64 and {typical.width_128:.2f} at 128: about exp(-5L / (4n))."""
    steps = DEPTH - 1
    for key, width in WIDTHS.items():
        # a median's standard error is 1.25 standard deviations over the root of the sample's size
        error = 1.25 * math.sqrt(5 * steps / width) / 2 / math.sqrt(REPLICAS)
        assert abs(math.log(m["typical"][key]) - steps * mean_log_factor(width)) < 3.5 * error, key
        assert math.isclose(mean_log_factor(width), -5 / (4 * width), rel_tol=0.06)
    assert m["typical"]["width_32"] < 0.02
    assert m["typical"]["width_32"] < m["typical"]["width_64"] < m["typical"]["width_128"]


def claim_spread_grows_with_depth_over_width(m):
    """The logarithm of the squared gradient varies by {log_variance.width_32:.0f} between networks of width 32 and by
    {log_variance.width_128:.1f} at 128: about 5L / n."""
    for key, width in WIDTHS.items():
        assert 0.4 < m["log_variance"][key] / (5 * (DEPTH - 1) / width) < 2.2, key
    assert m["log_variance"]["width_32"] > m["log_variance"]["width_128"]
