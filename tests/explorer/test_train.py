"""What trains in the page is what PyTorch trains: the same words, draws, gradients and updates; so is the command."""

import copy
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import train_parity
from click.testing import CliRunner, Result
from py_mini_racer import JSEvalException, MiniRacer

from vgdocs.cli import cli
from vgdocs.experiments import digits
from vgdocs.explorer import train
from vgdocs.explorer.train import OPTIONS, parse, query, script

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / train.ASSETS
QUERIES = [  # between them, every value of every key
    "depth=6&norm=batch&skip=residual&init=he&activation=relu&warmup=3&seed=1",
    "depth=20&width=16&batch=32",
    "data=spirals&depth=8&activation=tanh&init=xavier&skip=scaled&norm=layer&optimizer=momentum&seed=2147483647",
    "data=circles&depth=5&width=5&activation=gelu&init=orthogonal&skip=rezero&norm=rms&optimizer=adam&batch=7",
    "data=moons&depth=9&width=17&activation=silu&init=lecun&gain=1.5&optimizer=rmsprop&clip=0.01",
    "data=xor&depth=1&activation=linear&norm=batch&optimizer=adam&batch=256",
    "data=spirals&depth=15&width=20&activation=selu&init=lecun&optimizer=sgd&lr=0.003",
    "data=moons&depth=7&activation=elu&init=orthogonal&skip=residual&gain=0.3&clip=1&warmup=7",
    "depth=4&width=64&activation=leaky_relu&init=he&norm=layer",
    "net=rnn&length=30&init=orthogonal&gain=1.2&width=12&lr=0.5",
    "net=lstm&length=15&data=middle&forget=2&optimizer=adam&clip=0.05&batch=9",
    "net=gru&length=20&init=xavier&optimizer=rmsprop&width=11",
    "net=lstm&length=11&init=he&forget=-0.5",
    "net=gru&length=10&data=middle&init=lecun&optimizer=momentum&warmup=2",
]
STEPS = 8


@pytest.fixture(scope="module")
def js() -> MiniRacer:
    context = MiniRacer()
    for name in ("settings", "engine", "digits"):
        context.eval((ASSETS / f"{name}.js").read_text("utf-8"))
    context.eval("const make = query => vgTrain.create(vgTrain.parse(query))")
    return context


def evaluate(js: MiniRacer, expression: str):
    return json.loads(js.eval(f"JSON.stringify({expression})"))


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["train", *arguments])


def program(link: str) -> dict:
    """The names of the script, before its first step."""
    found: dict = {"__name__": "train"}
    exec(script(parse(link)), found)
    return found


