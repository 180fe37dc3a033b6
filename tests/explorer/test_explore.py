"""The explorer's model: its numbers are autograd's, its invariances hold, its script and its command say the same."""

import gzip
import json
import math
import random
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from vgdocs import theory
from vgdocs.cli import cli
from vgdocs.experiments import derive_seeds
from vgdocs.explorer import grid, snippet
from vgdocs.explorer import model as explore
from vgdocs.explorer.model import Setting
from vgdocs.gradients import rate

ROOT = Path(__file__).parents[2]
GRID = ROOT / "docs/assets/explore"
SMALL = {"width": 24, "batch": 12}
EVERY = [
    Setting(activation, family, 1.7, norm, skip, 6, **SMALL)
    for activation in explore.ACTIVATIONS
    for family in explore.FAMILIES
    for norm in explore.NORMS
    for skip in explore.SKIPS
]


def plain(setting: Setting, seed: int, draws: str = "own") -> tuple[list[float], list[float]]:
    """Norms and sizes from modules and autograd: "own" draws the weights as PyTorch does, "ours" as `measure` does."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> torch.Tensor:
        return torch.randn(rows, setting.width, generator=generator, dtype=torch.float64)

    def layer(scale: float = 1.0) -> nn.Linear:
        linear = nn.Linear(setting.width, setting.width, bias=False, dtype=torch.float64)
        gain = scale * math.sqrt(setting.sigma_w2)
        if setting.family == "orthogonal":
            nn.init.orthogonal_(linear.weight, gain=gain, generator=generator)
        elif draws == "own":
            nn.init.normal_(linear.weight, std=gain / math.sqrt(setting.width), generator=generator)
        else:
            linear.weight.data = gain * normal(setting.width) / math.sqrt(setting.width)
        return linear

    def norm(z: torch.Tensor) -> torch.Tensor:
        if setting.norm == "batch":
            return F.batch_norm(z, None, None, training=True, eps=explore.EPS)
        if setting.norm == "layer":
            return F.layer_norm(z, (setting.width,), eps=explore.EPS)
        return F.rms_norm(z, (setting.width,), eps=explore.EPS) if setting.norm == "rms" else z

    phi = theory.ACTIVATIONS[setting.activation]
    scale = 1 / math.sqrt(setting.depth) if setting.skip == "scaled" else 1.0
    x, v = normal(setting.batch), normal(setting.batch)
    h, watched, sizes = x.requires_grad_(), [], []
    for _ in range(setting.depth):
        if setting.skip == "none":
            watched.append(norm(layer()(h)))
            h = phi(watched[-1])
        else:
            W, V = layer(), layer(scale)
            h = h + V(phi(W(norm(h)) if setting.skip == "prenorm" else norm(W(h))))
            watched.append(h)
        sizes.append(h.square().mean().sqrt().item())
    norms = [gradient.norm().item() for gradient in torch.autograd.grad((h * v).sum(), watched)]
    return norms, sizes


class TestMeasure:
    def test_it_is_what_autograd_says_of_the_same_network(self):
        """Every activation, family, norm and skip, against modules that know one network only."""
        seeds = explore.SEEDS[:2]
        for one in explore.measure(EVERY, seeds):
            norms, sizes = plain(one.setting, seeds[1], "ours")
            assert one.gradient[1].tolist() == pytest.approx(norms, rel=1e-12), one.setting
            assert one.forward[1].tolist() == pytest.approx(sizes, rel=1e-12), one.setting

    @pytest.mark.parametrize("skip", explore.SKIPS)
    def test_depths_that_share_a_forward_pass_are_those_measured_alone(self, skip):
        settings = [Setting("silu", "gaussian", 2.0, "layer", skip, depth, **SMALL) for depth in (5, 12, 8)]
        for setting, together in zip(settings, explore.measure(settings, [7]), strict=True):
            alone = explore.measure([setting], [7])[0]
            assert together.setting == setting
            assert together.gradient.shape == (1, setting.depth)
            assert torch.allclose(together.gradient, alone.gradient, rtol=1e-13)
            assert torch.allclose(together.forward, alone.forward, rtol=1e-13)

    def test_more_settings_than_a_chunk_of_several_shapes_come_back_in_order(self):
        settings = [Setting("tanh", sigma_w2=0.1 * i, depth=5, **SMALL) for i in range(1, explore.CHUNK + 4)]
        settings += [replace(settings[0], width=8), replace(settings[3], skip="residual"), settings[2]]
        for setting, one in zip(settings, explore.measure(settings, [1]), strict=True):
            assert one.setting == setting
            assert one.rate == pytest.approx(explore.measure([setting], [1])[0].rate, rel=1e-12)

    def test_rate_and_ratio_are_those_of_the_norms(self):
        one = explore.measure([Setting("tanh", sigma_w2=0.8, depth=13, **SMALL)], [1, 2, 3])[0]
        norms = one.gradient.tolist()
        assert one.setting.window == (3, 11)
        assert one.rates == pytest.approx([rate(row, 3, 11) for row in norms])
        assert one.ratios == pytest.approx([row[0] / row[-1] for row in norms])
        assert one.rate == statistics.median(one.rates)
        assert one.ratio == statistics.median(one.ratios)

    def test_no_square_under_or_overflows(self):
        """The norms span 200 decades, whose squares float64 doesn't hold."""
        for sigma_w2 in (1e-8, 1e8):
            one = explore.measure([Setting("linear", sigma_w2=sigma_w2, depth=51, **SMALL)], [1])[0]
            unit = explore.measure([Setting("linear", sigma_w2=1.0, depth=51, **SMALL)], [1])[0]
            assert one.trouble == ""
            assert one.rate == pytest.approx(sigma_w2**0.5 * unit.rate, rel=1e-9)
            assert math.log10(one.ratio) == pytest.approx(25 * math.log10(sigma_w2) + math.log10(unit.ratio))

    def test_what_is_beyond_float64_is_told_as_what_it_is(self):
        below, above = explore.measure(
            [Setting("linear", sigma_w2=s, depth=100, **SMALL) for s in (1e-10, 1e10)], [1, 2]
        )
        assert below.ratio == 0
        assert math.isnan(below.rate)
        assert re.fullmatch(r"the gradient underflows to 0 at layer \d+, for \d of 2 seeds", below.trouble)
        assert math.isnan(above.rate)
        assert math.isnan(above.ratio)  # beyond the overflow a product subtracts inf from inf
        assert re.fullmatch(r"the gradient overflows to inf at layer \d+, for 2 of 2 seeds", above.trouble)

    def test_a_gpu_that_is_not_there(self):
        if torch.cuda.is_available():
            one = Setting("tanh", depth=6, **SMALL)
            there, here = explore.measure([one], [1], "cuda")[0], explore.measure([one], [1])[0]
            assert torch.allclose(there.gradient, here.gradient, rtol=1e-9)
        else:
            with pytest.raises(ValueError, match="no CUDA device"):
                explore.measure([Setting("tanh")], [1], "cuda")


