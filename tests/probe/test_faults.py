"""Training programs with one known fault each, unlike one another, and healthy ones that look suspicious."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from networks import Calls, LowRank, adam
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from vgdocs.probe import Probe, Verdict, diagnose
from vgdocs.probe.rules import CAUSES, FOLLOWS
from vgdocs.probe.trial import mlp

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(5)]
FAULTS: dict[str, tuple[Callable, tuple[str, ...]]] = {}
HEALTHY: dict[str, Callable] = {}
Loop = Callable[[Callable], None]  # runs the training inside what it is given: watch(model, optimizer, scaler=None)


def fault(*causes: str):
    def enter(make):
        FAULTS[make.__name__] = (make, causes)
        return make

    return enter


def healthy(make):
    HEALTHY[make.__name__] = make
    return make


def blobs(n: int = 256, features: int = 20, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Examples around a centre for each class."""
    y = torch.randint(classes, (n,))
    return torch.randn(classes, features)[y] * 1.5 + torch.randn(n, features), y


def fit(probe, model, optimizer, loss, x, y, steps=40, clear=True, between=lambda: None, batch=64):
    """The usual loop."""
    with probe(model, optimizer):
        for _ in range(steps):
            rows = torch.randint(len(x), (batch,))
            if clear:
                optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            between()
            optimizer.step()


# --- loss and output -------------------------------------------------------------------------------------------------


@fault("softmax twice")
def softmax_of_tokens_before_cross_entropy(probe):
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 30), nn.Softmax(dim=-1))
    x = torch.randint(30, (128, 12))

    def loss(p, y):
        return F.cross_entropy(p.transpose(1, 2), y)

    fit(probe, model, torch.optim.AdamW(model.parameters(), 1e-2), loss, x, (x + 1) % 30)


@fault("sigmoid twice")
def sigmoid_before_log_sigmoid(probe):
    model = nn.Sequential(mlp(20, 32, 1, activation=nn.Tanh), nn.Sigmoid())
    x, y = blobs(classes=2)

    def loss(p, y):
        return -F.logsigmoid(p[:, 0]).where(y == 1, F.logsigmoid(-p[:, 0])).mean()

    fit(probe, model, adam(model), loss, x, y)


@fault("loss does not fit the outputs")
def probabilities_to_nll_loss(probe):
    model = nn.Sequential(mlp(20, 32, 4), nn.Softmax(1))
    fit(probe, model, adam(model), F.nll_loss, *blobs())


@fault("loss does not fit the outputs", "loss without a lower bound")
def class_numbers_to_a_binary_loss(probe):
    model = mlp(20, 32, 1)
    x, y = blobs(classes=4)
    fit(probe, model, adam(model), lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y.float()), x, y)


@fault("wrong dimension")
def softmax_over_time(probe):
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 30), nn.LogSoftmax(dim=1))
    x = torch.randint(30, (128, 12))
    fit(probe, model, adam(model), lambda p, y: F.nll_loss(p.flatten(0, 1), y.flatten()), x, (x + 1) % 30)


@fault("softmax over one unit")
def softmax_of_one_unit_and_binary_loss(probe):
    model = nn.Sequential(mlp(20, 32, 1, activation=nn.GELU), nn.Softmax(-1))
    x, y = blobs(classes=2)

    def loss(p, y):
        return F.binary_cross_entropy(p[:, 0], y.float())

    fit(probe, model, torch.optim.RMSprop(model.parameters(), 1e-3), loss, x, y)


@fault("output range")
def relu_for_targets_of_both_signs(probe):
    model = nn.Sequential(mlp(8, 32, 1, activation=nn.Tanh), nn.ReLU())
    x = torch.randn(256, 8)
    fit(probe, model, adam(model), lambda p, y: (p - y).abs().mean(), x, x.sum(1, keepdim=True))


@fault("output range")
def sigmoid_for_standardised_pixels(probe):
    model = nn.Sequential(mlp(20, 8, 20), nn.Sigmoid())
    x, _ = blobs()
    fit(probe, model, adam(model), F.smooth_l1_loss, x, x)


@fault("saturation")
def tanh_output_started_at_its_end(probe):
    model = nn.Sequential(mlp(20, 32, 2), nn.Tanh())
    nn.init.constant_(model[0][2].bias, 9.0)
    x, y = blobs(classes=2)
    fit(probe, model, torch.optim.SGD(model.parameters(), 0.05), F.mse_loss, x, 2 * F.one_hot(y, 2).float() - 1)