class TestSettings:
    def test_the_assets_are_those_of_this_module(self, tmp_path):
        train.record(tmp_path)
        for path in tmp_path.iterdir():
            assert (ASSETS / path.name).read_text("utf-8") == path.read_text("utf-8"), "run `vgdocs train --record`"

    def test_the_queries_here_have_every_value_of_every_key(self):
        settings = list(map(parse, QUERIES))
        for key, known in OPTIONS.items():
            values = {value for each in [known, *known.get("per", {}).values()] for value in each.get("values", [])}
            assert {setting[key] for setting in settings if key in setting} >= values, key

    @pytest.mark.parametrize("link", ["", *QUERIES])
    def test_both_sides_read_write_and_program_the_same(self, js, link):
        setting = parse(link)
        assert evaluate(js, f"vgTrain.parse({link!r})") == setting
        assert list(evaluate(js, f"vgTrain.parse({link!r})")) == list(setting)
        assert js.eval(f"vgTrain.query(vgTrain.parse({link!r}))") == query(setting)
        assert parse(query(setting)) == setting
        assert js.eval(f"vgTrain.script(vgTrain.parse({link!r}))") == script(setting)

    def test_random_settings_go_round(self, js):
        for setting in train_parity.settings(300, seed=7):
            assert evaluate(js, f"vgTrain.parse({query(setting)!r})") == setting == parse(query(setting))

    @pytest.mark.parametrize(
        "text", ["0.1", "1e-1", "1E-01", ".1", "+0.1", "000.100", "0.30000000000000004", "1e-6", "7", "7."]
    )
    def test_numbers_are_written_as_javascript_writes_them(self, js, text):
        assert query(parse(f"lr={text}")) == js.eval(f"vgTrain.query(vgTrain.parse('lr={text}'))")
        assert script(parse(f"clip={text}")) == js.eval(f"vgTrain.script(vgTrain.parse('clip={text}'))")

    @pytest.mark.parametrize("text", ["1e-7", "2.5e-300", "0", "-0", "1e-10"])
    def test_so_are_those_next_to_nothing(self, js, text):
        assert script(parse(f"clip={text}")) == js.eval(f"vgTrain.script(vgTrain.parse('clip={text}'))")

    def test_a_default_hangs_on_what_is_chosen(self):
        assert parse("optimizer=adam")["lr"] == 0.001
        assert parse("net=rnn")["data"] == "first"
        assert query(parse("optimizer=adam&lr=0.001")) == "optimizer=adam"
        assert query(parse("optimizer=adam&lr=0.1")) == "optimizer=adam&lr=0.1"

    def test_keys_are_those_of_the_network(self):
        assert {"depth", "activation", "norm", "skip"}.isdisjoint(parse("net=gru"))
        assert "forget" in parse("net=lstm")
        assert " ".join(f"{key}={value}" for key, value in parse("").items()) == (
            "net=mlp data=digits depth=20 width=32 activation=sigmoid init=pytorch gain=1 norm=none skip=none "
            "optimizer=sgd lr=0.1 warmup=0 clip=0 batch=64 seed=0"
        )

    @pytest.mark.parametrize(
        "link",
        ["depth=3", "?depth=3", "https://example.org/1.0/train/?depth=3", "train/?depth=3#what-one-sees", "&depth=3&"],
    )
    def test_a_link_or_its_query(self, js, link):
        assert parse(link)["depth"] == 3
        assert evaluate(js, f"vgTrain.parse({link!r})") == parse(link)

    def test_a_link_without_a_query_is_the_opening_setting(self):
        assert parse("https://example.org/train/") == parse("") == parse("?") == parse("#depth=3")

    @pytest.mark.parametrize(
        ("link", "message"),
        [
            ("depth=99", "depth is 1 to 50, not 99"),
            ("depth=0", "depth is 1 to 50, not 0"),
            ("depth=2.5", "depth is a whole number, not 2.5"),
            ("depth=", "depth is 1 to 50, not "),
            ("depth", "depth is 1 to 50, not "),
            ("depth=twenty", "depth is 1 to 50, not twenty"),
            ("depth=0x10", "depth is 1 to 50, not 0x10"),
            ("depth=1_0", "depth is 1 to 50, not 1_0"),
            ("depth= 5", "depth is 1 to 50, not  5"),
            ("depth=५", "depth is 1 to 50, not ५"),
            ("lr=0", "lr is 0.000001 to 1000, not 0"),
            ("lr=-1", "lr is 0.000001 to 1000, not -1"),
            ("lr=nan", "lr is 0.000001 to 1000, not nan"),
            ("lr=Infinity", "lr is 0.000001 to 1000, not Infinity"),
            ("lr=1e999", "lr is 0.000001 to 1000, not 1e999"),
            ("seed=2147483648", "seed is 0 to 2147483647, not 2147483648"),
            ("net=cnn", "net is mlp, rnn, lstm or gru, not cnn"),
            ("net=rnn&data=digits", "data is first or middle, not digits"),
            ("data=first", "data is digits, spirals, circles, moons or xor, not first"),
            ("net=gru&depth=3", "depth is for mlp, not for gru"),
            ("length=20", "length is for rnn, lstm or gru, not for mlp"),
            ("net=gru&forget=1", "forget is for lstm, not for gru"),
            ("depth=3&depth=4", "depth is given twice"),
            ("norm=batch&batch=1", "norm=batch needs a batch of at least 2"),
            ("skip=residual=1", "skip is none, residual, scaled or rezero, not residual=1"),
            ("toString=1", f'there is no setting "toString": it is {", ".join(list(OPTIONS)[:-1])} or seed'),
            ("__proto__=1", f'there is no setting "__proto__": it is {", ".join(list(OPTIONS)[:-1])} or seed'),
        ],
    )
    def test_nonsense_is_refused_in_the_same_words(self, js, link, message):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            parse(link)
        assert str(error.value) == message
        with pytest.raises(JSEvalException) as thrown:
            js.eval(f"vgTrain.parse({json.dumps(link)})")
        assert f"Error: {message}\n" in str(thrown.value)


