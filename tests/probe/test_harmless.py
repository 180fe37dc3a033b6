"""A run that is watched ends as one that isn't, to the bit, however it is trained; and nothing that it uses breaks."""

import copy
import gc
import io
import math
import pickle
import weakref
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from networks import Calls
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vgdocs.probe import Probe

STEPS = 100
Watch = Callable[..., object]  # a Probe, or nothing, around a loop
LOOPS: dict[str, Callable[[Watch], list[nn.Module]]] = {}


def loop(train):
    """A training of `STEPS` steps inside what it is given, that returns what it trained."""
    LOOPS[train.__name__] = train
    return train


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def fit(watch: Watch, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[nn.Module]:
    """The usual loop, with other data in each step."""
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 1e-2)
    with watch(model, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.randint(3, (6,))).backward()
            optimizer.step()
    return [model]


@loop
def perceptron(watch):
    return fit(watch, mlp())


@loop
def convolutions_with_batch_norm(watch):
    return fit(
        watch,
        nn.Sequential(
            nn.Unflatten(1, (1, 2, 4)),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(8, 3),
        ),
    )


@loop
def lstm(watch):
    parts = {"lstm": nn.LSTM(2, 6, num_layers=2, dropout=0.2, batch_first=True), "out": nn.Linear(6, 3)}
    return fit(watch, Calls(lambda self, x: self.out(self.lstm(x.unflatten(1, (4, 2)))[0][:, -1]), **parts))


@loop
def transformer_with_dropout(watch):
    block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)
    parts = {"encoder": nn.TransformerEncoder(block, 2, enable_nested_tensor=False), "out": nn.Linear(4, 3)}
    return fit(watch, Calls(lambda self, x: self.out(self.encoder(x.unflatten(1, (2, 4))).mean(1)), **parts))


@loop
def residual(watch):
    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)

    blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU()) for _ in range(4))
    model = Calls(forward, blocks=blocks, out=nn.Linear(8, 3))
    return fit(watch, model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3))


@loop
def tied_weights(watch):
    model = Calls(
        lambda self, x: self.decoder(torch.tanh(self.encoder((x[:, :4] * 3).long().abs() % 3).mean(1))),
        encoder=nn.Embedding(3, 8),
        decoder=nn.Linear(8, 3, bias=False),
    )
    model.decoder.weight = model.encoder.weight
    return fit(watch, model)


@loop
def checkpointed(watch):
    body = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.ReLU())
    parts = {"first": nn.Linear(8, 8), "body": body, "out": nn.Linear(8, 3)}
    return fit(
        watch, Calls(lambda self, x: self.out(checkpoint(self.body, self.first(x), use_reentrant=False)), **parts)
    )


@loop
def checkpointed_by_reentering(watch):
    """A backward pass inside a backward pass."""
    body = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.ReLU())
    parts = {"first": nn.Linear(8, 8), "body": body, "out": nn.Linear(8, 3)}
    return fit(
        watch, Calls(lambda self, x: self.out(checkpoint(self.body, self.first(x), use_reentrant=True)), **parts)
    )


@loop
def recurrence_written_out_and_clipped(watch):
    cell, out = nn.GRUCell(2, 6), nn.Linear(6, 3)
    model = nn.ModuleList([cell, out])
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-2)
    with watch(model, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            state = torch.zeros(6, 6)
            for x in torch.randn(5, 6, 2):
                state = cell(x, state)
            F.cross_entropy(out(state), torch.randint(3, (6,))).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return [model]


@loop
def accumulated(watch):
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with watch(model, optimizer):
        for _ in range(STEPS):
            for _ in range(3):
                F.cross_entropy(model(torch.randn(4, 8)), torch.randint(3, (4,))).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    return [model]


@loop
def adversaries(watch):
    generator, critic = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)), mlp()
    one, other = torch.optim.Adam(generator.parameters(), 1e-3), torch.optim.Adam(critic.parameters(), 1e-3)
    with watch(generator, one), watch(critic, other):
        for _ in range(STEPS):
            fake = generator(torch.randn(6, 4))
            other.zero_grad()
            (critic(fake.detach()).exp().mean() - critic(torch.randn(6, 8)).mean()).backward()
            other.step()
            one.zero_grad()
            critic(fake).mean().backward()
            one.step()
    return [generator, critic]


