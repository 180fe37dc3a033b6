"""The mean of a hundred dice strays from its expectation by {spread.of_100:.2f}, a tenth of what one die does.

The mean of n throws of a fair die is taken many times; how far it strays is the standard deviation of these means.
Throws are independent, and one has the variance 35/12, so that it is sqrt(35/12) / sqrt(n).
"""

import math

import numpy as np
import plotly.graph_objects as go

SEED = 0
MEANS = 2000  # for each n
THROWS = [1, 3, 10, 30, 100]  # n


def measure(seed: int = SEED) -> dict:
    """Standard deviation of the mean of n throws, by n."""
    dice = np.random.default_rng(seed)
    return {"spread": {f"of_{n}": float(dice.integers(1, 7, (MEANS, n)).mean(axis=1).std()) for n in THROWS}}


def theory(n: int) -> float:
    return math.sqrt(35 / 12 / n)


def draw(m: dict) -> go.Figure:
    fig = go.Figure()
    fig.add_scatter(x=THROWS, y=[m["spread"][f"of_{n}"] for n in THROWS], name="measured", mode="markers")
    fig.add_scatter(x=THROWS, y=[theory(n) for n in THROWS], name="theory", mode="lines", meta="theory")
    fig.update_xaxes(title="throws n", type="log", tickvals=THROWS)
    return fig.update_yaxes(title="standard deviation of their mean, pips", type="log")


def claim_the_spread_falls_with_the_root_of_n(m):
    """One throw strays by {spread.of_1:.2f}, the mean of ten by {spread.of_10:.2f}, of a hundred by
    {spread.of_100:.2f}: less by the square root of their number."""
    for n in THROWS:
        assert abs(m["spread"][f"of_{n}"] / theory(n) - 1) < 0.1
