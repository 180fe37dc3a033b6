"""Sick and healthy networks of every family: the verdict names each sickness, and accuses no healthy one."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import Calls
from torch import nn

from vgdocs.probe import Probe, Verdict, diagnose

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed > 1 else []) for seed in range(10)]
STEPS = 2
CLASSES = 10
SICK: dict[str, tuple[Callable[[], nn.Module], str, str]] = {}  # name: (network, symptom, cause)
HEALTHY: dict[str, Callable[[], nn.Module]] = {}


def sick(symptom: str, cause: str):
    def enter(make):
        SICK[make.__name__] = (make, symptom, cause)
        return make

    return enter


def healthy(make):
    HEALTHY[make.__name__] = make
    return make


class Last(nn.Module):
    """A recurrent layer whose last output is read: (batch, time, features) -> (batch, classes)."""

    def __init__(self, recurrent: nn.RNNBase, time: int = 20):
        super().__init__()
        self.recurrent, self.head, self.time = recurrent, nn.Linear(recurrent.hidden_size, CLASSES), time

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


class Residual(nn.Module):
    """x + scale * branch(x)."""

    def __init__(self, branch: nn.Module, scale: float = 1.0):
        super().__init__()
        self.branch, self.scale = branch, scale

    def forward(self, x):
        return x + self.scale * self.branch(x)


def he(model: nn.Module, gain: float = 2**0.5) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=gain / module.weight[0].numel() ** 0.5)
            nn.init.zeros_(module.bias)
    return model


def mlp(
    depth: int, activation: Callable[[], nn.Module], width: int = 64, norm: Callable[[int], nn.Module] | None = None
):
    layers: list[nn.Module] = []
    for fan_in in [32, *[width] * (depth - 1)]:
        layers += [nn.Linear(fan_in, width), *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def branch(width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


@sick("vanishing", "activation")
def deep_sigmoid():
    return mlp(20, nn.Sigmoid)


@sick("vanishing", "activation")
def deep_sigmoid_with_lecuns_weights():
    return he(mlp(20, nn.Sigmoid), gain=1.0)


@sick("vanishing", "activation")
def sigmoid_called_as_a_function():
    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)

    layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(20))
    return Calls(forward, layers=layers, head=nn.Linear(32, CLASSES))


@sick("vanishing", "activation")
def sigmoid_with_layer_norm():
    return mlp(20, nn.Sigmoid, norm=nn.LayerNorm)


@sick("vanishing", "initialisation")
def deep_relu_as_pytorch_draws_it():
    return mlp(30, nn.ReLU)


@sick("vanishing", "initialisation")
def deep_tanh_as_pytorch_draws_it():
    return mlp(30, nn.Tanh)


@sick("vanishing", "initialisation")
def deep_gelu_as_pytorch_draws_it():
    return mlp(20, nn.GELU)


@sick("vanishing", "initialisation")
def deep_cnn_as_pytorch_draws_it():
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    for _ in range(24):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(nn.Unflatten(1, (1, 8, 4)), *layers, nn.Flatten(), nn.Linear(16 * 32, CLASSES))


@sick("vanishing", "recurrence")
def rnn_over_many_steps():
    return Last(nn.RNN(8, 32, batch_first=True), time=50)


@sick("vanishing", "recurrence")
def lstm_over_many_steps():
    return Last(nn.LSTM(8, 32, batch_first=True), time=60)


@sick("vanishing", "recurrence")
def gru_over_many_steps():
    return Last(nn.GRU(8, 32, batch_first=True), time=60)


@sick("vanishing", "forget gate")
def lstm_with_a_closed_forget_gate():
    lstm = nn.LSTM(8, 32, batch_first=True)
    lstm.bias_ih_l0.data[32:64] = -3.0
    return Last(lstm, time=20)


@sick("exploding", "recurrence")
def relu_rnn_with_a_large_matrix():
    rnn = nn.RNN(8, 32, nonlinearity="relu", batch_first=True)
    nn.init.eye_(rnn.weight_hh_l0)
    rnn.weight_hh_l0.data *= 1.2
    return Last(rnn, time=50)


@sick("exploding", "gain")
def relu_with_twice_hes_weights():
    return he(mlp(30, nn.ReLU), gain=2.0)


@sick("exploding", "batch normalisation")
def batch_norm_without_skips():
    return he(mlp(40, nn.ReLU, norm=nn.BatchNorm1d))


@sick("exploding", "unscaled residuals")
def residuals_without_scale():
    return nn.Sequential(nn.Linear(32, 64), *[Residual(he(branch())) for _ in range(40)], nn.Linear(64, CLASSES))


@sick("dead units", "dead ReLUs")
def dead_relus():
    model = he(mlp(4, nn.ReLU))
    nn.init.constant_(model[4].bias, -10.0)
    return model


@sick("saturation", "saturation")
def saturated_sigmoid():
    return he(mlp(4, nn.Sigmoid), gain=30.0)


@sick("saturation", "saturation")
def saturated_tanh():
    return he(mlp(4, nn.Tanh), gain=20.0)


@sick("non-finite", "logarithm of zero")
def a_logarithm_of_zero():
    log = Calls(lambda self, x: torch.log(x.relu()))
    return nn.Sequential(nn.Linear(32, 32), log, nn.Linear(32, CLASSES))


@sick("no gradient", "not connected")
def a_detached_half():
    parts = {"below": nn.Linear(32, 32), "above": nn.Linear(32, CLASSES)}
    return Calls(lambda self, x: self.above(self.below(x).detach()), **parts)


@healthy
def shallow_mlp_as_pytorch_draws_it():
    return mlp(3, nn.ReLU)


@healthy
def relu_with_hes_weights():
    return he(mlp(30, nn.ReLU, width=128))


@healthy
def shallow_sigmoid():
    return mlp(2, nn.Sigmoid)


@healthy
def orthogonal_tanh():
    model = mlp(50, nn.Tanh)
    for module in model[:-1]:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight)
            nn.init.zeros_(module.bias)
    return model


@healthy
def tanh_with_lecuns_weights():
    return he(mlp(20, nn.Tanh), gain=1.0)


@healthy
def relu_with_layer_norm():
    return he(mlp(30, nn.ReLU, norm=nn.LayerNorm))


@healthy
def shallow_batch_norm():
    return mlp(6, nn.ReLU, norm=nn.BatchNorm1d)


@healthy
def sigmoid_with_batch_norm():
    return mlp(30, nn.Sigmoid, norm=nn.BatchNorm1d)


@healthy
def scaled_residuals():
    blocks = [Residual(he(branch()), scale=40**-0.5) for _ in range(40)]
    return nn.Sequential(nn.Linear(32, 64), *blocks, nn.Linear(64, CLASSES))


@healthy
def pre_norm_residuals():
    blocks = [Residual(nn.Sequential(nn.LayerNorm(64), *he(branch()))) for _ in range(25)]
    return nn.Sequential(nn.Linear(32, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, CLASSES))


@healthy
def residuals_that_start_at_zero():
    blocks = [Residual(he(branch())) for _ in range(40)]
    for block in blocks:
        nn.init.zeros_(block.branch[2].weight)
    return nn.Sequential(nn.Linear(32, 64), *blocks, nn.Linear(64, CLASSES))


class ConvBlock(nn.Module):
    """Two normalised convolutions and a skip, as in He et al. 2016, figure 4e."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(channels, channels * stride, 3, stride, 1)
        self.second = nn.Conv2d(channels * stride, channels * stride, 3, 1, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels * stride)])
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(channels, channels * stride, 1, stride)

    def forward(self, x):
        h = self.first(F.relu(self.norms[0](x)))
        return self.skip(x) + self.second(F.relu(self.norms[1](h)))


