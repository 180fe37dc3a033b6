"""Healthy trainings of every family and by every means: nothing is said of them. The zoo has the plain networks."""

import copy
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import Calls, LowRank, adam
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from vgdocs.probe import Probe, diagnose
from vgdocs.probe.trial import mlp

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(5)]
STEPS = 40
TRAININGS: dict[str, Callable] = {}


def training(run):
    """A loop inside what it is given: watch(model, optimizer, scaler)."""
    TRAININGS[run.__name__] = run
    return run


def fit(watch, model: nn.Module, loss: Callable[[], Tensor], optimizer=None, backward=Tensor.backward):
    """The usual loop; `loss` draws a batch."""
    optimizer = optimizer or adam(model)
    with watch(model, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            backward(loss())
            optimizer.step()


def blobs(classes: int = 4, features: int = 16) -> Callable[[], tuple[Tensor, Tensor]]:
    """Draws batches of examples around a centre for each class."""
    centres = 1.5 * torch.randn(classes, features)

    def batch():
        y = torch.randint(classes, (32,))
        return centres[y] + torch.randn(32, features), y

    return batch


def classify(watch, model: nn.Module, batch=None, **options):
    batch = batch or blobs()

    def loss():
        x, y = batch()
        return F.cross_entropy(model(x), y)

    fit(watch, model, loss, **options)


def bars() -> tuple[Tensor, Tensor]:
    """Pictures of noise with a bright bar: which of four places it is in, (batch, 1, 8, 8)."""
    y = torch.randint(4, (32,))
    x = 0.5 * torch.randn(32, 1, 8, 8)
    for picture, place in zip(x, y, strict=True):
        picture[0, :, 2 * place] += 2
    return x, y


def counting(length: int = 12, numbers: int = 16) -> tuple[Tensor, Tensor]:
    """Sequences that count up from anywhere, and what comes next."""
    x = (torch.randint(numbers, (32, 1)) + torch.arange(length + 1)) % numbers
    return x[:, :-1], x[:, 1:]


def next_token(model: nn.Module) -> Callable[[], Tensor]:
    def loss():
        x, y = counting()
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    return loss


# --- convolutional ---------------------------------------------------------------------------------------------------


@training
def u_net(watch):
    def forward(self, x):
        one = F.relu(self.down(x))
        two = F.relu(self.middle(F.max_pool2d(one, 2)))
        return self.out(torch.cat([one, self.up(two)], 1))

    model = Calls(
        forward,
        down=nn.Conv2d(1, 8, 3, padding=1),
        middle=nn.Conv2d(8, 16, 3, padding=1),
        up=nn.ConvTranspose2d(16, 8, 2, stride=2),
        out=nn.Conv2d(16, 1, 1),
    )

    def loss():
        x, _ = bars()
        return F.binary_cross_entropy_with_logits(model(x), (x > 1).float())

    fit(watch, model, loss)


@training
def separable_convolutions(watch):
    def block(a, b):
        depthwise = nn.Conv2d(a, a, 3, padding=1, groups=a, bias=False)
        return [depthwise, nn.BatchNorm2d(a), nn.ReLU6(), nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU6()]

    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)]
    classify(watch, nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *block(8, 16), *block(16, 32), *pool), bars)


@training
def squeeze_and_excitation(watch):
    """With SiLU, as in EfficientNet: four ReLUs behind a mean can all be dead, and then are rightly found to be."""

    def forward(self, x):
        h = F.relu(self.first(x))
        h = h * torch.sigmoid(self.excite(F.silu(self.squeeze(h.mean((2, 3))))))[..., None, None]
        return self.out(F.relu(self.second(h)).flatten(1))

    model = Calls(
        forward,
        first=nn.Conv2d(1, 16, 3, padding=1),
        squeeze=nn.Linear(16, 4),
        excite=nn.Linear(4, 16),
        second=nn.Conv2d(16, 8, 3, stride=2, padding=1),
        out=nn.Linear(128, 4),
    )
    classify(watch, model, bars)