def drawn(seed: int, number: int) -> list[int]:
    """The generator in Python's own integers."""

    def mix(x: int) -> int:
        x = (x ^ (x >> 16)) * 0x21F0AAAD & 0xFFFFFFFF
        x = (x ^ (x >> 15)) * 0x735A2D97 & 0xFFFFFFFF
        return x ^ (x >> 15)

    return [mix(mix(seed) + i * 0x9E3779B9 & 0xFFFFFFFF) for i in range(1, number + 1)]


KNOWN = [3783743228, 1639693862, 3051977443]  # of 11


class TestRandom:
    def test_known_values(self, js):
        """Seed 5 draws its points from 11, the first by the first of these numbers, and its noise by the third."""
        assert drawn(11, 3) == KNOWN
        t, _, noise = ((number + 0.5) / 2**32 for number in KNOWN)
        assert evaluate(js, "make('data=xor&seed=5').data.x[0]") == 2 * t - 1 + 0.05 * (2 * noise - 1)

    def test_the_script_draws_the_same_in_whatever_shape(self):
        names = program("seed=5")
        whole = names["Random"](2**32 - 1).uniform(1000).tolist()
        assert whole == [(number + 0.5) / 2**32 for number in drawn(2**32 - 1, 1000)]
        generator = names["Random"](2**32 - 1)
        assert [*generator.uniform(10, 9).flatten().tolist(), *generator.uniform(910).tolist()] == whole

    def test_numbers_are_uniform_and_seeds_share_nothing(self):
        Random = program("")["Random"]
        draws = torch.stack([Random(seed).uniform(20_000) for seed in (*range(8), 2**31, 2**32 - 1)])
        assert draws.mean(1).tolist() == pytest.approx([0.5] * 10, abs=0.01)
        assert (draws.var(1) * 12).tolist() == pytest.approx([1.0] * 10, abs=0.03)
        counts = torch.stack([row.histc(16, 0, 1) for row in draws])  # chi squared of 15, whose deviation is 5.5
        assert ((counts - 1250) ** 2 / 1250).sum(1).max() < 45
        correlations = torch.corrcoef(torch.cat([draws, draws.roll(1, 1), draws.roll(2, 1)])) - torch.eye(30)
        assert correlations.abs().max() < 0.035  # 5 / sqrt(20000)

    def test_normal_numbers_are(self):
        z = program("")["Random"](3).normal(100_000)
        moments = [z.mean().item(), z.var().item(), (z**3).mean().item(), (z**4).mean().item()]
        assert moments == pytest.approx([0, 1, 0, 3], abs=0.05)