@healthy
def residual_cnn():
    blocks = [ConvBlock(*sizes) for sizes in ((8,), (8,), (8, 2), (16,), (16, 2), (32,), (32,))]
    pool = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 4)), nn.Conv2d(1, 8, 3, padding=1), *blocks, pool, nn.Linear(32, CLASSES)
    )


@healthy
def small_cnn_as_pytorch_draws_it():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 4)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(32 * 8, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, CLASSES),
    )


class Tokens(nn.Module):
    """A Transformer's encoder over eight tokens of four features, read at the mean."""

    def __init__(self, norm_first: bool, layers: int = 6):
        super().__init__()
        block = nn.TransformerEncoderLayer(32, 4, 64, norm_first=norm_first, batch_first=True)
        self.embed, self.head = nn.Linear(4, 32), nn.Linear(32, CLASSES)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x.unflatten(1, (8, 4)))).mean(1))


@healthy
def pre_norm_transformer():
    return Tokens(norm_first=True)


@healthy
def post_norm_transformer():
    return Tokens(norm_first=False)


@healthy
def deep_pre_norm_transformer():
    return Tokens(norm_first=True, layers=16)


@healthy
def short_rnn():
    return Last(nn.RNN(8, 32, batch_first=True), time=10)


@healthy
def lstm_with_an_open_forget_gate():
    lstm = nn.LSTM(8, 32, batch_first=True)
    for name, bias in lstm.named_parameters():
        if "bias" in name:
            nn.init.constant_(bias[32:64], 1.5)  # PyTorch adds two bias vectors: 3 together
    return Last(lstm, time=30)


@healthy
def short_gru():
    return Last(nn.GRU(8, 32, batch_first=True), time=10)


@healthy
def frozen_feature_extractor():
    model = mlp(6, nn.ReLU)
    for parameter in model[:6].parameters():
        parameter.requires_grad_(False)
    return model


@healthy
def autoencoder():
    return nn.Sequential(
        nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, CLASSES)
    )


def examine(make: Callable[[], nn.Module], seed: int) -> Verdict:
    """The verdict on two steps of Adam on random data."""
    torch.manual_seed(seed)
    model = make()
    size = (64, model.time, 8) if isinstance(model, Last) else (64, 32)
    x, y = torch.randn(size), torch.randint(CLASSES, (64,))
    optimizer = torch.optim.Adam(p for p in model.parameters() if p.requires_grad)
    with Probe(model, optimizer) as probe:
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return diagnose(probe.record)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SICK)
def test_a_sick_network_is_named_rightly(name, seed):
    make, symptom, cause = SICK[name]
    found = [(finding.symptom, finding.cause) for finding in examine(make, seed).findings]
    assert found[:1] == [(symptom, cause)], found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_is_not_accused(name, seed):
    verdict = examine(HEALTHY[name], seed)
    assert verdict.findings == (), str(verdict)
