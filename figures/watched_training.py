"""After {steps} steps of Adam the first of twenty sigmoid layers gets {sigmoid.end:.0e} of the output layer's gradient.

The two networks that the page "Watch it train" opens with, by the very program that it hands over: twenty layers of 32
and an output layer read the digits, the same batches of 64, in float64; sigmoids with PyTorch's weights and biases, or
ReLUs with He's. At each step, before the update, the Frobenius norm of the loss's gradient with respect to each layer's
weights. A sigmoid's slope is at most a quarter, and PyTorch's weights are too small for any usual
activation (Hochreiter & Schmidhuber 1997, section 3.1; Glorot & Bengio 2010, section 4.2).
"""

import math
import statistics
from itertools import islice

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vgdocs.explorer import train

SEED = 0  # of the page's own networks
STEPS = 300
LAST = 20  # steps, over which what is told of the end is averaged
EVERY = 10  # steps between two points of the drawn loss
LINKS = {  # to the page
    "sigmoid": "optimizer=adam&seed={seed}",
    "relu": "optimizer=adam&activation=relu&init=he&seed={seed}",
}
SWEEP = {"reason": "each training is told for itself, at the one setting that the page opens with"}

TOLERANCE = {"sigmoid": 0.05, "relu": 0.5}  # twenty layers of ReLUs follow the rounding
WIDER = {
    "sigmoid.start sigmoid.end": (60.0, "a product over twenty layers of 32 units"),
    "relu.start relu.end": (12.0, "a product over twenty layers of 32 units"),
    "relu.loss": (20.0, "a network in the midst of its training"),
}


def measure(seed: int = SEED) -> dict:
    """Both trainings' losses and gradients."""
    measured, drawn = {}, {}
    for name, link in LINKS.items():
        lines = list(islice(train.train(train.parse(link.format(seed=seed))), STEPS))
        ratios = [line["gradients"][0] / line["gradients"][-1] for line in lines]
        measured[name] = {
            "start": ratios[0],
            "end": statistics.geometric_mean(ratios[-LAST:]),
            "loss": statistics.mean(line["loss"] for line in lines[-LAST:]),
        }
        drawn[name] = {
            "first": lines[0]["gradients"],
            "last": lines[-1]["gradients"],
            "loss": [line["loss"] for line in lines[::EVERY]],
        }
    return {"steps": STEPS, **measured, "drawn": drawn}


def draw(m: dict) -> go.Figure:
    fig = make_subplots(cols=2, column_widths=[0.55, 0.45], horizontal_spacing=0.16)
    for name, title, role in (("sigmoid", "sigmoid", "vanishing"), ("relu", "ReLU, He", "healthy")):
        its = m["drawn"][name]
        layers = list(range(1, len(its["last"]) + 1))
        for when, at in (("last", f"step {m['steps'] - 1}"), ("first", "step 0")):
            fig.add_scatter(x=its[when], y=layers, name=f"{title}, {at}", mode="lines+markers", meta=role)
        steps = list(range(0, m["steps"], EVERY))
        fig.add_scatter(x=steps, y=its["loss"], name=f"{title}, loss", mode="lines", meta=role, row=1, col=2)
    fig.update_xaxes(title_text="norm of ∂L/∂W", type="log", col=1)
    fig.update_yaxes(title_text="layer, the output on top", col=1)
    fig.update_xaxes(title_text="step", col=2)
    fig.update_yaxes(title_text="loss of the batch", rangemode="tozero", col=2)
    return fig


def claim_the_first_layer_of_sigmoids_gets_next_to_nothing(m):
    """The first sigmoid layer gets {sigmoid.start:.0e} of the output layer's gradient, at the end {sigmoid.end:.0e}."""
    for when in ("start", "end"):
        assert 5e-19 < m["sigmoid"][when] < 1e-15


def claim_its_loss_stays_where_guessing_leaves_it(m):
    """In {steps} steps the loss of the sigmoid network comes to {sigmoid.loss:.2f}, which is what guessing costs."""
    assert m["steps"] == STEPS
    assert abs(m["sigmoid"]["loss"] - math.log(10)) < 0.03


def claim_the_gradient_reaches_the_first_layer_of_relus(m):
    """The first layer of ReLUs gets {relu.start:.1f} times the output layer's gradient, {relu.end:.1f} at the end."""
    for when in ("start", "end"):
        assert 0.3 < m["relu"][when] < 20


def claim_and_that_network_learns(m):
    """Within {steps} steps its loss is down to {relu.loss:.2f}."""
    assert 0.02 < m["relu"]["loss"] < 1.2
