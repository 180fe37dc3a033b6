"""How good is the diagnosis at faults that no rule was written for? Fourteen with one known fault each, six healthy.

    python benchmarks/unseen_faults.py [SEED ...]

Their author had not read the rules, and whoever changes a rule should not read them; a case that was looked at belongs
into tests/probe/test_faults.py, and another into its place. Twelve of the fourteen were named rightly when they were
first tried; the VAE and the customers were not, have since been looked at, and are unseen no more. A sick one is named
rightly if an accepted cause comes first or second, a healthy one if nothing is said. `CASES[name](cured=True)` is a
sick one without its fault, though `causes` still names it. Everything is drawn from torch's global generator.
"""

from __future__ import annotations

import copy
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.probe import Probe, diagnose


@dataclass
class Case:
    """`objective` draws a batch and returns its loss; other parts of the loop are given where the fault lies there."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    objective: Callable[[], Tensor]
    causes: tuple[str, ...] = ()
    steps: int = 60
    zero_when: Callable[[int], bool] = lambda t: True
    after_backward: Callable[[], object] | None = None
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
    after_step: Callable[[], object] | None = None
    done: int = field(default=0, repr=False)

    def step(self, record_loss: Callable[[Tensor], object] = lambda loss: None) -> float:
        if self.zero_when(self.done):
            self.optimizer.zero_grad()
        loss = self.objective()
        record_loss(loss)
        loss.backward()
        if self.after_backward:
            self.after_backward()
        self.optimizer.step()
        if self.scheduler:
            self.scheduler.step()
        if self.after_step:
            self.after_step()
        self.done += 1
        return loss.item()


CASES: dict[str, Callable[[], Case]] = {}


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    CASES[make.__name__] = make
    return make


def rows(n: int, batch: int) -> Tensor:
    return torch.randint(n, (batch,))


# --- data ------------------------------------------------------------------------------------------------------------


def discs(n: int = 192, side: int = 16) -> tuple[Tensor, Tensor]:
    """A noisy picture of a bright disc, and its mask."""
    axis = torch.arange(side).float()
    cx, cy = (torch.rand(2, n, 1, 1) * (side - 6) + 3).unbind(0)
    r = torch.rand(n, 1, 1) * 3 + 2
    mask = (((axis[None, None, :] - cx) ** 2 + (axis[None, :, None] - cy) ** 2) < r**2).float()[:, None]
    return mask * 1.5 - 0.4 + 0.5 * torch.randn(n, 1, side, side), mask


def tagged(n: int = 256, length: int = 18, words: int = 60, tags: int = 5) -> tuple[Tensor, Tensor]:
    """Sentences; a word's tag depends on itself and on the word before."""
    x = torch.randint(words, (n, length))
    before = torch.cat([torch.zeros(n, 1, dtype=torch.long), x[:, :-1]], 1)
    return x, (x % tags + (before % 2)) % tags


def tones(n: int = 256, length: int = 64, classes: int = 6) -> tuple[Tensor, Tensor]:
    y = torch.randint(classes, (n,))
    t = torch.arange(length) / length
    phase = torch.rand(n, 1) * 2 * math.pi
    wave = torch.sin(2 * math.pi * (2 + 2 * y[:, None]) * t + phase)
    return (wave + 0.3 * torch.randn(n, length))[:, None], y


def strokes(n: int = 320) -> tuple[Tensor, Tensor]:
    """12 x 12 pictures: horizontal, vertical, diagonal or a corner."""
    y = torch.randint(4, (n,))
    x = 0.3 * torch.randn(n, 1, 12, 12)
    where = torch.randint(3, 9, (n,))
    for i in range(n):
        k, w = int(y[i]), int(where[i])
        if k == 0:
            x[i, 0, w, 2:10] += 2
        elif k == 1:
            x[i, 0, 2:10, w] += 2
        elif k == 2:
            x[i, 0] += 2 * torch.eye(12)
        else:
            x[i, 0, w, w:] += 2
            x[i, 0, w:, w] += 2
    return x, y


# --- fourteen faults -------------------------------------------------------------------------------------------------


