"""In five epochs eight sigmoid layers reach {accuracy.pretrained:.2f} if pretrained, and {accuracy.scratch:.2f} if not.

Greedy layer-wise pretraining, with autoencoders in place of restricted Boltzmann machines (Hinton, Osindero & Teh 2006;
Bengio et al. 2007): from the first layer to the last, each is trained alone, without labels, so that a second sigmoid
layer with the same weights, transposed, finds the layer's input x in 0..1 again,

    y = sigmoid(W x + b),    x' = sigmoid(W^T y + c),    loss = cross-entropy of x' against x,

10 epochs a layer by Adam at 0.01; then c is dropped, and the whole network is trained on labels, 5 epochs in batches of
64, by Adam and by gradient descent at five learning rates each. Classifiers of 8 x 8 digits, 8 hidden layers of 32
units, PyTorch's default weights to begin with. Guessing scores 0.10.

Two controls. *Shuffled*: the pretrained network with the entries of each matrix in random order, so that their scale
and the biases stay, and what the layers have learnt goes. *Linear decoder*: pretrained with x' = W^T y + c and the
squared error, everything else as before.
"""

import copy

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.experiments import OPTIMISERS, band, band_traces, best, derive_seeds, digits, sweep
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 3  # networks of each kind, at each learning rate
DEPTH = 8  # hidden layers
WIDTH = 32  # units in a layer
PIXELS = 64
PRETRAINING = {"epochs": 10, "rate": 0.01, "batch": 64}
SWEEP = {
    "rates": {"adam": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "sgd": [0.03, 0.1, 0.3, 1.0, 3.0]},
    "epochs": 5,
    "batch_size": 64,
}
KINDS = {
    "pretrained": ("pretrained", "healthy"),
    "linear": ("linear decoder", None),
    "shuffled": ("pretrained, shuffled", None),
    "scratch": ("random weights", "vanishing"),
}
WIDER = {
    "ratio.shuffled ratio.shuffled.lo ratio.shuffled.hi spread.shuffled spread.shuffled.lo spread.shuffled.hi "
    "ratio.scratch ratio.scratch.lo ratio.scratch.hi spread.scratch spread.scratch.lo spread.scratch.hi "
    "ratio.linear ratio.linear.lo ratio.linear.hi spread.linear spread.linear.lo spread.linear.hi": (
        5.0,
        "products over eight layers of 32 units",
    ),
    "accuracy.shuffled accuracy.shuffled.lo accuracy.shuffled.hi "
    "accuracy.linear accuracy.linear.lo accuracy.linear.hi": (3.0, "half-trained networks differ"),
}
TOLERANCE = {"accuracy": 0.3, "ratio": 0.3, "spread": 0.3, "scale": 0.1}