def agreement(setting: Setting, seeds: list[int]) -> None:
    """Medians of an independent implementation with weights of its own: within 3%, or three standard errors."""
    measured = explore.measure([setting])[0]
    window = setting.window
    own = [plain(setting, seed)[0] for seed in seeds]
    pairs = [
        (measured.rates, [rate(norms, *window) for norms in own]),
        (measured.ratios, [norms[0] / norms[-1] for norms in own]),
    ]
    for ours, theirs in pairs:
        logs = [[math.log(value) for value in values] for values in (ours, theirs)]
        # A median of normal values has sqrt(pi / 2) times the standard error of their mean.
        error = math.sqrt(math.pi / 2 * sum(statistics.variance(values) / len(values) for values in logs))
        distance = abs(statistics.median(logs[0]) - statistics.median(logs[1]))
        assert distance < max(math.log(1.03), 3 * error), setting


def sample(count: int, seed: int, depths: tuple[int, ...]) -> list[Setting]:
    settings = [setting for setting in grid.measured() if setting.depth in depths]
    return random.Random(seed).sample(settings, count)


def test_an_independent_implementation_agrees():
    for setting in sample(3, seed=1, depths=(10,)):
        agreement(setting, derive_seeds(1, 9))


@pytest.mark.slow
def test_an_independent_implementation_agrees_on_many_settings():
    for setting in sample(30, seed=2, depths=(10, 20, 50)):
        agreement(setting, derive_seeds(1, 11))