class TinyUNet(nn.Module):
    def __init__(self, width: int = 8, squash: bool = False):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.GroupNorm(2, width), nn.SiLU())
        self.down2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.GroupNorm(2, 2 * width), nn.SiLU())
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.mix = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 1, 1))
        self.squash = squash

    def forward(self, picture: Tensor) -> Tensor:
        fine = self.down1(picture)
        coarse = self.down2(F.avg_pool2d(fine, 2))
        mask = self.mix(torch.cat([fine, self.up(coarse)], dim=1))
        return mask.sigmoid() if self.squash else mask


@case
def unet_mask_squashed_before_bce_with_logits(cured: bool = False) -> Case:
    net = TinyUNet(squash=not cured)
    pictures, masks = discs()
    criterion = nn.BCEWithLogitsLoss()

    def objective():
        i = rows(len(pictures), 12)
        return criterion(net(pictures[i]), masks[i])

    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    return Case(net, opt, objective, ("sigmoid twice", "loss does not fit the outputs"), steps=80)


class Tagger(nn.Module):
    def __init__(self, dim: int, words: int = 60, tags: int = 5):
        super().__init__()
        self.words = nn.Embedding(words, 24)
        self.reader = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.to_tag = nn.Linear(48, tags)
        self.dim = dim

    def forward(self, tokens):  # (B, T) -> (B, T, tags)
        states, _ = self.reader(self.words(tokens))
        return F.log_softmax(self.to_tag(states), dim=self.dim)


@case
def tagger_normalised_over_the_sentence(cured: bool = False) -> Case:
    net = Tagger(dim=-1 if cured else 1)  # as for (B, C), where 1 is the classes; here it is the words of the sentence
    x, y = tagged()

    def objective():
        i = rows(len(x), 32)
        scores = net(x[i])
        return F.nll_loss(scores.reshape(-1, scores.size(-1)), y[i].reshape(-1))

    return Case(net, torch.optim.RMSprop(net.parameters(), 3e-3), objective, ("wrong dimension",), steps=80)


@case
def vae_that_subtracts_its_divergence(cured: bool = False) -> Case:
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(40, 48), nn.ELU())
            self.mu, self.logvar = nn.Linear(48, 6), nn.Linear(48, 6)
            self.dec = nn.Sequential(nn.Linear(6, 48), nn.ELU(), nn.Linear(48, 40))

        def forward(self, x):
            h = self.enc(x)
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            return self.dec(z), mu, logvar

    net = VAE()
    x = torch.tanh(torch.randn(512, 5) @ torch.randn(5, 40))

    def objective():
        batch = x[rows(512, 64)]
        back, mu, logvar = net(batch)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1).mean()
        return F.mse_loss(back, batch, reduction="sum") / 64 - (-kld if cured else kld)  # the sign: should be +

    opt = torch.optim.Adam(net.parameters(), 1e-3)
    return Case(net, opt, objective, ("loss without a lower bound",), steps=150)


@case
def customers_with_their_income_in_dollars(cured: bool = False) -> Case:
    class Churn(nn.Module):
        def __init__(self):
            super().__init__()
            self.plan = nn.Embedding(4, 3)
            self.fc1, self.fc2, self.fc3 = nn.Linear(4 + 3, 32), nn.Linear(32, 16), nn.Linear(16, 1)

        def forward(self, numbers, plan):
            h = torch.cat([numbers, self.plan(plan)], dim=-1)
            h = F.leaky_relu(self.fc1(h))
            h = F.leaky_relu(self.fc2(h))
            return self.fc3(h).squeeze(-1)

    net = Churn()
    n = 800
    age, income = torch.rand(n) * 60 + 18, torch.rand(n) * 90_000 + 15_000
    balance, calls = torch.randn(n) * 30_000, torch.poisson(torch.full((n,), 3.0))
    plan = torch.randint(4, (n,))
    x = torch.stack([age, income, balance, calls], 1)
    x = (x - x.mean(0)) / x.std(0) if cured else x
    y = ((calls - 3) / 1.7 + (age - 48) / 17 + (plan == 2) * 1.5 + 0.3 * torch.randn(n) > 0.3).float()

    def objective():
        i = rows(n, 50)
        return F.binary_cross_entropy_with_logits(net(x[i], plan[i]), y[i])

    opt = torch.optim.Adagrad(net.parameters(), lr=0.02)
    return Case(net, opt, objective, ("inputs not scaled",), steps=100)