def build(seed: int) -> nn.Sequential:
    """A classifier of 8 x 8 images with PyTorch's default weights."""
    torch.manual_seed(seed)  # PyTorch's own initialisation takes no generator
    layers: list[nn.Module] = []
    for layer in range(DEPTH):
        layers += [nn.Linear(WIDTH if layer else PIXELS, WIDTH), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def pretrain(models: list[nn.Sequential], x: Tensor, decoder: str, seed: int) -> None:
    """Train the hidden layers of all models side by side, one after the other, to rebuild their inputs."""
    generator = torch.Generator().manual_seed(seed)
    h = x.expand(len(models), *x.shape)  # (models, images, inputs of the layer)
    for layer in range(DEPTH):
        linears = [model[2 * layer] for model in models]
        w = torch.stack([linear.weight.data for linear in linears]).requires_grad_()  # (models, WIDTH, inputs)
        b = torch.stack([linear.bias.data for linear in linears])[:, None].requires_grad_()
        c = torch.zeros(len(models), 1, h.shape[-1], requires_grad=True)
        optimiser = OPTIMISERS["adam"]([w, b, c], lr=PRETRAINING["rate"])
        for _ in range(PRETRAINING["epochs"]):
            for rows in torch.split(torch.randperm(len(x), generator=generator), PRETRAINING["batch"]):
                rebuilt = torch.sigmoid(h[:, rows] @ w.mT + b) @ w + c
                loss_of = F.binary_cross_entropy_with_logits if decoder == "sigmoid" else F.mse_loss
                optimiser.zero_grad()
                (loss_of(rebuilt, h[:, rows]) * len(models)).backward()
                optimiser.step()
        with torch.no_grad():
            h = torch.sigmoid(h @ w.mT + b)
        for linear, weight, bias in zip(linears, w.detach(), b.detach(), strict=True):
            linear.weight.data, linear.bias.data = weight.clone(), bias[0].clone()


def shuffle(model: nn.Sequential, seed: int) -> nn.Sequential:
    """A copy with the entries of each hidden matrix in random order."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    for linear in model[:-1:2]:
        w = linear.weight.data
        linear.weight.data = w.flatten()[torch.randperm(w.numel(), generator=generator)].view_as(w)
    return model


def before(model: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, float]:
    """Gradient w.r.t. pre-activations, first hidden layer over last; standard deviation over images of a unit in the
    last hidden layer, mean over units; fan-in times variance of the weights, mean over the layers above the first."""
    z, h = [], x
    for linear, phi in zip(model[:-1:2], model[1::2], strict=True):
        z.append(linear(h))  # (images, WIDTH)
        h = phi(z[-1])
    scales = [WIDTH * float(linear.weight.detach().var()) for linear in model[2:-1:2]]
    return {
        "ratio": ratio(norms_of_gradients(F.cross_entropy(model[-1](h), y), z)),
        "spread": float(h.detach().std(0).mean()),
        "scale": sum(scales) / len(scales),
    }


def measure(seed: int = SEED) -> dict:
    """Gradient, spread and scale before training on labels, and accuracy after it, of each kind."""
    x_train, y_train, x_test, y_test = digits()
    lowest, highest = x_train.min(), x_train.max()
    x_train, x_test = ((x - lowest) / (highest - lowest) for x in (x_train, x_test))  # 0..1
    seeds = derive_seeds(seed, REPLICAS)
    models = {kind: [build(s) for s in seeds] for kind in ("scratch", "pretrained", "linear")}
    pretrain(models["pretrained"], x_train, "sigmoid", seed)
    pretrain(models["linear"], x_train, "linear", seed)
    models["shuffled"] = [shuffle(model, s) for model, s in zip(models["pretrained"], seeds, strict=True)]
    m: dict = {"accuracy": {}, "ratio": {}, "spread": {}, "scale": {}, "swept": {}}
    for kind in KINDS:
        of_seed = dict(zip(seeds, models[kind], strict=True))
        found = band([before(copy.deepcopy(model).double(), x_train.double(), y_train) for model in models[kind]])
        for name, of_seeds in found.items():
            m[name][kind] = of_seeds
        data = x_train, y_train, x_test, y_test
        m["swept"][kind] = sweep(lambda s, of=of_seed: copy.deepcopy(of[s]), data, seeds=seeds, **SWEEP)
        m["accuracy"][kind] = best(m["swept"][kind])
    return m


def draw(m: dict) -> go.Figure:
    """Accuracy over the learning rate, of each kind by both optimisers."""
    fig = go.Figure()
    for optimiser, label in (("adam", "Adam"), ("sgd", "SGD")):
        for kind, (name, role) in KINDS.items():
            if optimiser == "adam" or kind == "pretrained":  # by SGD the others stay at chance
                swept = m["swept"][kind][optimiser]
                fig.add_traces(
                    band_traces(swept["rates"], swept, f"{label}, {name}", role if label == "Adam" else None)
                )
    fig.update_xaxes(title="learning rate", type="log")
    return fig.update_yaxes(title="accuracy on test images", range=[0, 1])


def claim_random_weights_stay_at_chance(m):
    """From random weights {ratio.scratch:.0e} of the gradient at the last hidden layer reaches the first, the last
    layer's units differ by {spread.scratch:.0e} between images, and at the best of ten learning rates the network
    scores {accuracy.scratch:.2f}."""
    assert 0.3 < m["scale"]["scratch"]["lo"] <= m["scale"]["scratch"]["median"] <= m["scale"]["scratch"]["hi"] < 0.36
    assert 7e-7 < m["ratio"]["scratch"]["lo"] <= m["ratio"]["scratch"]["median"] <= m["ratio"]["scratch"]["hi"] < 1.9e-6
    assert 2e-8 < m["spread"]["scratch"]["lo"] <= m["spread"]["scratch"]["median"]
    assert m["spread"]["scratch"]["median"] <= m["spread"]["scratch"]["hi"] < 1e-7
    assert 0.07 < m["accuracy"]["scratch"]["lo"] <= m["accuracy"]["scratch"]["median"]
    assert m["accuracy"]["scratch"]["median"] <= m["accuracy"]["scratch"]["hi"] < 0.14
    assert max(max(at["hi"]) for at in m["swept"]["scratch"].values()) < 0.25  # one network may find two classes


def claim_pretrained_it_trains(m):
    """Pretrained, the same network passes back {ratio.pretrained:.2f} of the gradient, its last hidden layer's units
    differ by {spread.pretrained:.2f} between images, and it reaches {accuracy.pretrained:.2f}."""
    assert 0.27 < m["ratio"]["pretrained"]["lo"] <= m["ratio"]["pretrained"]["median"]
    assert m["ratio"]["pretrained"]["median"] <= m["ratio"]["pretrained"]["hi"] < 0.52
    assert 0.23 < m["spread"]["pretrained"]["lo"] <= m["spread"]["pretrained"]["median"]
    assert m["spread"]["pretrained"]["median"] <= m["spread"]["pretrained"]["hi"] < 0.35
    assert 0.85 < m["accuracy"]["pretrained"]["lo"] <= m["accuracy"]["pretrained"]["median"]
    assert m["accuracy"]["pretrained"]["median"] <= m["accuracy"]["pretrained"]["hi"] <= 1


def claim_the_scale_alone_does_not_do_it(m):
    """Pretraining has raised fan-in × variance of the weights to {scale.pretrained:.1f}. With the same weights in
    random order, {scale.shuffled:.1f}, {ratio.shuffled:.0e} of the gradient is left, the last layer's units differ by
    {spread.shuffled:.0e}, and the network reaches {accuracy.shuffled:.2f}; by SGD it stays at chance."""
    assert 6.4 < m["scale"]["pretrained"]["lo"] <= m["scale"]["pretrained"]["median"]
    assert m["scale"]["pretrained"]["median"] <= m["scale"]["pretrained"]["hi"] < 9.8
    for end in ("lo", "median", "hi"):
        assert abs(m["scale"]["shuffled"][end] / m["scale"]["pretrained"][end] - 1) < 1e-4
    assert 0.002 < m["ratio"]["shuffled"]["lo"] <= m["ratio"]["shuffled"]["median"]
    assert m["ratio"]["shuffled"]["median"] <= m["ratio"]["shuffled"]["hi"] < 0.025
    assert 3e-4 < m["spread"]["shuffled"]["lo"] <= m["spread"]["shuffled"]["median"]
    assert m["spread"]["shuffled"]["median"] <= m["spread"]["shuffled"]["hi"] < 4e-3
    assert 0.12 < m["accuracy"]["shuffled"]["lo"] <= m["accuracy"]["shuffled"]["median"] < 0.65
    assert m["accuracy"]["shuffled"]["median"] <= m["accuracy"]["shuffled"]["hi"] < 0.8
    assert m["accuracy"]["shuffled"]["median"] < m["accuracy"]["pretrained"]["median"] - 0.2
    assert max(m["swept"]["shuffled"]["sgd"]["hi"]) < 0.15


def claim_not_any_autoencoder_will_do(m):
    """With a linear decoder the weights stay small ({scale.linear:.2f}), {ratio.linear:.0e} of the gradient is left,
    the last layer's units differ by {spread.linear:.0e}, and the network reaches {accuracy.linear:.2f}."""
    assert 0.38 < m["scale"]["linear"]["lo"] <= m["scale"]["linear"]["median"] <= m["scale"]["linear"]["hi"] < 0.58
    assert 1.2e-6 < m["ratio"]["linear"]["lo"] <= m["ratio"]["linear"]["median"] <= m["ratio"]["linear"]["hi"] < 6e-6
    assert 2e-7 < m["spread"]["linear"]["lo"] <= m["spread"]["linear"]["median"] <= m["spread"]["linear"]["hi"] < 2e-6
    assert 0.07 < m["accuracy"]["linear"]["lo"] <= m["accuracy"]["linear"]["median"]
    assert m["accuracy"]["linear"]["median"] <= m["accuracy"]["linear"]["hi"] < 0.35