class TestStart:
    @pytest.mark.parametrize(
        ("init", "sigma_w2"), [("pytorch", 1 / 3), ("lecun", 1), ("xavier", 1), ("he", 2), ("orthogonal", 1)]
    )
    def test_fan_in_times_variance(self, init, sigma_w2):
        model = program(f"init={init}&depth=30&width=64&gain=1.5")["model"]
        square = torch.stack([layer.weight for layer in model.hidden])
        assert 64 * square.var().item() == pytest.approx(1.5**2 * sigma_w2, rel=0.02)
        variance = {"xavier": 2 / (64 + 10), "orthogonal": 1 / 64}.get(init, sigma_w2 / 64)
        assert model.output.weight.var().item() == pytest.approx(1.5**2 * variance, rel=0.2)

    @pytest.mark.parametrize("init", ["xavier", "he", "lecun", "orthogonal"])
    def test_biases_are_zero_unless_the_start_is_pytorchs(self, init):
        assert not any(layer.bias.any() for layer in program(f"init={init}")["layers"])

    def test_pytorchs_start_has_the_bounds_of_its_layers(self):
        layers = program("depth=30")["layers"]
        own = torch.nn.Linear(32, 32, dtype=torch.float64)
        for name in ("weight", "bias"):
            ours = torch.cat([getattr(layer, name).flatten() for layer in layers[1:]])
            assert ours.abs().max().item() == pytest.approx(32**-0.5, rel=0.01)
            assert getattr(own, name).abs().max() <= 32**-0.5
        assert layers[0].weight.abs().max().item() == pytest.approx(64**-0.5, rel=0.01)

    def test_orthogonal_is(self):
        for layer in program("init=orthogonal&gain=2&depth=3&width=48")["layers"]:
            W = layer.weight.T if layer.out_features > layer.in_features else layer.weight
            W = W if W.shape[0] <= W.shape[1] else W.T
            assert torch.allclose(W @ W.T, 4 * torch.eye(len(W), dtype=W.dtype), atol=1e-12)
        for gate in program("net=gru&init=orthogonal")["model"].cell.weight_hh.split(32):
            assert torch.allclose(gate @ gate.T, torch.eye(32, dtype=gate.dtype), atol=1e-12)

    def test_of_a_recurrent_network_the_rest_is_pytorchs(self):
        one, other = (program(f"net=lstm&{q}")["model"] for q in ("gain=3", "forget=1"))
        assert torch.equal(one.cell.weight_ih, other.cell.weight_ih)
        assert torch.equal(one.cell.weight_hh, 3 * other.cell.weight_hh)
        assert torch.equal(one.cell.bias_ih + F.pad(torch.ones(32), (32, 64)), other.cell.bias_ih)
        assert torch.equal(one.output.weight, other.output.weight)


class TestData:
    @pytest.mark.parametrize("name", ["spirals", "circles", "moons", "xor"])
    def test_toys_are_balanced_in_range_and_the_same_on_both_sides(self, js, name):
        names, its = program(f"data={name}&seed=3"), f"make('data={name}&seed=3').data"
        x, y = evaluate(js, f"[...{its}.x]"), evaluate(js, f"[...{its}.y]")
        assert sorted(y) == 200 * [0] + 200 * [1]
        assert y == names["y"].tolist()
        assert x == pytest.approx(names["x"].flatten().tolist(), abs=1e-15)
        assert 0.6 < max(map(abs, x)) < 1.6

    def test_a_batch_does_not_hang_on_the_network(self, js):
        """Two networks side by side, the sick one and the cured one, see the same."""
        trainers = ["data=moons&seed=4", "data=moons&seed=4&depth=3&init=he&norm=layer&optimizer=adam"]
        seen = [[names["batch"]()[0].tolist() for _ in range(2)] for names in map(program, trainers)]
        assert seen[0] == seen[1]

    def test_digits_are_the_training_part_of_the_figures(self, js):
        x, y, _, _ = digits()
        of_page = evaluate(js, "[[...make('').data.x], [...make('').data.y]]")
        assert of_page[1] == y.tolist()
        assert torch.allclose(torch.tensor(of_page[0]), x.flatten(), rtol=0, atol=1e-6)  # theirs are float32
        assert of_page[0] == pytest.approx(program("")["x"].flatten().tolist(), abs=1e-14)

    @pytest.mark.parametrize(("name", "place"), [("first", 0), ("middle", 10)])
    def test_sequences_are_labelled_by_a_symbol_of_their_own(self, name, place):
        x, labels = program(f"net=rnn&length=21&data={name}")["batch"]()
        assert x.shape == (21, 64, 4)
        assert x.sum(2).eq(1).all()
        assert torch.equal(x[place].argmax(1), labels)
        assert set(labels.tolist()) == {0, 1, 2, 3}