@loop
def scaled_half_precision(watch):
    model = mlp()
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=2.0**10), torch.optim.Adam(model.parameters(), 1e-2)
    with watch(model, optimizer, scaler):
        for step in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(torch.randn(6, 8)), torch.randint(3, (6,)))
            scaler.scale(loss * (math.inf if step == 7 else 1.0)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    return [model]


@loop
def gradient_penalty(watch):
    """A second derivative, as critics and physics-informed networks take it."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with watch(model, optimizer):
        for _ in range(STEPS):
            x = torch.randn(6, 8, requires_grad=True)
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            optimizer.zero_grad()
            ((slope.norm(dim=1) - 1) ** 2).mean().backward()
            optimizer.step()
    return [model]


@loop
def two_passes_a_step(watch):
    """Sharpness-aware minimisation: up the gradient, a second pass there, back, and then the step."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer):
        for _ in range(STEPS):
            x, y = torch.randn(6, 8), torch.randint(3, (6,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                way = [0.05 * p.grad for p in model.parameters()]
                torch._foreach_add_(list(model.parameters()), way)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                torch._foreach_sub_(list(model.parameters()), way)
            optimizer.step()
    return [model]


@loop
def with_a_closure(watch):
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=2)
    x, y = torch.randn(6, 8), torch.randint(3, (6,))

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with watch(model, optimizer):
        for _ in range(STEPS):
            optimizer.step(closure)
    return [model]


@loop
def compiled_step(watch):
    torch._dynamo.reset()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    @torch.compile(backend="eager")
    def step(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    with watch(model, optimizer):
        for _ in range(STEPS):
            step(torch.randn(6, 8), torch.randint(3, (6,)))
    return [model]


@loop
def compiled_model(watch):
    torch._dynamo.reset()
    model = mlp()
    model.compile(backend="eager")
    return fit(watch, model)


def outcome(train, watch: Watch) -> list[Tensor]:
    """All parameters and buffers after a training, and where it left the random state."""
    torch.manual_seed(0)
    return [t.detach() for model in train(watch) for t in (*model.parameters(), *model.buffers())] + [torch.rand(1)]


@pytest.mark.parametrize("name", LOOPS)
def test_a_hundred_steps_end_the_same_to_the_bit(name):
    probes = []

    def probe(*given):
        probes.append(Probe(*given))
        return probes[-1]

    watched, alone = outcome(LOOPS[name], probe), outcome(LOOPS[name], lambda *_: nullcontext())
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))
    assert [each.record.gaps for each in probes] == [[]] * len(probes)
    if name != "compiled_step":  # what is compiled into one piece may hide all of it
        # the generator's last pass gives the critic gradients that no step of its own uses
        expected = [STEPS, STEPS + 1] if name == "adversaries" else [STEPS]
        assert [len(each.record) for each in probes] == expected
        assert all(row["loss"] is not None for each in probes for row in each.record.step_rows)


class TestStepsBetween:
    """What is recorded where the layers aren't looked at."""

    def test_it_is_what_is_recorded_where_they_are(self):
        def run(every):
            torch.manual_seed(0)
            probe = Probe(model := mlp(), optimizer := torch.optim.Adam(model.parameters()), every=every)
            with probe:
                for step in range(8):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(torch.randn(6, 8)), torch.randint(3, (6,)))
                    (loss * 10.0 ** (-4 * step)).backward()
                    optimizer.step()
            found = [row["weight_gradient"] for row in probe.record.rows if row["family"] == "weights"]
            return found + [row[name] for row in probe.record.step_rows for name in ("loss", "lr", "gradient")]

        seldom, always = run(100), run(1)
        assert len(always) == 8 * (3 + 3)
        assert seldom == pytest.approx(always, rel=1e-6, abs=0)

    def test_no_hook_stands_on_a_layer(self):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Probe(model, optimizer, every=3) as probe:
            for step in range(6):
                assert bool(model[1]._forward_hooks) == (step % 3 == 0)
                model(torch.randn(6, 8)).sum().backward()
                optimizer.step()
        assert probe.record.full_steps == [0, 3]

    def test_by_default_the_first_four_and_each_tenth_are_looked_at(self):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Probe(model, optimizer) as probe:
            for _ in range(31):
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
        assert probe.record.full_steps == [0, 1, 2, 3, 10, 20, 30]

    def test_anothers_loss_is_not_the_models(self):
        model, other = mlp(), mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        with Probe(model, optimizer, every=3) as probe:
            for _ in range(5):
                optimizer.zero_grad()
                model(torch.ones(1, 8)).square().mean().backward()
                (other(torch.ones(1, 8)).square().mean() + 100.0).backward()
                optimizer.step()
        assert len(probe.record) == 5
        assert max(row["loss"] for row in probe.record.step_rows) < 10

    def test_a_parameter_that_nothing_reaches_has_no_gradient_even_if_one_is_there(self):
        model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        with Probe(model, optimizer, every=2) as probe:
            for _ in range(2):
                optimizer.zero_grad(set_to_none=False)
                model[0](torch.ones(1, 2)).sum().backward()
                optimizer.step()
        assert [row["weight_gradient"] is None for row in probe.record.rows] == [False, True] * 2

    def test_of_a_large_parameter_the_update_is_measured_in_a_part_of_its_rows(self, monkeypatch):
        monkeypatch.setattr("vgdocs.probe.watch.MOST", 100)
        model = nn.Linear(8, 64)
        before = model.weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Probe(model, optimizer) as probe:
            model(torch.ones(3, 8)).sum().backward()
            assert sum(t.numel() for t in probe._before.values()) == 0
            optimizer.step()
            assert sum(t.numel() for t in probe._before.values()) <= 100 + 64
        moved = (model.weight.detach() - before).norm()  # each row by the same
        bias = 0.1 * 3 * 64**0.5
        row = probe.record.rows[0]
        assert row["update_ratio"] * row["weight"] == pytest.approx(math.hypot(moved, bias), rel=1e-5)