@training
def densely_connected(watch):
    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, F.relu(layer(x))], 1)
        return self.out(x.mean((2, 3)))

    layers = nn.ModuleList(nn.Conv2d(1 + 8 * i, 8, 3, padding=1) for i in range(5))
    classify(watch, Calls(forward, layers=layers, out=nn.Linear(41, 4)), bars)


@training
def causal_dilated_convolutions(watch):
    def forward(self, x):
        h = self.embed(x).transpose(1, 2)
        for i, layer in enumerate(self.layers):
            h = h + F.relu(layer(F.pad(h, (2**i, 0))))
        return self.out(h.transpose(1, 2))

    layers = nn.ModuleList(nn.Conv1d(16, 16, 2, dilation=2**i) for i in range(4))
    model = Calls(forward, embed=nn.Embedding(16, 16), layers=layers, out=nn.Linear(16, 16))
    fit(watch, model, next_token(model))


# --- recurrent -------------------------------------------------------------------------------------------------------


@training
def bidirectional_tagger(watch):
    lstm = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
    model = Calls(
        lambda self, x: self.out(self.lstm(self.embed(x))[0]),
        embed=nn.Embedding(16, 16),
        lstm=lstm,
        out=nn.Linear(32, 16),
    )
    fit(watch, model, next_token(model))


@training
def gru_as_a_language_model(watch):
    model = Calls(
        lambda self, x: self.out(self.gru(self.embed(x))[0]),
        embed=nn.Embedding(16, 24),
        gru=nn.GRU(24, 24, num_layers=2, batch_first=True),
        out=nn.Linear(24, 16),
    )
    fit(watch, model, next_token(model))


@training
def encoder_and_decoder(watch):
    """One recurrent network reads, another writes what was read, forwards."""

    def forward(self, x):
        _, state = self.reader(self.embed(x))
        start = torch.zeros(len(x), 1, 16)
        return self.out(self.writer(torch.cat([start, self.embed(x)[:, :-1]], 1), state)[0])

    parts = {name: nn.GRU(16, 24, batch_first=True) for name in ("reader", "writer")}
    model = Calls(forward, embed=nn.Embedding(16, 16), out=nn.Linear(24, 16), **parts)

    def loss():
        x, _ = counting(6)
        return F.cross_entropy(model(x).flatten(0, 1), x.flatten())

    fit(watch, model, loss)


# --- attention -------------------------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """A causal Transformer with tied embeddings."""

    def __init__(self, width: int = 32, layers: int = 3):
        super().__init__()
        block = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.embed, self.places = nn.Embedding(16, width), nn.Parameter(0.02 * torch.randn(12, width))
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        h = self.blocks(self.embed(x) + self.places[: x.shape[1]], mask=mask, is_causal=True)
        return self.norm(h) @ self.embed.weight.T


@training
def causal_transformer(watch):
    model = Decoder()
    fit(watch, model, next_token(model))


@training
def vision_transformer(watch):
    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.places
        return self.out(self.blocks(h)[:, 0])

    block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
    model = Calls(
        forward,
        patches=nn.Conv2d(1, 32, 2, stride=2),
        token=nn.Parameter(0.02 * torch.randn(1, 1, 32)),
        places=nn.Parameter(0.02 * torch.randn(1, 17, 32)),
        blocks=nn.TransformerEncoder(block, 3, norm=nn.LayerNorm(32), enable_nested_tensor=False),
        out=nn.Linear(32, 4),
    )
    classify(watch, model, bars)


@training
def translation(watch):
    transformer = nn.Transformer(32, 4, 2, 2, 64, dropout=0.1, batch_first=True, norm_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(8)

    def forward(self, x, y):
        return self.out(self.transformer(self.embed(x), self.embed(y), tgt_mask=mask))

    model = Calls(forward, embed=nn.Embedding(16, 32), transformer=transformer, out=nn.Linear(32, 16))

    def loss():
        x, y = counting(9)
        return F.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten())

    fit(watch, model, loss)


