"""Weights 1.3 times too large turn 20 ReLU layers into NaN within two steps; clipping the gradient lets them train.

Handwritten digits, SGD. He's initialisation (sigma_w2 = 2) keeps a ReLU network's gradient level; weights 1.3 times as
large multiply it by 1.3 per layer going backward, and the activations by 1.3 going forward, so that the first step
throws the weights far away. Clipping rescales the gradient, over all weights together, to a norm of at most CLIP and
keeps its direction: no step is longer than LR x CLIP (Pascanu et al. 2013, section 3.2).
"""

import math
from itertools import pairwise

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import Data, band, band_traces, derive_seeds, digits, train, weight

SEED = 0
REPLICAS = 3  # networks, each trained with and without clipping
LAYERS = 20  # weight matrices
WIDTH = 64  # units
GAIN = 1.3  # factor on He's weights
LR = 0.1  # SGD's learning rate
CLIP = 1.0  # largest norm of the gradient, over all weights
EPOCHS = 30  # of 23 steps with 64 digits each
LOGGED = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 70, 100, 150, 220, 330, 480, 690]  # steps
WIDER = {"gradient_at_start": (5.0, "random networks of this depth and width differ by that much")}
TOLERANCE = {"accuracy": 0.1, "steps_clipped": 0.05}


def network(generator: torch.Generator) -> nn.Sequential:
    """LAYERS linear maps with ReLU between them and no biases, at GAIN times He's scale."""
    sizes = [64] + [WIDTH] * (LAYERS - 1) + [10]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layer = nn.Linear(fan_in, fan_out, bias=False)
        layer.weight.data = weight(fan_out, fan_in, 2 * GAIN**2, generator, torch.float32)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def run(data: Data, clip: float | None, epochs: int, seed: int) -> dict:
    """Train once; the loss and the gradient's norm over all weights, before clipping, at every step."""
    generator = torch.Generator().manual_seed(seed)
    model = network(generator)
    losses, norms = [], []

    def log(step: int, loss: torch.Tensor) -> None:
        losses.append(loss.item())
        norms.append(float(torch.stack([p.grad.double().norm() for p in model.parameters()]).norm()))

    result = train(model, data, epochs=epochs, lr=LR, generator=generator, optimiser="sgd", clip=clip, on_step=log)
    return {"loss": losses, "gradient": norms, "accuracy": result["test_accuracy"]}


def measure(seed: int = SEED) -> dict:
    """Losses and gradients of the clipped networks, and the step at which the others break."""
    seeds, data = derive_seeds(seed, REPLICAS), digits()
    free = [run(data, None, 1, s) for s in seeds]
    clipped = [run(data, CLIP, EPOCHS, s) for s in seeds]
    broken_at = [[math.isfinite(loss) for loss in [*r["loss"], math.nan]].index(False) + 1 for r in free]
    return {
        "free": [[str(loss) if not math.isfinite(loss) else loss for loss in r["loss"][:4]] for r in free],
        "broken_at_step": max(broken_at),
        "loss": band([[r["loss"][step - 1] for step in LOGGED] for r in clipped]),
        "gradient": band([[r["gradient"][step - 1] for step in LOGGED] for r in clipped]),
        "gradient_at_start": band([r["gradient"][0] for r in clipped])["median"],
        "steps_clipped": min(sum(norm > CLIP for norm in r["gradient"]) / len(r["gradient"]) for r in clipped),
        "accuracy": band([r["accuracy"] for r in clipped]),
    }


def draw(m: dict) -> go.Figure:
    """The loss above, the gradient that is clipped below, both on logarithmic axes."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for trace in band_traces(LOGGED, m["loss"], "clipped", meta="healthy"):
        fig.add_trace(trace, row=1, col=1)
    for i, losses in enumerate(m["free"]):
        finite = [loss for loss in losses if isinstance(loss, float)]
        end = ["" for _ in finite[1:]] + ["NaN next"]
        look = {"name": "not clipped", "legendgroup": "free", "showlegend": i == 0, "meta": "exploding"}
        fig.add_scatter(
            x=LOGGED[: len(finite)],
            y=finite,
            mode="lines+markers+text",
            text=end,
            textposition="middle right",
            **look,
            row=1,
            col=1,
        )
    for trace in band_traces(LOGGED, m["gradient"], "gradient before clipping"):
        fig.add_trace(trace, row=2, col=1)
    fig.add_scatter(x=LOGGED, y=[CLIP] * len(LOGGED), name="threshold", mode="lines", meta="reference", row=2, col=1)
    fig.update_xaxes(type="log")
    fig.update_xaxes(title="step", row=2, col=1)
    fig.update_yaxes(type="log", exponentformat="power")
    fig.update_yaxes(title="training loss", row=1, col=1)
    fig.update_yaxes(title="‖∂L/∂W‖, all weights", row=2, col=1)
    return fig


def claim_nan_within_two_steps(m):
    """Without clipping the loss is no longer a number from step {broken_at_step} on, after two updates."""
    finite = [sum(isinstance(loss, float) for loss in losses) for losses in m["free"]]
    assert m["broken_at_step"] == max(finite) + 1 <= 3


def claim_the_gradient_starts_large(m):
    """The gradient over all weights starts with a norm of {gradient_at_start:,.0f}."""
    assert 800 < m["gradient_at_start"] < 8000


def claim_clipping_lets_it_train(m):
    """With the gradient's norm clipped to 1 the same networks reach {accuracy:.2f} accuracy (chance is 0.10)."""
    assert 0.6 < m["accuracy"]["lo"] <= m["accuracy"]["median"] <= m["accuracy"]["hi"] <= 1


def claim_nearly_every_step_is_clipped(m):
    """Clipping is no rare emergency here: it shortens {steps_clipped:.1%} of the steps."""
    assert 0.8 < m["steps_clipped"] <= 1