@case
def ratings_cleared_once_an_epoch(cured: bool = False) -> Case:
    class Factors(nn.Module):
        def __init__(self, users=50, films=40, k=6):
            super().__init__()
            self.user, self.film = nn.Embedding(users, k), nn.Embedding(films, k)
            self.user_bias, self.film_bias = nn.Embedding(users, 1), nn.Embedding(films, 1)
            for e in (self.user, self.film):
                nn.init.normal_(e.weight, std=0.3)

        def forward(self, u, f):
            return (self.user(u) * self.film(f)).sum(-1) + (self.user_bias(u) + self.film_bias(f)).squeeze(-1)

    net = Factors()
    n = 2000
    u, f = torch.randint(50, (n,)), torch.randint(40, (n,))
    a, b = torch.randn(50, 3), torch.randn(40, 3)
    stars = (a[u] * b[f]).sum(-1) * 0.6 + 0.2 * torch.randn(n)

    def objective():
        i = rows(n, 50)
        return (net(u[i], f[i]) - stars[i]).square().mean()

    opt = torch.optim.SGD(net.parameters(), 0.5)
    # for epoch: opt.zero_grad(); for 40 batches: backward, step
    return Case(net, opt, objective, ("gradients accumulate",), steps=160, zero_when=lambda t: cured or t % 40 == 0)


@case
def heads_in_a_dict(cured: bool = False) -> Case:
    class Person(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(
                nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.Mish()),
                nn.Sequential(nn.Linear(64, 32), nn.Mish()),
            )
            heads = {"age": nn.Linear(32, 1), "kind": nn.Linear(32, 7)}
            self.heads = nn.ModuleDict(heads) if cured else heads

        def forward(self, x):
            h = self.trunk(x)
            return {name: head(h) for name, head in self.heads.items()}

    net = Person()
    x = torch.randn(600, 20)
    age, kind = torch.sin(x[:, :4].sum(1, keepdim=True)), (x @ torch.randn(20, 7)).argmax(1)

    def objective():
        i = rows(600, 48)
        out = net(x[i])
        return F.l1_loss(out["age"], age[i]) + F.cross_entropy(out["kind"], kind[i])

    opt = torch.optim.NAdam(net.parameters(), 2e-3)
    return Case(net, opt, objective, ("not registered", "not in the optimizer"), steps=100)


@case
def captions_of_an_encoder_without_gradients(cured: bool = False) -> Case:
    class Captioner(nn.Module):
        def __init__(self, vocabulary=9):
            super().__init__()
            self.see = nn.Sequential(
                nn.Conv2d(1, 8, 3, stride=2),
                nn.Hardswish(),
                nn.Conv2d(8, 16, 3, stride=2),
                nn.Hardswish(),
                nn.Flatten(),
            )
            self.start = nn.Linear(64, 24)
            self.word = nn.Embedding(vocabulary, 12)
            self.write = nn.GRU(12, 24)
            self.read = nn.Linear(24, vocabulary)

        def encode(self, picture):  # copied from a tutorial with a pretrained encoder; this one is trained from nothing
            with torch.set_grad_enabled(cured):
                return self.see(picture)

        def forward(self, picture, words):  # words: (T, B)
            h0 = torch.tanh(self.start(self.encode(picture)))
            states, _ = self.write(self.word(words), h0[None])
            return self.read(states)

    net = Captioner()
    x, kind = strokes()
    sentences = torch.tensor([[1, 5, 8], [2, 6, 8], [3, 7, 8], [4, 5, 6]])[kind]
    given = torch.cat([torch.zeros(len(x), 1, dtype=torch.long), sentences[:, :-1]], 1)

    def objective():
        i = rows(len(x), 32)
        logits = net(x[i], given[i].T)
        return F.cross_entropy(logits.flatten(0, 1), sentences[i].T.flatten())

    return Case(net, torch.optim.AdamW(net.parameters(), 2e-3), objective, ("not connected",), steps=80)