class TestGradients:
    @pytest.mark.parametrize("link", QUERIES)
    def test_they_are_finite_differences(self, js, link):
        """Of a fixed combination of the outputs, by a few weights of each parameter, by the engine alone."""
        found = evaluate(
            js,
            f"""(() => {{
            const setting = vgTrain.parse({link!r}), {{ batch, length }} = setting;
            const {{ network, data }} = vgTrain.create(setting), n = data ? data.x.length / data.y.length : 0;
            const x = data ? data.x.slice(0, batch * n) : new Uint8Array(length * batch).map((_, i) => i * i % 7 % 4);
            if (setting.skip === "rezero") network.parameters.at(-1).w.fill(0.5);
            const v = network.forward(x, batch, true).map((_, i) => Math.sin(i + 1));
            const value = () => network.forward(x, batch, true).reduce((sum, y, i) => sum + y * v[i], 0);
            value();
            network.backward(x, v.slice());
            const exact = network.parameters.map(p => p.g.slice());
            return network.parameters.map(({{ w }}, p) => [0, w.length >> 1, w.length - 1].map(i => {{
                const own = w[i], step = 1e-5;
                const at = [-2, -1, 1, 2].map(k => {{ w[i] = own + k * step; return value(); }});
                w[i] = own;
                return [exact[p][i], (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)];
            }}));
        }})()""",
        )
        exact, differences = torch.tensor(found).flatten(0, 1).unbind(1)
        assert (exact - differences).abs().max() < 1e-7 * exact.abs().max()
        assert exact.abs().max() > 0


class TestAgainstPyTorch:
    def test_a_rounding_of_the_weights_shows_in_what_follows(self):
        """The control of what is beyond the limit is one."""
        setting = parse("data=moons&depth=5&width=8")
        assert 0 < train_parity.itself(setting, train_parity.pytorch(setting)) < train_parity.LIMIT

    @pytest.mark.parametrize("link", QUERIES)
    def test_losses_and_gradients_agree(self, js, link):
        setting = parse(link)
        of_page = evaluate(js, f"(t => Array.from({{ length: {STEPS} }}, () => t.step()))(make({link!r}))")
        of_pytorch = train_parity.pytorch(setting, STEPS)
        assert [state["step"] for state in of_page] == [state["step"] for state in of_pytorch] == list(range(STEPS))
        assert len(of_page[0]["gradients"]) == setting["depth"] + 1 if setting["net"] == "mlp" else setting["length"]
        assert train_parity.difference(of_page, of_pytorch) < train_parity.LIMIT

    @pytest.mark.parametrize("link", [link for link in QUERIES if "net=" not in link])
    def test_the_rest_of_a_state_is_what_pytorch_says(self, js, link):
        """Signal, dead and saturated units and accuracy of the third step, and its update."""
        names = program(link)
        model, layers = names["model"], names["layers"]
        z, phi_of = {}, {"linear": lambda z: z, **{a: getattr(torch, a) for a in ("sigmoid", "tanh", "relu")}}
        phi = phi_of.get(parse(link)["activation"]) or getattr(F, parse(link)["activation"])
        for i, module in enumerate(model.norm):
            module.register_forward_hook(lambda _, __, out, i=i: z.update({i: out.detach()}))
        signal, labels, logits = {}, [], []
        for i, module in enumerate(layers[1:]):
            module.register_forward_pre_hook(
                lambda _, inputs, i=i: signal.update({i: inputs[0].square().mean().sqrt().item()})
            )
        model.output.register_forward_hook(lambda _, __, out: logits.append(out.detach()))
        batch = names["batch"]
        names["batch"] = lambda: labels.append(batch()) or labels[-1]
        steps = names["train"]()
        for _ in range(3):
            next(steps)
        before, flat, still = [layer.weight.detach().clone() for layer in layers], [], []
        steepest = {"sigmoid": 0.25, "tanh": 1.0}.get(parse(link)["activation"])
        for i in range(len(z)):
            point = z[i].clone().requires_grad_()
            slope = torch.autograd.grad(phi(point).sum(), point)[0]
            flat.append((slope < 0.05 * steepest).double().mean().item() if steepest else 0)
            still.append((slope == 0).all(0).double().mean().item())
        accuracy = (logits[-1].argmax(1) == labels[-1][1]).double().mean().item()
        expected = {"signal": list(signal.values()), "saturated": flat, "dead": still, "accuracy": accuracy}
        next(steps)  # makes the third update
        expected["updates"] = [
            ((layer.weight - old).norm() / old.norm()).item() for layer, old in zip(layers, before, strict=True)
        ]
        state = evaluate(js, f"(t => [t.step(), t.step(), t.step()])(make({link!r}))[2]")
        for key, value in expected.items():
            assert state[key] == pytest.approx(value, rel=1e-9, abs=1e-13), key

    @pytest.mark.parametrize(
        "link", ["data=moons&norm=batch&skip=residual&depth=3&batch=9", "data=xor&norm=rms&depth=2"]
    )
    def test_a_prediction_is_that_of_the_evaluated_model(self, js, link):
        """After three steps; there are more points than the batch has places for, and no whole number of batches."""
        names = program(link)
        batch, copies = names["batch"], []
        names["batch"] = lambda: copies.append(copy.deepcopy(names["model"])) or batch()  # before a step
        list(itertools.islice(names["train"](), 4))
        points = [math.sin(i) for i in range(190)]
        expected = (
            F.softmax(copies[3].eval()(torch.tensor(points, dtype=torch.float64).view(-1, 2)), 1).flatten().tolist()
        )
        trainer = f"(t => [t.step(), t.step(), t.step(), t][3])(make({link!r}))"
        assert evaluate(js, f"[...{trainer}.predict(Float64Array.from({points}))]") == pytest.approx(expected, rel=1e-9)

    @pytest.mark.slow
    def test_two_hundred_random_settings(self):
        """What is beyond the limit is what PyTorch doesn't repeat either, from weights that differ by a rounding."""
        run, beyond = train_parity.engine(), 0
        for setting in train_parity.settings(200):
            of_pytorch = train_parity.pytorch(setting)
            apart = train_parity.difference(run(setting), of_pytorch)
            if apart > train_parity.LIMIT:
                beyond += 1
                assert apart < 100 * train_parity.itself(setting, of_pytorch), query(setting)
        assert beyond < 20