@training
def cross_attention_of_a_set(watch):
    """A few learned queries read a set of points (Jaegle et al. 2021)."""
    attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x):
        h = self.embed(x.unflatten(1, (8, 2)))
        return self.out(self.norm(self.attend(self.queries.expand(len(x), -1, -1), h, h)[0]).mean(1))

    model = Calls(
        forward,
        embed=mlp(2, 32, 32),
        queries=nn.Parameter(torch.randn(1, 4, 32)),
        attend=attention,
        norm=nn.LayerNorm(32),
        out=mlp(32, 32, 4),
    )
    classify(watch, model)


@training
def mixture_of_experts(watch):
    """Each example goes to the two experts that a gate prefers."""

    def forward(self, x):
        weight, chosen = self.gate(x).softmax(-1).topk(2)
        out = torch.zeros(len(x), 32)
        for i, expert in enumerate(self.experts):
            rows, which = (chosen == i).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, weight[rows, which, None] * expert(x[rows]))
        return self.out(x @ self.skip + out)

    experts = nn.ModuleList(mlp(16, 32, 32) for _ in range(4))
    skip = nn.Parameter(torch.randn(16, 32) / 4)
    classify(watch, Calls(forward, gate=nn.Linear(16, 4), experts=experts, skip=skip, out=nn.Linear(32, 4)))


# --- other aims ------------------------------------------------------------------------------------------------------


@training
def adversaries(watch):
    generator, critic = mlp(4, 32, 32, 2), mlp(2, 32, 32, 1, activation=partial(nn.LeakyReLU, 0.2))
    one, other = torch.optim.Adam(generator.parameters(), 1e-3), torch.optim.Adam(critic.parameters(), 1e-3)
    true = torch.tensor([[1.0, -1.0]])
    with watch(generator, one), watch(critic, other):
        for _ in range(STEPS):
            fake, real = generator(torch.randn(32, 4)), true + 0.3 * torch.randn(32, 2)
            other.zero_grad()
            verdicts = critic(torch.cat([fake.detach(), real]))
            F.binary_cross_entropy_with_logits(verdicts, torch.arange(2.0).repeat_interleave(32)[:, None]).backward()
            other.step()
            one.zero_grad()
            F.binary_cross_entropy_with_logits(critic(fake), torch.ones(32, 1)).backward()
            one.step()


@training
def variational_autoencoder(watch):
    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decode(z), mean, log_variance

    model, batch = Calls(forward, encode=mlp(16, 32, 8), decode=mlp(4, 32, 16)), blobs()

    def loss():
        x, _ = batch()
        y, mean, log_variance = model(x)
        divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1).mean()
        return F.mse_loss(y, x) + 0.1 * divergence

    fit(watch, model, loss)


@training
def a_step_of_diffusion(watch):
    """What noise was added (Ho et al. 2020)."""
    net = mlp(17, 64, 64, 16, activation=nn.SiLU)
    model, batch = Calls(lambda self, x, t: self.net(torch.cat([x, t], 1)), net=net), blobs()

    def loss():
        x, t, noise = batch()[0], torch.rand(32, 1), torch.randn(32, 16)
        kept = torch.cos(0.5 * math.pi * t)
        return F.mse_loss(model(kept * x + (1 - kept**2).sqrt() * noise, t), noise)

    fit(watch, model, loss)


@training
def contrastive(watch):
    """Two views of an example are alike, and those of others are not (Oord et al. 2018)."""
    model, batch = mlp(16, 32, 32, 8), blobs(classes=32)

    def loss():
        x, _ = batch()
        a, b = (F.normalize(model(x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2))
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(32))

    fit(watch, model, loss)


@training
def triplets(watch):
    model, batch = mlp(16, 32, 8), blobs(classes=2)

    def loss():
        x, y = batch()
        same, other = x[y == 0], x[y == 1]
        n = min(len(same) - 1, len(other))
        return F.triplet_margin_loss(model(same[:n]), model(same[1 : n + 1]), model(other[:n]), margin=2.0)

    fit(watch, model, loss)