@fault("loss without a lower bound")
def distance_to_be_maximised(probe):
    model = mlp(20, 32, 8, activation=nn.Tanh)
    x, y = blobs(classes=2)
    fit(probe, model, adam(model, 0.05), lambda z, y: -(z.mean(1) * (2.0 * y - 1)).mean(), x, y, steps=150)


@fault("loss does not fit the outputs")
def several_classes_true_at_once(probe):
    """The targets of a cross-entropy are shares of one."""
    model, (x, _) = mlp(20, 32, 5), blobs()
    fit(probe, model, adam(model), F.cross_entropy, x, (torch.rand(256, 5) < 0.5).float())


@fault("loss does not fit the outputs")
def sigmoids_divided_by_their_sum(probe):
    model = nn.Sequential(mlp(20, 32, 4), nn.Sigmoid())
    x, y = blobs()

    def loss(p, y):
        return -(F.one_hot(y, 4) * (p / p.sum(1, keepdim=True)).log()).sum(1).mean()

    fit(probe, model, adam(model), loss, x, y)


@fault("softmax over one unit")
def one_unit_divided_by_its_sum(probe):
    model = nn.Sequential(mlp(20, 32, 1), nn.Sigmoid())
    x, y = blobs(classes=2)

    def loss(p, y):
        return -(y[:, None] * (p / p.sum(1, keepdim=True)).clamp(1e-7, 1 - 1e-7).log()).sum(1).mean()

    fit(probe, model, adam(model), loss, x, y)


@fault("output range")
def a_relu_for_probabilities(probe):
    model = nn.Sequential(mlp(20, 32, 1), nn.ReLU())
    x, y = blobs(classes=2)

    def loss(p, y):
        return F.binary_cross_entropy(p.clamp(1e-7, 1 - 1e-7), y[:, None].float())

    fit(probe, model, adam(model), loss, x, y)


@fault("loss without a lower bound")
def a_penalty_with_the_wrong_sign(probe):
    model = mlp(20, 32, 20, activation=nn.ELU)
    x, _ = blobs()
    fit(probe, model, adam(model, 1e-2), lambda z, x: F.mse_loss(z, x) - 2 * z.square().mean(), x, x, steps=200)


# --- data ------------------------------------------------------------------------------------------------------------


@fault("inputs not scaled")
def a_cnn_on_bytes(probe):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    x = torch.randint(256, (128, 3, 8, 8)).float()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    fit(probe, model, optimizer, F.cross_entropy, x, (x.mean((1, 2, 3)) > 127).long())


@fault("targets not scaled")
def salaries(probe):
    model = mlp(8, 32, 1)
    x = torch.randn(256, 8)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    fit(probe, model, optimizer, lambda p, y: ((p - y) ** 2).mean(), x, 3e4 + 1e4 * x[:, :1])


@fault("nan in the input")
def a_gap_in_a_sequence(probe):
    model = nn.ModuleDict({"cell": nn.GRU(4, 16, batch_first=True), "head": nn.Linear(16, 2)})
    model.forward = lambda x: model["head"](model["cell"](x)[0][:, -1])
    x = torch.randn(64, 12, 4)
    x[::3, 5, 1] = torch.nan
    fit(probe, model, adam(model), F.cross_entropy, x, torch.randint(2, (64,)), steps=6)


@fault("inputs not scaled")
def money_beside_an_embedding(probe):
    def forward(self, x):
        return self.body(torch.cat([x[:, :3], self.kind(x[:, 3].long())], 1))

    model = Calls(forward, kind=nn.Embedding(5, 4), body=mlp(7, 32, 1))
    x = torch.cat([torch.rand(256, 3) * torch.tensor([70.0, 9e4, 10.0]), torch.randint(5, (256, 1))], 1)
    loss = nn.BCEWithLogitsLoss()
    fit(probe, model, torch.optim.Adagrad(model.parameters(), 0.02), loss, x, (x[:, :1] > 35).float())


@fault("inputs not scaled")
def seconds_into_a_tanh(probe):
    model = mlp(1, 16, 16, 1, activation=nn.Tanh)
    x = torch.rand(256, 1) * 24
    fit(probe, model, torch.optim.SGD(model.parameters(), 0.01), F.mse_loss, x, x.sin())