@case
def filters_filled_with_one_number(cured: bool = False) -> Case:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 12, 3)
            self.fc1, self.fc2 = nn.Linear(12 * 9, 24), nn.Linear(24, 4)

        def forward(self, x):
            x = F.elu(self.conv1(x))
            x = F.max_pool2d(F.elu(self.conv2(x)), 2)
            return self.fc2(F.elu(self.fc1(torch.flatten(x, 1))))

    def init_weights(m):
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            m.weight.data.fill_(0.01)
            m.bias.data.zero_()

    net = Net()
    if not cured:
        net.apply(init_weights)
    x, y = strokes()

    def objective():
        i = rows(len(x), 32)
        return F.cross_entropy(net(x[i]), y[i])

    opt = torch.optim.RMSprop(net.parameters(), 1e-3)
    return Case(net, opt, objective, ("symmetric weights",), steps=90)


@case
def tones_with_nesterov_at_three(cured: bool = False) -> Case:
    net = nn.Sequential(
        nn.Sequential(nn.Conv1d(1, 12, 7, padding=3), nn.GELU(), nn.MaxPool1d(2)),
        nn.Sequential(nn.Conv1d(12, 16, 5, padding=2), nn.GELU(), nn.MaxPool1d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.GELU(), nn.Linear(32, 6)),
    )
    x, y = tones()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def objective():
        i = rows(len(x), 32)
        return criterion(net(x[i]), y[i])

    opt = torch.optim.SGD(net.parameters(), lr=0.05 if cured else 3.0, momentum=0.9, nesterov=True)
    return Case(net, opt, objective, ("learning rate too large", "learning rate"), steps=60)


@case
def forecast_whose_scheduler_counts_batches(cured: bool = False) -> Case:
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(1, 24, batch_first=True)
            self.out = nn.Linear(24, 3)

        def forward(self, past):
            _, last = self.gru(past)
            return self.out(last[-1])

    net = Forecast()
    t = torch.rand(400, 1) * 20 + torch.arange(23) * 0.35
    series = torch.sin(t) + 0.5 * torch.sin(2.1 * t) + 0.05 * torch.randn_like(t)

    def objective():
        i = rows(400, 32)
        return F.smooth_l1_loss(net(series[i, :20, None]), series[i, 20:])

    opt = torch.optim.Adam(net.parameters(), 3e-3)
    # meant for epochs, stepped every batch
    schedule = torch.optim.lr_scheduler.StepLR(opt, step_size=5, gamma=1.0 if cured else 0.1)
    return Case(net, opt, objective, ("learning rate too small",), steps=80, scheduler=schedule)


@case
def weight_decay_mistaken_for_momentum(cured: bool = False) -> Case:
    class Bag(nn.Module):
        """Attention pools a set of vectors."""

        def __init__(self):
            super().__init__()
            self.inside, self.score, self.answer = nn.Linear(10, 48), nn.Linear(48, 1), nn.Linear(48, 3)

        def forward(self, bag):  # (B, N, 10)
            h = torch.tanh(self.inside(bag))
            weight = self.score(h).softmax(dim=1)
            return self.answer((weight * h).sum(1))

    net = Bag()
    y = torch.randint(3, (500,))
    x = torch.randn(500, 8, 10)
    centres = torch.randn(3, 10)
    x[:, ::2] += centres[y][:, None]

    def objective():
        i = rows(500, 64)
        return F.cross_entropy(net(x[i]), y[i])

    opt = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.0 if cured else 0.9)
    return Case(net, opt, objective, ("weight decay",), steps=100)


@case
def angle_between_equal_directions(cured: bool = False) -> Case:
    class Pose(nn.Module):
        """Corrects a measured direction; starts as the identity."""

        def __init__(self):
            super().__init__()
            self.hidden, self.delta = nn.Linear(4, 32), nn.Linear(32, 4)
            nn.init.zeros_(self.delta.weight)
            nn.init.zeros_(self.delta.bias)

        def forward(self, q):
            return F.normalize(q + self.delta(F.softplus(self.hidden(q))), dim=-1)

    net = Pose()
    measured = F.normalize(torch.randn(300, 4), dim=-1)
    true = F.normalize(measured + 0.2 * torch.randn(300, 4) + 0.3, dim=-1)
    still = torch.arange(0, 300, 5)
    axis = F.one_hot(torch.randint(4, (len(still),)), 4).float()
    measured[still] = true[still] = axis  # a resting device: the answer is the question

    def objective():
        i = rows(300, 32)
        cosine = (net(measured[i]) * true[i]).sum(-1)
        return torch.acos(cosine.clamp(-1, 1) * (0.999 if cured else 1)).mean()

    opt = torch.optim.Adam(net.parameters(), 1e-3)
    return Case(net, opt, objective, ("infinite slope", "division by zero"), steps=40 if cured else 12)