@training
def normalising_flow(watch):
    """Halves that scale and shift each other (Dinh et al. 2017); the loss is a density's, and falls below 0."""
    couplings = nn.ModuleList(mlp(1, 32, 2) for _ in range(4))

    def forward(self, x):
        a, b, total = x[:, :1], x[:, 1:], 0.0
        for coupling in self.couplings:
            scale, shift = coupling(a).chunk(2, 1)
            a, b, total = b * torch.tanh(scale).exp() + shift, a, total + torch.tanh(scale)
        return torch.cat([a, b], 1), total

    model = Calls(forward, couplings=couplings)

    def loss():
        z, total = model(torch.randn(64, 2) * torch.tensor([0.3, 1.0]) + 1.0)
        return (0.5 * (z**2).sum(1) - total.sum(1)).mean()

    fit(watch, model, loss)


@training
def values_of_actions(watch):
    """Q-learning with a target network that follows (Mnih et al. 2015)."""
    model = mlp(4, 32, 32, 2)
    target = copy.deepcopy(model)

    def loss():
        x, action = torch.randn(32, 4), torch.randint(2, (32, 1))
        with torch.no_grad():
            wanted = (x[:, 0] > 0).float() + 0.5 * target(torch.randn(32, 4)).amax(1)
            for a, b in zip(target.parameters(), model.parameters(), strict=True):
                a.lerp_(b, 0.05)
        return F.smooth_l1_loss(model(x).gather(1, action)[:, 0], wanted)

    fit(watch, model, loss)


@training
def actor_and_critic(watch):
    model = Calls(
        lambda self, x: (self.actor(self.body(x)), self.critic(self.body(x))),
        body=mlp(4, 32, 32, activation=nn.Tanh),
        actor=nn.Linear(32, 3),
        critic=nn.Linear(32, 1),
    )

    def loss():
        x = torch.randn(64, 4)
        logits, value = model(x)
        choice = torch.distributions.Categorical(logits=logits)
        action = choice.sample()
        reward = (action == x[:, :3].argmax(1)).float()
        advantage = reward - value[:, 0]
        return (
            (advantage**2).mean()
            - (choice.log_prob(action) * advantage.detach()).mean()
            - 0.01 * choice.entropy().mean()
        )

    fit(watch, model, loss)


@training
def physics_informed(watch):
    """u' = -u with u(0) = 1, by its residual."""
    model = mlp(1, 32, 32, 1, activation=nn.Tanh)

    def loss():
        x = torch.rand(64, 1, requires_grad=True)
        u = model(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return ((slope + u) ** 2).mean() + (model(torch.zeros(1, 1)) - 1).square().mean()

    fit(watch, model, loss)


@training
def sines(watch):
    """Of a coordinate, with Sitzmann et al.'s 2020 weights."""

    class Sine(nn.Module):
        def __init__(self, a, b, bound):
            super().__init__()
            self.linear = nn.Linear(a, b)
            nn.init.uniform_(self.linear.weight, -bound, bound)

        def forward(self, x):
            return torch.sin(30 * self.linear(x))

    bound = math.sqrt(6 / 64) / 30
    model = nn.Sequential(Sine(1, 64, 1.0), Sine(64, 64, bound), Sine(64, 64, bound), nn.Linear(64, 1))

    def loss():
        x = 2 * torch.rand(64, 1) - 1
        return F.mse_loss(model(x), torch.sin(8 * x))

    fit(watch, model, loss, torch.optim.Adam(model.parameters(), 1e-4))


@training
def graph_convolutions(watch):
    links = (torch.rand(32, 32) < 0.1).float()
    links = ((links + links.T + torch.eye(32)) > 0).float()
    links = links / links.sum(1, keepdim=True)
    model = Calls(lambda self, x: self.b(links @ F.relu(self.a(links @ x))), a=nn.Linear(16, 32), b=nn.Linear(32, 4))
    x, y = blobs()()
    classify(watch, model, lambda: (x, y), optimizer=adam(model, 1e-2))


@training
def matrix_factorisation(watch):
    people, things = torch.randn(40, 4), torch.randn(30, 4)

    def forward(self, i, j):
        return (self.one(i) * self.other(j)).sum(1) + self.bias(i)[:, 0]

    model = Calls(forward, one=nn.Embedding(40, 8), other=nn.Embedding(30, 8), bias=nn.Embedding(40, 1))

    def loss():
        i, j = torch.randint(40, (256,)), torch.randint(30, (256,))
        return F.mse_loss(model(i, j), (people[i] * things[j]).sum(1))

    fit(watch, model, loss, adam(model, 3e-2))


@training
def highway(watch):
    def forward(self, x):
        for gate, layer in zip(self.gates, self.layers, strict=True):
            open_ = torch.sigmoid(gate(x))
            x = open_ * F.relu(layer(x)) + (1 - open_) * x
        return self.out(x)

    parts = {name: nn.ModuleList(nn.Linear(16, 16) for _ in range(10)) for name in ("gates", "layers")}
    for gate in parts["gates"]:
        nn.init.constant_(gate.bias, -2.0)
    classify(watch, Calls(forward, out=nn.Linear(16, 4), **parts))


@training
def two_tasks(watch):
    def forward(self, x):
        h = self.body(x)
        return self.a(h), self.b(h)

    model = Calls(forward, body=mlp(16, 32, 32), a=nn.Linear(32, 4), b=nn.Linear(32, 1))
    batch = blobs()

    def loss():
        x, y = batch()
        a, b = model(x)
        return F.cross_entropy(a, y) + F.mse_loss(b[:, 0], x.mean(1))

    fit(watch, model, loss)


@training
def weights_in_another_shape(watch):
    layers = [weight_norm(nn.Linear(16, 32)), spectral_norm(nn.Linear(32, 32)), nn.Linear(32, 4)]
    classify(watch, nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]))