# --- optimizer -------------------------------------------------------------------------------------------------------


@fault("learning rate too small")
def momentum_at_a_billionth(probe):
    model = mlp(20, 32, 4, activation=nn.Tanh)
    fit(probe, model, torch.optim.SGD(model.parameters(), 1e-9, momentum=0.9), F.cross_entropy, *blobs())


@fault("learning rate too small")
def a_line_at_a_thousandth(probe):
    """Steps of the usual size, and a long way to go: the loss falls as fast at the end as in the beginning."""
    model, x = nn.Linear(1, 1), torch.linspace(1, 2, 100)[:, None]
    nn.init.constant_(model.weight, 0.5)
    fit(probe, model, torch.optim.RMSprop(model.parameters(), 1e-3), F.mse_loss, x, 5 * x, steps=300)


@fault("too few steps")
def five_epochs_of_a_small_table(probe):
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2))
    y = torch.arange(200) % 2
    x = 0.2 * torch.rand(200, 2) + 0.3 * y[:, None]
    fit(probe, model, adam(model, 1e-3), F.cross_entropy, x, y, steps=35, batch=32)


@fault("learning rate too small")
def halved_at_each_batch(probe):
    """Small steps for the larger part of the run, of whose first steps more are looked at."""
    model = mlp(20, 32, 4)
    optimizer = adam(model)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    fit(probe, model, optimizer, F.cross_entropy, *blobs(), steps=80, between=scheduler.step)


@fault("labels do not depend on the inputs")
def labels_drawn_by_lot_and_bold_first_steps(probe):
    model = mlp(64, 64, 10)
    fit(probe, model, adam(model, 1e-2), F.cross_entropy, torch.randn(6000, 64), torch.randint(10, (6000,)), steps=120)


@fault("learning rate too large")
def rmsprop_at_three(probe):
    """Saturated units in random directions tell blobs apart; a product of two inputs they don't."""
    model = mlp(20, 32, 32, 2, activation=nn.Tanh)
    x = torch.randn(256, 20)
    y = (x[:, 0] * x[:, 1] > 0).long()
    fit(probe, model, torch.optim.RMSprop(model.parameters(), 3.0), F.cross_entropy, x, y)


@fault("gradients accumulate")
def adam_without_zero_grad(probe):
    model = mlp(8, 32, 1)
    x = torch.randn(256, 8)
    fit(probe, model, adam(model), F.mse_loss, x, x.prod(1, keepdim=True), clear=False)


@fault("gradients cleared too late")
def zero_grad_before_the_step(probe):
    model = mlp(20, 32, 4)
    optimizer = adam(model)
    fit(probe, model, optimizer, F.cross_entropy, *blobs(), clear=False, between=lambda: optimizer.zero_grad())


@fault("not in the optimizer")
def only_the_head_of_a_recurrent_network(probe):
    parts = {"cell": nn.LSTM(4, 16, batch_first=True), "head": nn.Linear(16, 2)}
    model, x = Calls(lambda self, x: self.head(self.cell(x)[0][:, -1]), **parts), torch.randn(64, 8, 4)
    fit(probe, model, torch.optim.SGD(model.head.parameters(), 0.1), F.cross_entropy, x, (x[:, -1, 0] > 0).long())


@fault("not in the optimizer")
def layers_in_a_dictionary(probe):
    parts = {"parts": {"body": nn.Linear(20, 32)}, "head": nn.Linear(32, 4)}
    model = Calls(lambda self, x: self.head(torch.tanh(self.parts["body"](x))), **parts)
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@fault("weight decay")
def adamw_with_a_decay_of_a_hundred(probe):
    model = mlp(20, 32, 32, 4)
    fit(probe, model, torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=100.0), F.cross_entropy, *blobs())


@fault("clipped away")
def values_clipped_at_next_to_nothing(probe):
    model = mlp(20, 32, 4)

    def clip():
        return nn.utils.clip_grad_value_(model.parameters(), 1e-7)

    fit(probe, model, torch.optim.SGD(model.parameters(), 0.1), F.cross_entropy, *blobs(), between=clip)


# --- graph, weights, units -------------------------------------------------------------------------------------------


@fault("frozen")
def a_frozen_cnn_that_was_never_trained(probe):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    for p in [*model[0].parameters(), *model[2].parameters()]:
        p.requires_grad_(False)
    fit(probe, model, adam(model), F.cross_entropy, torch.randn(64, 1, 8, 8), torch.randint(4, (64,)))