EQUAL_TO_ANOTHER = [
    *(Setting(phi, sigma_w2=s) for phi in explore.HOMOGENEOUS for s in (0.1, 6.0)),
    *(Setting(phi, "orthogonal", 6.0, norm) for phi in ("gelu", "sigmoid") for norm in explore.NORMS[1:]),
    *(Setting(phi, f, 1.4, skip="prenorm") for phi in ("tanh", "relu") for f in explore.FAMILIES),
]


class TestInvariances:
    """What lets one measurement serve several settings; each is shown by measuring both."""

    @pytest.mark.parametrize("setting", EQUAL_TO_ANOTHER, ids=str)
    def test_a_setting_is_its_canonical_one_but_for_a_power_of_sigma_w(self, setting):
        setting = replace(setting, depth=20, width=32, batch=16)
        other = grid.canonical(setting)
        assert other != setting
        ours, theirs = explore.measure([setting, other], [3])
        factor = 10 ** grid.power(setting)
        layers = torch.arange(1, 21, dtype=torch.float64)
        assert torch.allclose(ours.gradient, theirs.gradient * factor ** (20 - layers), rtol=1e-7)
        assert torch.allclose(ours.forward, theirs.forward * factor**layers, rtol=1e-7)
        assert ours.rate == pytest.approx(theirs.rate * factor, rel=1e-7)

    def test_settings_that_are_measured_apart_differ(self):
        """A skip keeps a scale that a norm alone would undo."""
        for skip, norm in [("none", "none"), ("residual", "layer"), ("prenorm", "layer"), ("scaled", "batch")]:
            a, b = (Setting("tanh", "gaussian", s, norm, skip, 20, **SMALL) for s in (1.0, 2.0))
            assert grid.canonical(a) != grid.canonical(b)
            ours, theirs = explore.measure([a, b], [3])
            assert not torch.allclose(ours.gradient, theirs.gradient, rtol=1e-3)

    def test_canonical_settings_are_measured_and_nothing_else_is(self):
        offered, measured = list(grid.offered()), grid.measured()
        assert set(map(grid.canonical, offered)) == set(measured)
        assert len(set(offered)) == len(offered)
        assert len(measured) < len(offered)