# --- other means -----------------------------------------------------------------------------------------------------


@training
def low_rank_adapters(watch):
    model, batch = mlp(16, 64, 64, 4), blobs()
    optimizer = adam(model)
    for _ in range(300):
        x, y = batch()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    adapted = nn.Sequential(LowRank(model[0], 2), nn.ReLU(), LowRank(model[2], 2), nn.ReLU(), LowRank(model[4], 2))
    classify(watch, adapted)


@training
def checkpointed(watch):
    def forward(self, x):
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return self.out(x)

    blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(16), mlp(16, 32, 16)) for _ in range(4))
    classify(watch, Calls(forward, blocks=blocks, out=nn.Linear(16, 4)))


@training
def compiled(watch):
    torch._dynamo.reset()
    classify(watch, torch.compile(mlp(16, 32, 32, 4), backend="eager"))


@training
def half_precision(watch):
    model, batch = mlp(16, 32, 32, 4), blobs()
    optimizer, scaler = adam(model), torch.amp.GradScaler("cpu", init_scale=2.0**14)
    with watch(model, optimizer, scaler):
        for _ in range(STEPS):
            x, y = batch()
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x).float(), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


@training
def accumulated_and_clipped(watch):
    model, batch = mlp(16, 32, 32, 4), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    with watch(model, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            for _ in range(4):
                x, y = batch()
                (F.cross_entropy(model(x), y) / 4).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


def in_one_process(run):
    """A training that needs a group of processes, of which this one is all."""
    run.distributed = True
    return training(run)


@in_one_process
def data_parallel(watch):
    classify(watch, nn.parallel.DistributedDataParallel(mlp(16, 32, 32, 4)))


@in_one_process
def fully_sharded(watch):
    from torch.distributed.fsdp import fully_shard

    mesh, model = torch.distributed.device_mesh.init_device_mesh("cpu", (1,)), mlp(16, 32, 32, 4)
    for layer in model[::2]:
        fully_shard(layer, mesh=mesh)
    classify(watch, fully_shard(model, mesh=mesh))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TRAININGS)
def test_nothing_is_found(name, seed, request):
    torch.manual_seed(seed)
    run, probes = TRAININGS[name], []
    if hasattr(run, "distributed"):
        request.getfixturevalue("one_process")
    run(lambda *given: probes.append(Probe(*given)) or probes[-1])
    for probe in probes:
        assert probe.record.gaps == []
        assert len(probe.record) >= STEPS
        verdict = diagnose(probe.record)
        assert verdict.findings == (), str(verdict)


def test_there_are_as_many_as_are_spoken_of():
    assert len(TRAININGS) >= 30