@fault("not connected")
def a_loss_made_anew(probe):
    model = mlp(20, 32, 4)

    def loss(z, y):
        return torch.tensor(F.cross_entropy(z, y).item(), requires_grad=True)

    fit(probe, model, adam(model), loss, *blobs())


@fault("exactly zero", "not connected")
def a_sign_in_the_middle(probe):
    model = nn.Sequential(nn.Linear(20, 32), Calls(lambda self, x: torch.sign(x)), nn.Linear(32, 4))
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@fault("no activations")
def convolutions_with_nothing_between(probe):
    convolutions = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.AvgPool2d(2)]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 4))
    fit(probe, model, adam(model), F.cross_entropy, torch.randn(64, 1, 8, 8), torch.randint(4, (64,)))


@fault("symmetric weights")
def a_cnn_of_ones(probe):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(288, 4))
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.constant_(model[0].bias, 0.0)
    nn.init.constant_(model[3].weight, 0.01)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    fit(probe, model, optimizer, F.cross_entropy, torch.randn(64, 1, 8, 8), torch.randint(4, (64,)))


@fault("dropout")
def a_function_that_keeps_a_twentieth(probe):
    parts = {"a": nn.Linear(20, 64), "b": nn.Linear(64, 4)}
    model = Calls(lambda self, x: self.b(F.dropout(F.relu(self.a(x)), 0.95)), **parts)
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@fault("batch statistics")
def batch_norm_over_two(probe):
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    fit(probe, model, adam(model), F.cross_entropy, *blobs(), batch=2)


@fault("attention logits")
def fused_attention_with_large_weights(probe):
    model = nn.TransformerEncoderLayer(32, 4, 32, dropout=0.0, batch_first=True)
    nn.init.normal_(model.self_attn.in_proj_weight, std=2.0)
    x = torch.randn(64, 10, 32)
    fit(probe, model, adam(model), F.mse_loss, x, x.roll(1, 1))


@fault("infinite slope")
def an_angle_with_itself(probe):
    model = mlp(20, 32, 8)

    def loss(z, y):
        return torch.acos(F.cosine_similarity(z, z.detach().clone()).clamp(-1, 1)).mean() + F.cross_entropy(z, y)

    fit(probe, model, adam(model), loss, *blobs(), steps=4)


@fault("logarithm of zero")
def an_entropy_by_hand(probe):
    model = mlp(20, 32, 4)
    nn.init.normal_(model[2].weight, std=30.0)

    def loss(z, y):
        p = torch.softmax(z, 1)
        return F.cross_entropy(z, y) - 0.1 * (p * torch.log(p)).sum(1).mean()

    fit(probe, model, torch.optim.SGD(model.parameters(), 0.1), loss, *blobs(), steps=6)


@fault("division by zero")
def a_ratio_of_counts(probe):
    model = mlp(20, 32, 4)

    def loss(z, y):
        return (z.square() / torch.zeros(4)).mean()

    fit(probe, model, adam(model), loss, *blobs(), steps=4)


@fault("initialisation")
def linear_layers_that_are_too_small(probe):
    """Without an activation the critical scale is 1."""
    model = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(20)))
    for layer in model:
        nn.init.normal_(layer.weight, std=(0.25 / 32) ** 0.5)
    fit(probe, model, adam(model), lambda z, y: (z * y).sum(), torch.randn(64, 32), torch.randn(64, 32), steps=2)


@fault("gain")
def linear_layers_that_are_too_large(probe):
    model = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(20)))
    for layer in model:
        nn.init.normal_(layer.weight, std=(4 / 32) ** 0.5)
    fit(probe, model, adam(model), lambda z, y: (z * y).sum(), torch.randn(64, 32), torch.randn(64, 32), steps=2)


# --- healthy ---------------------------------------------------------------------------------------------------------


@healthy
def targets_that_are_shared(probe):
    """Soft targets sum to one."""
    model, (x, y) = mlp(20, 32, 4), blobs()
    fit(probe, model, adam(model), F.cross_entropy, x, 0.8 * F.one_hot(y, 4) + 0.05)