class TestPredict:
    def test_it_has_the_known_closed_forms(self):
        assert explore.predict(Setting("relu", sigma_w2=1.0)).rate == pytest.approx(math.sqrt(0.5), rel=1e-6)
        batch = explore.predict(Setting("relu", sigma_w2=7.0, norm="batch")).rate
        assert batch == pytest.approx(theory.batchnorm_relu_rate(), rel=1e-6)
        unscaled = explore.predict(Setting("relu", sigma_w2=2.0, skip="residual", depth=30))
        assert unscaled.rate == pytest.approx(math.sqrt(3), rel=1e-6)
        assert 10 ** unscaled.profile[0] == pytest.approx(theory.residual_growth(29, branch=2.0), rel=1e-5)
        scaled = explore.predict(Setting("linear", skip="scaled", depth=30))
        assert 10 ** scaled.profile[0] == pytest.approx(theory.residual_growth(29, branch=1 / 30), rel=1e-5)

    @pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "relu"])
    def test_plain_networks_follow_their_variances_path(self, activation):
        setting = Setting(activation, sigma_w2=1.4, depth=12)
        path = theory.gradient_profile(theory.ACTIVATIONS[activation], 12, 1.4, q0=1.4)
        assert explore.predict(setting).profile == pytest.approx([math.log10(norm) for norm in path], abs=1e-6)

    @pytest.mark.parametrize("skip", explore.SKIPS)
    @pytest.mark.parametrize("norm", explore.NORMS)
    def test_wide_networks_are_as_predicted(self, skip, norm):
        setting = Setting("tanh", "gaussian", 2.0, norm, skip, depth=10, width=400, batch=200)
        one = explore.measure([setting], explore.SEEDS[:3])[0]
        assert one.rate == pytest.approx(explore.predict(setting).rate, rel=0.01)
        assert math.log10(one.ratio) == pytest.approx(explore.predict(setting).profile[0], abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation": "swish"}, "unknown activation 'swish'; known: linear, sigmoid, tanh, relu, leaky_relu, elu"),
        ({"family": "uniform"}, "unknown family 'uniform'; known: gaussian, orthogonal"),
        ({"norm": "group"}, "unknown norm 'group'; known: none, batch, layer, rms"),
        ({"skip": "dense"}, "unknown skip 'dense'; known: none, residual, scaled, prenorm"),
        ({"sigma_w2": 0.0}, "sigma_w2 is finite and above 0, not 0.0"),
        ({"sigma_w2": math.nan}, "sigma_w2 is finite and above 0, not nan"),
        ({"depth": 3}, "the depth is at least 4, not 3"),
        ({"width": 1}, "the width is at least 2, not 1"),
        ({"batch": 0}, "the batch is at least 2, not 0"),
    ],
)
def test_a_setting_that_is_none_says_what_there_is(wrong, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Setting(**{"activation": "relu", **wrong})


def test_named_initialisations_are_points_on_one_axis():
    assert Setting.named("relu", "he") == Setting("relu", "gaussian", 2.0)
    assert Setting.named("relu", "pytorch", depth=9) == Setting("relu", "gaussian", 1 / 3, depth=9)
    assert Setting.named("tanh", "lecun", 0.5) == Setting.named("tanh", "xavier", 0.5) == Setting("tanh", sigma_w2=0.25)
    assert Setting.named("tanh", "orthogonal", 2.0) == Setting("tanh", "orthogonal", 4.0)
    with pytest.raises(ValueError, match="unknown init 'glorot'; known: pytorch, lecun, xavier, he, orthogonal"):
        Setting.named("relu", "glorot")
    with pytest.raises(ValueError, match="gain is finite and above 0, not 0"):
        Setting.named("relu", "he", 0)


class TestSnippet:
    def holds(self, setting: Setting) -> None:
        script = snippet.snippet(setting)
        assert "{{" not in script
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        printed = dict(re.findall(r"^(rate|ratio) +(\S+)", result.stdout, re.MULTILINE))
        one = explore.measure([setting], explore.SEEDS[:1])[0]
        assert float(printed["rate"]) == pytest.approx(one.rate, rel=1e-6), setting
        assert float(printed["ratio"]) == pytest.approx(one.ratio, rel=1e-6), setting

    @pytest.mark.parametrize(
        "setting",
        [
            Setting("gelu", "gaussian", 1 / 3, "batch", "none", 10),
            Setting("tanh", "orthogonal", 6.0, "none", "scaled", 20, width=32),
            Setting("sigmoid", "gaussian", 128.0, "layer", "prenorm", 10),
        ],
        ids=str,
    )
    def test_it_prints_what_was_measured_for_the_first_seed(self, setting):
        self.holds(setting)

    @pytest.mark.slow
    def test_it_does_so_for_a_random_sample_of_the_page(self):
        for setting in random.Random(3).sample(list(grid.offered()), 24):
            self.holds(setting)

    def test_it_compiles_for_every_setting(self):
        for setting in EVERY:
            compile(snippet.snippet(setting), "snippet", "exec")


@pytest.fixture(scope="module")
def entries() -> dict[Setting, grid.Entry]:
    return grid.read(GRID)


class TestGrid:
    def test_a_file_is_small(self):
        sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in GRID.glob("*.js")}
        assert len(sizes) == len(grid.PARTS) + 1
        assert max(sizes.values()) < 50_000, sizes

    def test_its_files_hold_the_settings_of_the_page_and_nothing_else(self, entries):
        assert entries.keys() == set(grid.offered())
        for setting, entry in entries.items():
            shapes = {name: tuple(value.shape) for name, value in entry.items()}
            layers = (len(grid.LAYERS[setting.depth]),)
            assert layers == (10,)
            assert shapes == {
                **dict.fromkeys(["theory_rate", "first"], ()),
                **dict.fromkeys(["rate", "ratio"], (3,)),
                **dict.fromkeys(["gradient", "forward"], (3, *layers)),
                "theory": layers,
            }
        assert sum(value.isfinite().all().item() for entry in entries.values() for value in entry.values()) == (
            len(entries) * len(grid.UNITS)
        )

    def test_settings_that_are_equal_are_recorded_as_equal(self, entries):
        for setting in random.Random(4).sample(list(entries), 500):
            ours, theirs, p = entries[setting], entries[grid.canonical(setting)], grid.power(setting)
            assert ours["rate"].sub(theirs["rate"] + p).abs().max() <= 1.01 * grid.UNITS["rate"], setting
            layers = torch.tensor(grid.LAYERS[setting.depth])
            shifted = theirs["gradient"] + p * (setting.depth - layers)
            assert ours["gradient"].sub(shifted).abs().max() <= 1.01 * grid.UNITS["gradient"], setting

    def test_what_is_written_is_read_to_within_half_a_unit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(grid, "ACTIVATIONS", ("relu", "tanh"))
        monkeypatch.setattr(grid, "SIGMA_W2", (1.0, 2.0))
        monkeypatch.setattr(grid, "LAYERS", {5: (1, 2, 4, 5)})
        monkeypatch.setattr(grid, "PARTS", (("none", "none"), ("layer", "scaled")))
        settings = [setting for part in grid.PARTS for setting in grid.rows(*part, 5)]
        found = dict(zip(settings, explore.measure(settings, [1, 2, 3]), strict=True))
        made = {setting: grid.summarise(found[grid.canonical(setting)], setting) for setting in settings}
        beyond = torch.tensor([math.inf, -math.inf, math.nan, 0.0])
        made[settings[0]]["gradient"] = beyond.expand(3, -1)
        grid.write(tmp_path, made, {"command": "a test"})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.js", "layer-scaled.js", "none-none.js"]
        read = grid.read(tmp_path)
        assert read[settings[0]].pop("gradient")[0].tolist() == pytest.approx(beyond.tolist(), nan_ok=True)
        del made[settings[0]]["gradient"]
        for setting, entry in made.items():
            for name, value in entry.items():
                # an end is as far from the median as was rounded
                assert (read[setting][name] - value).abs().max() <= 0.501 * grid.UNITS[name], (setting, name)

    def test_a_summary_is_of_all_seeds(self):
        one = explore.measure([Setting("tanh", depth=10, **SMALL)], [1, 2, 3])[0]
        entry = grid.summarise(one)
        assert 10 ** entry["rate"] == pytest.approx([one.rate, min(one.rates), max(one.rates)])
        assert 10 ** entry["ratio"] == pytest.approx([one.ratio, min(one.ratios), max(one.ratios)])
        assert (10 ** entry["gradient"][0]).tolist() == pytest.approx(one.norms)
        assert (10 ** entry["forward"][0]).tolist() == pytest.approx(one.forward_sizes)
        assert 10 ** entry["first"] == pytest.approx(one.rates[0])
        assert 10 ** entry["theory_rate"] == pytest.approx(explore.predict(one.setting).rate)

    def test_marks_and_presets_lie_on_it(self, entries):
        assert set(grid.MARKS) <= set(grid.SIGMA_W2)
        assert set(grid.PRESETS.values()) <= entries.keys()

    def test_it_says_where_it_comes_from_but_not_on_which_host(self):
        content = grid.load(GRID / "grid.js")
        assert {"command", "date", "versions", "machine"} <= content["provenance"].keys()
        assert content["seeds"] == list(explore.SEEDS)

    @pytest.mark.parametrize(
        ("name", "old", "new", "message"),
        [
            ("grid.js", '"width":128', '"width":64', "another width: run `vgdocs explore --record`"),
            ("grid.js", "window.vgGrid", "window.other", "grid.js hands over no part of the grid"),
            ("none-none.js", "};\n", "", "none-none.js is damaged"),
            ("none-none.js", '"rate":', '"rat":', "none-none.js is damaged"),
            ("rms-scaled.js", "[[[", "[[[0,", "rms-scaled.js is damaged"),
            ("rms-scaled.js", ',"first":{"10":[', ',"first":{"10":[0,', "rms-scaled.js is damaged"),
        ],
    )
    def test_damaged_files_and_those_of_another_grid_are_refused(self, tmp_path, name, old, new, message):
        copy = shutil.copytree(GRID, tmp_path / "explore")
        text = (copy / name).read_text(encoding="utf-8")
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            grid.read(copy)


