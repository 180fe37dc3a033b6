"""A setting as a plain PyTorch script: `{{name}}` stands for an entry of FILLINGS or for a number of the setting.

Template and fillings are data, because the page fills in the same ones.
"""

from vgdocs.explorer.model import EPS, SEEDS, Setting

SNIPPET = """\
import math

import torch
import torch.nn.functional as F

torch.manual_seed({{seed}})
torch.set_default_dtype(torch.float64)  # float32 underflows where a gradient vanishes
WIDTH, BATCH, DEPTH = {{width}}, {{batch}}, {{depth}}
SIGMA_W = {{sigma_w2}}**0.5  # fan-in x weight variance, and its root


def weight():
    return {{family}}


def norm(z):
    return {{norm}}


def phi(z):
    return {{activation}}


x, v = torch.randn(BATCH, WIDTH), torch.randn(BATCH, WIDTH)
h, watched = x.requires_grad_(), []
for _ in range(DEPTH):
    {{skip}}

gradients = torch.autograd.grad((h * v).sum(), watched)
sizes = [g.abs().max() for g in gradients]  # taken out of the norm, whose squares could underflow or overflow
norms = torch.stack([size * (g / size).norm() for g, size in zip(gradients, sizes)])

layers = torch.arange(math.ceil(DEPTH / 6), DEPTH - 1)  # counted from 1: ceil(L/6) to L - 2
t = layers - layers.double().mean()
rate = torch.exp(-(t * norms.log()[layers - 1]).sum() / (t * t).sum())
print(f"rate  {rate.item():.10g} per layer going backward")
print(f"ratio {(norms[0] / norms[-1]).item():.10g} first layer over last")
"""
BRANCH = "phi(norm(SIGMA_W * h @ weight().T)) @ weight().T"
FILLINGS = {
    "activation": {
        "linear": "z",
        **{name: f"torch.{name}(z)" for name in ("sigmoid", "tanh", "relu")},
        **{name: f"F.{name}(z)" for name in ("leaky_relu", "elu", "selu", "gelu", "silu")},
    },
    "family": {
        "gaussian": "torch.randn(WIDTH, WIDTH) / WIDTH**0.5",
        "orthogonal": "torch.nn.init.orthogonal_(torch.empty(WIDTH, WIDTH))",
    },
    "norm": {
        "none": "z",
        "batch": f"F.batch_norm(z, None, None, training=True, eps={EPS})",
        "layer": f"F.layer_norm(z, (WIDTH,), eps={EPS})",
        "rms": f"F.rms_norm(z, (WIDTH,), eps={EPS})",
    },
    "skip": {
        "none": "z = norm(SIGMA_W * h @ weight().T)\n    h = phi(z)\n    watched.append(z)",
        "residual": f"h = h + SIGMA_W * {BRANCH}\n    watched.append(h)",
        "scaled": f"h = h + SIGMA_W / DEPTH**0.5 * {BRANCH}\n    watched.append(h)",
        "prenorm": "h = h + SIGMA_W * phi(SIGMA_W * norm(h) @ weight().T) @ weight().T\n    watched.append(h)",
    },
}


def snippet(setting: Setting) -> str:
    """A plain PyTorch script that measures this setting for the first seed and prints its rate and its ratio."""
    values = vars(setting) | {"sigma_w2": f"{setting.sigma_w2!r}".removesuffix(".0"), "seed": SEEDS[0]}
    script = SNIPPET
    for name, value in values.items():
        script = script.replace(f"{{{{{name}}}}}", str(FILLINGS.get(name, {}).get(value, value)))
    return script