@healthy
def steps_that_are_left_out(probe):
    """Rows of zeros mask, and rows with one value weigh."""
    model, (x, y) = mlp(20, 32, 4), blobs()
    fit(probe, model, adam(model), F.cross_entropy, x, F.one_hot(y, 4) * torch.randint(3, (256, 1)).float())


@healthy
def words_that_do_not_occur(probe):
    model = nn.Sequential(nn.Embedding(1000, 16), nn.Flatten(), nn.Linear(16 * 6, 4))
    x = torch.randint(40, (256, 6))
    fit(probe, model, adam(model), F.cross_entropy, x, x[:, 0] % 4)


@healthy
def a_head_on_a_trained_body(probe):
    x, y = blobs(classes=4)
    body = mlp(20, 64, 64, 4)
    fit(lambda *_: torch.enable_grad(), body, adam(body), F.cross_entropy, x, y, steps=400)
    body.requires_grad_(False)
    model = nn.Sequential(body[:4], nn.Linear(64, 2))
    fit(probe, model, torch.optim.Adam(model[1].parameters(), 1e-2), F.cross_entropy, x, y % 2)


@healthy
def tied_embeddings(probe):
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 30, bias=False))
    nn.init.normal_(model[0].weight, std=0.1)
    model[1].weight = model[0].weight
    x = torch.randint(30, (256,))
    fit(probe, model, adam(model, 1e-2), F.cross_entropy, x, (x + 1) % 30)


@healthy
def warm_up_from_nothing(probe):
    model = mlp(20, 32, 4)
    optimizer = adam(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(t / 30, 1))
    fit(probe, model, optimizer, F.cross_entropy, *blobs(), between=schedule.step)


@healthy
def four_batches_a_step(probe):
    model = mlp(20, 32, 4)
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), 0.1), blobs()
    with probe(model, optimizer):
        for _ in range(20):
            optimizer.zero_grad()
            for rows in torch.randperm(256).split(64):
                (F.cross_entropy(model(x[rows]), y[rows]) / 4).backward()
            optimizer.step()


@healthy
def half_is_dropped(probe):
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@healthy
def low_rank_adaptation(probe):
    x, y = blobs()
    body = mlp(20, 64, 4)
    fit(lambda *_: torch.enable_grad(), body, adam(body), F.cross_entropy, x, y, steps=300)

    model = nn.Sequential(LowRank(body[0], 4), nn.ReLU(), LowRank(body[2], 4))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3)
    fit(probe, model, optimizer, F.cross_entropy, x, (y + 1) % 4)


@healthy
def rezero(probe):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch, self.gate = nn.Linear(32, 32), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x + self.gate * torch.relu(self.branch(x))

    model = nn.Sequential(nn.Linear(20, 32), *[Block() for _ in range(8)], nn.Linear(32, 4))
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@healthy
def normalised_weights(probe):
    model = nn.Sequential(spectral_norm(nn.Linear(20, 32)), nn.LeakyReLU(0.2), weight_norm(nn.Linear(32, 4)))
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@healthy
def two_networks_against_each_other(probe):
    maker, judge = mlp(4, 32, 2), mlp(2, 32, 1)
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first, second = adam(maker, 1e-3), adam(judge, 1e-3)
    real = torch.randn(256, 2) + 2
    with probe(model, first):
        for _ in range(40):
            fake = maker(torch.randn(64, 4))
            second.zero_grad()
            F.softplus(-judge(real[:64])).mean().add(F.softplus(judge(fake.detach())).mean()).backward()
            second.step()
            first.zero_grad()
            F.softplus(-judge(fake)).mean().backward()
            first.step()


@healthy
def contrast_with_a_temperature(probe):
    model = mlp(20, 64, 16)
    x, _ = blobs()

    def loss(z, y):
        a, b = F.normalize(z, dim=1), F.normalize(model(y + 0.1 * torch.randn_like(y)), dim=1)
        scores = a @ b.T / 0.1
        target = torch.arange(len(z))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    fit(probe, model, adam(model), loss, x, x)


@healthy
def an_autoencoder_of_bits(probe):
    model = nn.Sequential(mlp(20, 32, 20), nn.Sigmoid())
    x = (torch.randn(256, 4) @ torch.randn(4, 20) > 0).float()
    fit(probe, model, adam(model), F.binary_cross_entropy, x, x)


@healthy
def a_line(probe):
    model = nn.Linear(3, 1)
    x = torch.randn(256, 3)
    fit(probe, model, torch.optim.SGD(model.parameters(), 0.1), F.mse_loss, x, x @ torch.tensor([[1.0], [2.0], [-1.0]]))