@case
def first_word_of_a_long_text(cured: bool = False) -> Case:
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.cell, self.say = nn.Embedding(12, 16), nn.RNNCell(16, 40), nn.Linear(40, 3)

        def forward(self, text):  # (B, T)
            h = text.new_zeros(len(text), 40, dtype=torch.float32)
            for word in self.look(text).unbind(1):
                h = self.cell(word, h)
            return self.say(h)

    net = Reader()

    def objective():
        text = torch.randint(12, (40, 3 if cured else 90))
        return F.cross_entropy(net(text), text[:, 0] % 3)

    return Case(net, torch.optim.RMSprop(net.parameters(), 1e-3), objective, ("recurrence",), steps=40)


@case
def temperature_anomaly_through_a_relu(cured: bool = False) -> Case:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 16, 5)
            self.dense, self.out = nn.Linear(16 * 8, 32), nn.Linear(32, 1)

        def forward(self, x):
            x = F.relu(self.conv(x))
            x = F.avg_pool1d(x, 2).flatten(1)
            x = F.relu(self.dense(x))
            return self.out(x) if cured else F.relu(self.out(x))  # the targets are standardised: half are below 0

    net = Net()
    nn.init.constant_(net.out.bias, 0.5)
    x = torch.randn(600, 3, 20)
    y = x[:, 0].mean(1) * 3 + torch.tanh(x[:, 1, :5].sum(1))
    y = ((y - y.mean()) / y.std())[:, None]

    def objective():
        i = rows(600, 50)
        return F.mse_loss(net(x[i]), y[i])

    return Case(net, torch.optim.Adamax(net.parameters(), 2e-3), objective, ("output range",), steps=150)


# --- six healthy -----------------------------------------------------------------------------------------------------


@case
def healthy_unet_with_dice() -> Case:
    net = TinyUNet()
    pictures, masks = discs()

    def objective():
        i = rows(len(pictures), 12)
        logits, target = net(pictures[i]), masks[i]
        p = torch.sigmoid(logits)
        dice = 1 - (2 * (p * target).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(logits, target) + dice.mean()

    return Case(net, torch.optim.AdamW(net.parameters(), 3e-3), objective, steps=90)


@case
def healthy_two_towers() -> Case:
    """Contrastive: two views, normalised, a learned temperature."""

    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 16))
            self.right = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 16))
            self.log_scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, a, b):
            return F.normalize(self.left(a), dim=-1) @ F.normalize(self.right(b), dim=-1).T * self.log_scale.exp()

    net = Towers()
    hidden = torch.randn(600, 8)
    a = hidden @ torch.randn(8, 24) / 8**0.5 + 0.1 * torch.randn(600, 24)
    b = torch.tanh(hidden @ torch.randn(8, 30) / 8**0.5) + 0.1 * torch.randn(600, 30)

    def objective():
        i = torch.randperm(600)[:48]
        s, here = net(a[i], b[i]), torch.arange(48)
        return (F.cross_entropy(s, here) + F.cross_entropy(s.T, here)) / 2

    return Case(net, torch.optim.Adam(net.parameters(), 2e-3), objective, steps=150)