class TestTraining:
    def changes(self, js: MiniRacer, link: str, steps: int = 1) -> list[float]:
        """The norms of the first updates, over all parameters."""
        return evaluate(
            js,
            f"""(t => Array.from({{ length: {steps} }}, () => {{
            const before = t.network.parameters.map(p => p.w.slice());
            t.step();
            return Math.hypot(...t.network.parameters.flatMap((p, k) => [...p.w].map((w, i) => w - before[k][i])));
        }}))(make({link!r}))""",
        )

    def test_the_rate_warms_up_in_equal_steps(self, js):
        """The same network and batch: with plain gradient descent the first update is in proportion to the rate."""
        at_once, *_ = self.changes(js, "depth=2&lr=0.2")
        assert self.changes(js, "depth=2&lr=0.2&warmup=8")[0] == pytest.approx(at_once / 8, rel=1e-9)
        assert self.changes(js, "depth=2&lr=0.2&warmup=1")[0] == pytest.approx(at_once, rel=1e-12)

    @pytest.mark.parametrize("net", ["mlp&depth=3&activation=relu", "rnn", "lstm", "gru"])
    def test_no_update_of_plain_gradient_descent_is_longer_than_the_clip(self, js, net):
        assert max(self.changes(js, f"net={net}&lr=1&clip=0.001", 4)) == pytest.approx(0.001, rel=2e-3)
        free = self.changes(js, f"net={net}&lr=1")
        assert free[0] > 0.01
        assert self.changes(js, f"net={net}&lr=1&clip=1000") == free

    def test_gradients_are_told_before_clipping(self, js):
        free, clipped = (evaluate(js, f"make('net=gru{c}').step().gradients") for c in ("", "&clip=0.000001"))
        assert free == clipped

    def test_what_is_not_finite_is_told_in_a_word(self, js):
        """The first update is 1000 times as long as the weights are large: the next outputs overflow."""
        link = "depth=50&activation=linear&init=lecun&gain=1000"
        of_page = evaluate(js, f"(t => [t.step(), t.step()])(make({link!r}))")
        told = [json.loads(line) for line in command(link, "--steps", "2", "--json").output.splitlines()]
        for states in (of_page, told):
            assert math.isfinite(states[0]["loss"])
            assert states[1]["loss"] == "nan"
            assert states[1]["gradients"] == ["nan"] * 51
        assert train_parity.difference(of_page, told) < 1e-9
        link = "data=moons&depth=2&width=4&activation=linear&init=he&gain=1000&lr=1000&batch=8"
        assert "inf" in evaluate(js, f"(t => Array.from({{ length: 6 }}, () => t.step().signal))(make({link!r}))")[5]

    def test_norms_whose_squares_are_beyond_float64(self, js):
        """At both ends, the first of fifty layers."""
        ends = {"sigmoid&gain=0.001": (1e-250, 1e-170), "linear&init=he&gain=1000": (1e156, 1e200)}
        for end, (least, most) in ends.items():
            link = f"depth=50&activation={end}"
            (of_pytorch,) = train_parity.pytorch(parse(link), 1)
            assert least < of_pytorch["gradients"][0] < most
            assert train_parity.difference(evaluate(js, f"[make({link!r}).step()]"), [of_pytorch]) < 1e-9