@healthy
def yes_or_no(probe):
    model = mlp(20, 32, 1)
    x, y = blobs(classes=2)
    fit(probe, model, adam(model), F.binary_cross_entropy_with_logits, x, y[:, None].float())


@healthy
def quantiles(probe):
    model = mlp(4, 32, 3)
    x, levels = torch.randn(256, 4), torch.tensor([0.1, 0.5, 0.9])

    def loss(q, y):
        return torch.maximum(levels * (y - q), (levels - 1) * (y - q)).mean()

    fit(probe, model, adam(model, 1e-2), loss, x, 2 * x[:, :1] + torch.randn(256, 1))


@healthy
def large_momentum(probe):
    model = mlp(20, 32, 4)
    fit(probe, model, torch.optim.SGD(model.parameters(), 0.01, momentum=0.95), F.cross_entropy, *blobs())


@healthy
def a_clipped_transformer(probe):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
    body = [nn.Embedding(20, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 20)]
    model, x = nn.Sequential(*body), torch.randint(20, (128, 8))

    def clip():
        return nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    def loss(z, y):
        return F.cross_entropy(z.transpose(1, 2), y)

    fit(probe, model, adam(model, 1e-3), loss, x, x.roll(1, 1), between=clip)


@healthy
def bfloat16(probe):
    model = mlp(20, 64, 4)

    def loss(z, y):
        return F.cross_entropy(z.float(), y)

    forward = model.forward

    def half(x):
        with torch.autocast("cpu", torch.bfloat16):
            return forward(x)

    model.forward = half
    fit(probe, model, adam(model), loss, *blobs())


@healthy
def batches_of_eight(probe):
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    fit(probe, model, adam(model), F.cross_entropy, *blobs(), batch=8)


@healthy
def a_critic_with_clipped_weights(probe):
    model = mlp(20, 32, 1)
    x, y = blobs(classes=2)

    def clip():
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.05, 0.05)

    def loss(s, y):
        return ((1 - 2 * y) * s[:, 0]).mean()

    fit(probe, model, torch.optim.RMSprop(model.parameters(), 1e-3), loss, x, y, between=clip, steps=100)


@healthy
def smoothed_labels(probe):
    model = mlp(20, 32, 4)
    fit(probe, model, adam(model), nn.CrossEntropyLoss(label_smoothing=0.1), *blobs())


@healthy
def a_policy_gradient(probe):
    model = mlp(20, 32, 4)
    x, y = blobs()

    def loss(z, y):
        choice = torch.distributions.Categorical(logits=z)
        action = choice.sample()
        reward = (action == y).float()
        return -(choice.log_prob(action) * (reward - reward.mean())).mean()

    fit(probe, model, adam(model, 1e-2), loss, x, y)


@healthy
def relus_written_as_clamps(probe):
    parts = {"a": nn.Linear(20, 32), "b": nn.Linear(32, 32), "c": nn.Linear(32, 4)}
    model = Calls(lambda self, x: self.c(self.b(self.a(x).clamp(min=0)).clamp(min=0)), **parts)
    fit(probe, model, adam(model), F.cross_entropy, *blobs())


@healthy
def relus_written_as_products(probe):
    parts = {"a": nn.Linear(20, 32), "b": nn.Linear(32, 32), "c": nn.Linear(32, 4)}

    def forward(self, x):
        h = self.a(x)
        h = self.b(h * (h > 0))
        return self.c(h * (h > 0).float())

    fit(probe, model := Calls(forward, **parts), adam(model), F.cross_entropy, *blobs())


@healthy
def thrown_off_by_the_first_steps(probe):
    """RMSprop's first steps are ten times the later ones, and the loss is back below its start long before the end."""
    model = mlp(20, 128, 128, 1)
    nn.init.constant_(model[-1].bias, 1.0)
    x = torch.randn(256, 20)
    y = x[:, :1].tanh() + 1.0
    fit(probe, model, torch.optim.RMSprop(model.parameters(), 3e-3), F.l1_loss, x, y, steps=150)