@case
def healthy_mean_and_variance() -> Case:
    """A loss that rightly falls below 0: the likelihood of little noise."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
            self.mean, self.raw = nn.Linear(48, 1), nn.Linear(48, 1)

        def forward(self, x):
            h = self.body(x)
            return self.mean(h), F.softplus(self.raw(h)) + 1e-3

    net = Net()
    x = torch.rand(1000, 3) * 2 - 1
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:] + (0.05 + 0.15 * (x[:, :1] > 0)) * torch.randn(1000, 1)

    def objective():
        i = rows(1000, 64)
        mean, var = net(x[i])
        return F.gaussian_nll_loss(mean, y[i], var)

    return Case(net, torch.optim.Adam(net.parameters(), 3e-3), objective, steps=250)


@case
def healthy_language_model_with_tied_words() -> Case:
    class Model(nn.Module):
        def __init__(self, words=20, width=32):
            super().__init__()
            self.word = nn.Embedding(words, width)
            nn.init.normal_(self.word.weight, std=width**-0.5)
            self.gru = nn.GRU(width, width, batch_first=True)
            self.drop = nn.Dropout(0.1)
            self.out = nn.Linear(width, words)
            self.out.weight = self.word.weight

        def forward(self, text):
            return self.out(self.drop(self.gru(self.word(text))[0]))

    net = Model()
    after = torch.softmax(2 * torch.randn(20, 20), -1)
    text = torch.randint(20, (300, 1))
    for _ in range(12):
        text = torch.cat([text, torch.multinomial(after[text[:, -1]], 1)], 1)

    def objective():
        i = rows(300, 32)
        return F.cross_entropy(net(text[i, :-1]).transpose(1, 2), text[i, 1:])

    def clip():
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)

    return Case(net, torch.optim.RMSprop(net.parameters(), 2e-3), objective, steps=100, after_backward=clip)


@case
def healthy_denoiser_with_one_cycle() -> Case:
    """Probabilities, and the loss that wants them."""
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.GELU(), nn.Conv2d(8, 16, 4, 2, 1), nn.GELU()),
        nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.GELU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid()),
    )
    noisy, clean = discs()
    criterion = nn.BCELoss()

    def objective():
        i = rows(len(noisy), 16)
        return criterion(net(noisy[i]), clean[i])

    opt = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, total_steps=151)
    return Case(net, opt, objective, steps=150, scheduler=schedule)


@case
def healthy_distillation() -> Case:
    """A trained teacher, frozen on purpose, and a slow average of the student beside it."""

    def make(width):
        return nn.Sequential(nn.Linear(16, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 5))

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.teacher, self.student = make(96), make(24)
            self.average = copy.deepcopy(self.student).requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                target = self.teacher(x)
            return self.student(x), target

    net = Pair()
    x = torch.randn(800, 16)
    y = (x @ torch.randn(16, 5) + 0.5 * x[:, :5] ** 2).argmax(1)
    lessons = torch.optim.Adam(net.teacher.parameters(), 1e-2)
    for _ in range(150):
        i = rows(800, 64)
        lessons.zero_grad()
        F.cross_entropy(net.teacher(x[i]), y[i]).backward()
        lessons.step()
    net.teacher.requires_grad_(False).eval()
    for p in net.teacher.parameters():
        p.grad = None

    def objective():
        i = rows(800, 64)
        out, target = net(x[i])
        soft = F.kl_div(F.log_softmax(out / 2, -1), F.softmax(target / 2, -1), reduction="batchmean") * 4
        return 0.7 * soft + 0.3 * F.cross_entropy(out, y[i])

    @torch.no_grad()
    def follow():
        for slow, fast in zip(net.average.parameters(), net.student.parameters(), strict=True):
            slow.lerp_(fast, 0.05)

    opt = torch.optim.SGD(net.student.parameters(), 0.05, momentum=0.9)
    return Case(net, opt, objective, steps=120, after_step=follow)


def judge(name: str, seed: int) -> tuple[str, list[str]]:
    """How a case fares, and the causes that are named."""
    torch.manual_seed(seed)
    case = CASES[name]()
    with Probe(case.model, case.optimizer, every=4) as probe:
        for _ in range(case.steps):
            case.step()
    causes = [finding.cause for finding in diagnose(probe.record).findings]
    if not case.causes:
        return "accused" if causes else "healthy", causes
    return "right" if set(causes[:2]) & set(case.causes) else "wrong" if causes else "silent", causes


def main() -> None:
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for seed in map(int, sys.argv[1:] or ["0"]):
        for name in CASES:
            verdict, causes = judge(name, seed)
            counts[verdict] += 1
            print(f"{verdict:8}{name}: {', '.join(causes) or 'nothing'}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