TINY = ["--depth", "8", "--width", "16", "--batch", "8", "--seeds", "3"]


class TestCommand:
    def call(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["explore", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    def test_json_has_every_number(self):
        code, output, _ = self.call(
            *["--activation", "tanh", "--init", "lecun", "--gain", "2", "--norm", "layer", "--skip", "scaled"],
            *[*TINY, "--json"],
        )
        setting = Setting("tanh", "gaussian", 4.0, "layer", "scaled", 8, 16, 8)
        one = explore.measure([setting], explore.SEEDS[:3])[0]
        found = json.loads(output)
        assert code == 0
        assert (found["rate"], found["ratio"]) == (one.rate, one.ratio)
        assert found["norms"] == one.norms
        assert found["theory_rate"] == explore.predict(setting).rate
        assert (found["sigma_w2"], found["gradient_of"], len(found["seeds"])) == (4.0, "h", 3)

    def test_json_has_strings_for_what_json_has_no_numbers_for(self):
        code, output, _ = self.call(*["--activation", "linear", "--gain", "1e-60"], *TINY, "--json")
        found = json.loads(output)
        assert code == 0
        assert (found["rate"], found["ratio"], found["norms"][0]) == ("nan", 0.0, 0.0)
        assert "underflows to 0" in found["trouble"]
        found = json.loads(self.call(*["--activation", "linear", "--gain", "1e60"], *TINY, "--json")[1])
        assert (found["rate"], found["ratio"]) == ("nan", "nan")
        assert "overflows to inf" in found["trouble"]

    def test_words_have_rate_ratio_theory_and_trouble(self):
        code, output, _ = self.call(*["--activation", "linear", "--gain", "1e-60"], *TINY)
        assert code == 0
        assert "rate    nan per layer" in output
        assert "underflows to 0" in output
        code, output, _ = self.call(*TINY)
        assert code == 0
        assert "theory 1" in output
        assert "note" not in output

    def test_code_is_the_snippet(self):
        assert self.call("--depth", "12", "--code") == (0, snippet.snippet(Setting("relu", sigma_w2=2.0, depth=12)), "")

    def test_the_grid_is_recorded_with_the_options_that_are_given(self, monkeypatch):
        asked = []
        monkeypatch.setattr(grid, "record", lambda folder, jobs, device, progress: asked.append((folder, jobs, device)))
        assert self.call("--record", "--jobs", "3")[:2] == (0, "docs/assets/explore is written\n")
        assert asked == [(ROOT / "docs/assets/explore", 3, "cpu")]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--record", "--depth", "20", "--json"], "--depth, --json: nothing to --record"),
            (["--jobs", "3"], "--jobs: for --record alone"),
            (["--activation", "swish"], "unknown activation 'swish'; known: linear"),
            (["--init", "glorot"], "unknown init 'glorot'; known: pytorch, lecun"),
            (["--gain", "0"], "the gain is finite and above 0, not 0.0"),
            (["--depth", "1"], "the depth is at least 4, not 1"),
        ],
    )
    def test_a_bad_value_is_an_error_that_says_what_there_is(self, arguments, message):
        code, output, errors = self.call(*arguments)
        assert (code, output) == (2, "")
        assert message in " ".join(errors.split())

    def test_help_names_every_value_without_loading_torch(self):
        code = (
            "import sys; from vgdocs.cli import cli; cli(['explore', '--help'], standalone_mode=False); "
            "print('torch' in sys.modules)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.endswith("False\n")
        for name in (*explore.ACTIVATIONS, *explore.INITS, *explore.NORMS, *explore.SKIPS):
            assert re.search(rf"\b{name}\b", result.stdout), name