def examine(make: Callable, seed: int, every: int | None = 3) -> Verdict:
    """The verdict on a program, whose loop is run under a probe."""
    torch.manual_seed(seed)
    probes: list[Probe] = []

    def probe(model, optimizer, scaler=None):
        probes.append(Probe(model, optimizer, scaler, every=every))
        return probes[-1]

    make(probe)
    return diagnose(probes[0].record)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_first_or_second(name, seed):
    make, causes = FAULTS[name]
    verdict = examine(make, seed)
    assert {finding.cause for finding in verdict.findings[:2]} & set(causes), str(verdict)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_a_healthy_one(name, seed):
    verdict = examine(HEALTHY[name], seed)
    assert verdict.findings == (), str(verdict)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rate_that_decays_is_seen_by_the_looks_that_are_usual(seed):
    (finding,) = examine(halved_at_each_batch, seed, every=None).findings
    assert finding.cause == "learning rate too small"


@pytest.mark.parametrize("seed", range(5))
def test_units_that_a_large_rate_saturated_are_put_down_to_the_rate(seed):
    """Random directions learn blobs too, on some seeds; on others enough units are left where they are flat."""

    def blobs_at_three(probe):
        model = mlp(20, 32, 32, 4, activation=nn.Tanh)
        fit(probe, model, torch.optim.RMSprop(model.parameters(), 3.0), F.cross_entropy, *blobs())

    causes = [finding.cause for finding in examine(blobs_at_three, seed).findings]
    assert causes[:1] in ([], ["learning rate too large"])


@pytest.mark.parametrize("seed", range(2))
def test_where_large_steps_undo_a_post_norm_network_its_weights_are_not_accused(seed):
    """Its gradient is level at the first step, and vanishes after them."""

    def encoder(probe):
        layer = nn.TransformerEncoderLayer(64, 2, 64, dropout=0.0, batch_first=True)
        body = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
        parts = {"embed": nn.Linear(8, 64), "body": body, "answer": nn.Linear(64, 4)}
        model = Calls(lambda self, x: self.answer(self.body(self.embed(x.view(-1, 8, 8))).mean(1)), **parts)
        x, y = blobs(features=64)
        fit(probe, model, adam(model, 1e-2), F.cross_entropy, x, y, steps=60, batch=32)

    assert {"initialisation", "activation", "gain"}.isdisjoint(f.cause for f in examine(encoder, seed).findings)


def six_layers(probe, steps):
    model = mlp(20, 128, 128, 128, 128, 128, 4)
    fit(probe, model, adam(model, 3e-4), F.cross_entropy, *blobs(), steps=steps)


def words(probe, steps):
    model = nn.Sequential(nn.Embedding(200, 32), nn.Linear(32, 200))
    x = torch.randint(200, (1024,))
    fit(probe, model, adam(model, 1e-3), F.cross_entropy, x, torch.randperm(200)[x], steps=steps)


@pytest.mark.parametrize("steps", [10, 20, 30, 50])
@pytest.mark.parametrize("training", [six_layers, words])
def test_a_healthy_training_that_was_stopped_early_is_not_accused(training, steps):
    """What is only beginning to fall can't be told from what falls too slowly."""
    verdict = examine(lambda probe: training(probe, steps), 0, every=None)
    assert verdict.findings == (), str(verdict)


@pytest.mark.parametrize("steps", [30, 300])
def test_where_two_causes_fit_it_says_what_would_decide(steps):
    """A line that falls straight may need more steps or larger ones; which is named first is a matter of how many."""

    def crawl(probe):
        torch.manual_seed(0)
        model, x = nn.Linear(1, 1), torch.linspace(1, 2, 100)[:, None]
        nn.init.constant_(model.weight, 0.5)
        rate = 1e-3 if steps > 200 else 1e-2
        fit(probe, model, adam(model, rate), F.mse_loss, x, 5 * x, steps=steps, batch=100)

    (finding,) = examine(crawl, 0).findings
    named = (finding.cause, *finding.alternatives)
    assert set(named) == {"too few steps", "learning rate too small"}
    assert named[0] == ("too few steps" if steps < 200 else "learning rate too small")
    assert f"It can also be {named[1]}: train as many steps again at ten times the learning rate" in str(finding)


def test_there_are_as_many_as_are_spoken_of():
    assert len(FAULTS) >= 30
    assert len(HEALTHY) >= 20


def test_what_follows_from_what_is_said_of_causes_that_there_are():
    assert set(FOLLOWS) | {cause for causes in FOLLOWS.values() for cause in causes} <= set(CAUSES)