class TestCommand:
    def test_a_line_of_json_per_step(self):
        done = command("https://example.org/train/?net=gru&length=12#strip", "--steps", "3", "--json")
        assert done.exit_code == 0
        states = [json.loads(line) for line in done.output.splitlines()]
        assert [list(state) for state in states] == [["step", "loss", "gradients"]] * 3
        assert states == train_parity.pytorch(parse("net=gru&length=12"), 3)
        assert torch.get_default_dtype() == torch.float32  # a script run here leaves all as it was

    def test_lines_for_a_reader(self):
        first, *lines = command("?depth=3&data=xor", "--steps", "2").output.splitlines()
        assert " ".join(first.split()) == "step loss gradient of the weights of layer 1, 2, 3, 4"
        (of_pytorch,) = train_parity.pytorch(parse("depth=3&data=xor"), 1)
        assert list(map(float, lines[0].split())) == pytest.approx(
            [0, of_pytorch["loss"], *of_pytorch["gradients"]], rel=1e-3
        )
        assert len(lines) == 2
        assert (
            command("net=rnn", "--steps", "1")
            .output.splitlines()[0]
            .endswith("of h at time step 1, 10, 20, 30, 40, 50")
        )

    @pytest.mark.parametrize("link", ["nonsense", "depth=99", "net=gru&depth=3", "%%%", "depth=3&&&lr"])
    def test_nonsense_is_told_without_a_traceback(self, link):
        done = command(link)
        assert done.exit_code == 2
        assert done.output.splitlines()[-1].startswith("Error: ")
        assert "Traceback" not in done.output

    def test_the_script_alone_prints_the_same(self, tmp_path):
        """In a process of its own, where there is nothing of ours."""
        link = "data=moons&depth=4&activation=silu&norm=rms"
        (tmp_path / "mine.py").write_text(
            command(link, "--code").output.replace("STEPS = 0, 100", "STEPS = 0, 3"), "utf-8"
        )
        done = subprocess.run(
            [sys.executable, "-I", "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        printed = [
            list(map(float, line.replace("loss", "").replace("gradients", "").split()))
            for line in done.stdout.splitlines()
        ]
        expected = [[s["step"], s["loss"], *s["gradients"]] for s in train_parity.pytorch(parse(link), 3)]
        assert printed == [pytest.approx(row, rel=1e-4) for row in expected]

    def test_it_records_where_the_project_is(self, tmp_path):
        done = CliRunner().invoke(cli, ["--root", str(tmp_path), "train", "--record"])
        assert done.exit_code == 0
        assert {path.name for path in (tmp_path / train.ASSETS).iterdir()} == {"settings.js", "digits.js"}
        assert command("--record", "depth=3").exit_code == 2