def train_some(model, optimizer, probe, backward=Tensor.backward, steps=6):
    with probe:
        for _ in range(steps):
            optimizer.zero_grad()
            backward(F.cross_entropy(model(torch.randn(6, 8)), torch.randint(3, (6,))))
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimizer.step()
    record = probe.record
    assert record.gaps == []
    assert len(record) == steps
    assert all(row["weight_gradient"] > 0 for row in record.rows if row["family"] == "weights")
    assert all(row["loss"] > 0 for row in record.step_rows)
    assert all(row["handed"] < 0.1 for row in record.step_rows if row["handed"] is not None), "what is clipped is seen"


class TestOthersWays:
    @pytest.mark.usefixtures("one_process")
    def test_distributed_data_parallel(self):
        model = nn.parallel.DistributedDataParallel(mlp())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        train_some(model, optimizer, Probe(model, optimizer))

    @pytest.mark.usefixtures("one_process")
    @pytest.mark.parametrize("blocks", [False, True])
    def test_fully_sharded(self, blocks):
        """FSDP2: gradients reach the optimizer by other means than autograd's own."""
        from torch.distributed.fsdp import fully_shard

        mesh, model = torch.distributed.device_mesh.init_device_mesh("cpu", (1,)), mlp()
        for block in model[::2] if blocks else ():
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        train_some(model, optimizer, Probe(model, optimizer))

    def test_accelerate(self):
        accelerate = pytest.importorskip("accelerate")
        accelerator = accelerate.Accelerator(cpu=True)
        plain = mlp()
        model, optimizer = accelerator.prepare(plain, torch.optim.SGD(plain.parameters(), 0.1))
        train_some(model, optimizer, Probe(model, optimizer), accelerator.backward)

    @pytest.mark.parametrize("by_name", [False, True])
    def test_a_closure(self, by_name):
        """As Lightning steps: the gradient comes inside the step."""
        model, x = mlp(), torch.randn(6, 8)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def closure():
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            return loss

        with Probe(model, optimizer) as probe:
            for _ in range(6):
                loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert probe.record.step_rows[-1]["loss"] == loss.item()
        assert [row["lr"] for row in probe.record.step_rows] == [0.1] * 6
        assert probe.record.step_rows[0]["handed"] < 0.1
        assert probe.record.at(0)[0]["update_ratio"] > 0

    def test_an_engine_that_tells_nobody_of_its_backward_pass(self, monkeypatch):
        backward = torch.autograd.backward  # as one who imported it before
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Probe(model, optimizer, every=2) as probe:
            for _ in range(4):
                optimizer.zero_grad()
                backward([model(torch.randn(6, 8)).sum()])
                optimizer.step()
        assert len(probe.record) == 4
        assert all(row["weight_gradient"] > 0 for row in probe.record.rows if row["family"] == "weights")

    def test_its_scaler_and_optimizer_can_be_copied_and_stored_meanwhile(self):
        model = mlp()
        optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
        with Probe(model, optimizer, scaler) as probe:
            twin, other = copy.deepcopy(model), pickle.loads(pickle.dumps(scaler))
            own = torch.optim.SGD(twin.parameters(), 0.1)
            other.scale(twin(torch.randn(6, 8)).sum()).backward()
            other.step(own)
            for thing in (model, optimizer, scaler, optimizer.state_dict()):
                torch.save(thing, io.BytesIO())
                copy.deepcopy(thing)
            scaler.scale(model(torch.randn(6, 8)).sum()).backward()
            scaler.step(optimizer)
        assert probe.record.steps == [0]
        assert not torch.equal(twin[0].weight, model[0].weight)

    def test_an_exception_of_the_users_comes_out_and_leaves_nothing(self):
        model = mlp()
        before = torch.autograd.backward, torch.amp.GradScaler.step
        probe = Probe(model, torch.optim.SGD(model.parameters(), 0.1))
        with pytest.raises(ZeroDivisionError), probe:  # noqa: PT012
            model(torch.randn(6, 8)).sum().backward()
            _ = 1 / 0
        assert (torch.autograd.backward, torch.amp.GradScaler.step) == before
        assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
        gone = weakref.ref(model)
        del model
        probe._optimizer = None
        del probe
        gc.collect()
        assert gone() is None


def test_every_method_that_hears_of_the_run_may_fail(monkeypatch):
    """Each of the probe's doors into the run, broken in turn: the training ends the same, with a warning."""
    doors = ["_forward", "_activation_gradient", "_open_input", "_read_graph", "_before_update", "_close", "_look"]
    doors += ["_backward_begins", "_backward_ends", "_take_gradients", "_look_at_weights", "_measure_update", "_signal"]
    alone = outcome(LOOPS["lstm"], lambda *_: nullcontext())

    def fail(*_, **__):
        raise KeyError("broken")

    for door in doors:
        with monkeypatch.context() as patch:
            patch.setattr(Probe, door, fail)
            with pytest.warns(RuntimeWarning, match="left a gap"):
                watched = outcome(LOOPS["lstm"], Probe)
        assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True)), door
