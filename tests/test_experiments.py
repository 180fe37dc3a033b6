"""What figures share: weights, seeds, bands, the digits and the training loop."""

import math

import pytest
import torch
from torch import nn

from vgdocs import experiments


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestWeight:
    @pytest.mark.parametrize("init", ["pytorch", "lecun", "xavier", "he"])
    def test_variance_of_a_square_layer(self, init):
        W = experiments.weight(400, 400, init, seeded())
        # 160,000 draws: the sample variance has a relative standard error of 0.35 %.
        assert 400 * float(W.var()) == pytest.approx(experiments.SIGMA_W2[init], rel=0.015)
        assert W.dtype == torch.float64

    def test_fan_in_sets_the_scale_and_xavier_averages_both(self):
        assert 800 * float(experiments.weight(200, 800, "he", seeded()).var()) == pytest.approx(2, rel=0.015)
        W = experiments.weight(200, 800, "xavier", seeded())
        assert W.shape == (200, 800)
        assert float(W.var()) == pytest.approx(2 / 1000, rel=0.015)

    def test_pytorch_means_the_variance_of_nn_linear(self):
        torch.manual_seed(0)
        theirs = nn.Linear(500, 500).weight.detach()
        assert 500 * float(theirs.var()) == pytest.approx(experiments.SIGMA_W2["pytorch"], rel=0.01)

    def test_sigma_w2_can_be_given(self):
        W = experiments.weight(400, 400, 9.0, seeded(), dtype=torch.float32)
        assert 400 * float(W.var()) == pytest.approx(9, rel=0.015)
        assert W.dtype == torch.float32
        assert not experiments.weight(3, 3, 0.0).any()

    def test_the_generator_decides(self):
        assert torch.equal(experiments.weight(3, 3, generator=seeded()), experiments.weight(3, 3, generator=seeded()))

    @pytest.mark.parametrize("init", ["kaiming", -1.0, math.nan])
    def test_no_such_init(self, init):
        with pytest.raises(ValueError, match=r"unknown init|at least 0"):
            experiments.weight(3, 3, init)


class TestSeeds:
    def test_follow_from_the_seed_and_differ(self):
        seeds = experiments.derive_seeds(0, 50)
        assert len(set(seeds)) == 50
        assert all(isinstance(seed, int) for seed in seeds)
        assert experiments.derive_seeds(0, 10) == seeds[:10]

    def test_neighbours_share_none(self):
        assert not set(experiments.derive_seeds(0, 50)) & set(experiments.derive_seeds(1, 50))

    def test_leave_the_global_generator_alone(self):
        torch.manual_seed(3)
        expected = torch.rand(())
        torch.manual_seed(3)
        experiments.derive_seeds(0, 5)
        assert torch.equal(torch.rand(()), expected)


class TestBand:
    def test_of_numbers(self):
        assert experiments.band([3.0, 1.0, 2.0]) == {"median": 2.0, "lo": 1.0, "hi": 3.0}
        assert experiments.band([1.0, 2.0]) == {"median": 1.5, "lo": 1.0, "hi": 2.0}
        assert experiments.band([5]) == {"median": 5.0, "lo": 5.0, "hi": 5.0}

    def test_of_lists_is_elementwise(self):
        assert experiments.band([[1.0, 9.0], [2.0, 7.0], [3.0, 8.0]]) == {
            "median": [2.0, 8.0],
            "lo": [1.0, 7.0],
            "hi": [3.0, 9.0],
        }

    def test_is_plain_json_in_full_precision(self):
        assert experiments.band([0.1])["median"] == 0.1
        assert type(experiments.band([[0.1]])["lo"][0]) is float

    @pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0], [math.inf]], [[1.0, 2.0], [1.0]]])
    def test_without_a_meaning(self, values):
        with pytest.raises(ValueError):  # noqa: PT011 - ragged lists are refused in torch's words
            experiments.band(values)

    def test_of_dictionaries_is_a_band_for_each_key(self):
        runs = [{"rate": 1.0, "norms": [1.0, 2.0]}, {"rate": 3.0, "norms": [3.0, 0.0]}]
        assert experiments.band(runs) == {
            "rate": {"median": 2.0, "lo": 1.0, "hi": 3.0},
            "norms": {"median": [2.0, 1.0], "lo": [1.0, 0.0], "hi": [3.0, 2.0]},
        }
        with pytest.raises(ValueError, match="different keys"):
            experiments.band([{"rate": 1.0}, {"ratio": 1.0}])


class TestBars:
    EXPECTED = {"x": [2.0, 5.0], "error_x": {"array": [1.0, 3.0], "arrayminus": [2.0, 0.5]}}  # noqa: RUF012

    def test_of_a_list_of_bands_and_of_a_band_of_lists(self):
        one, other = {"median": 2.0, "lo": 0.0, "hi": 3.0}, {"median": 5.0, "lo": 4.5, "hi": 8.0}
        assert experiments.bars([one, other], "x") == self.EXPECTED
        assert experiments.bars({end: [one[end], other[end]] for end in one}, "x") == self.EXPECTED

    def test_of_one_band_is_one_bar_upright(self):
        assert experiments.bars({"median": 2.0, "lo": 0.5, "hi": 3.0}) == {
            "y": [2.0],
            "error_y": {"array": [1.0], "arrayminus": [1.5]},
        }


class TestBandTraces:
    BAND = {"median": [2.0, 3.0], "lo": [1.0, 2.0], "hi": [4.0, 5.0]}  # noqa: RUF012

    def test_an_area_under_a_line(self):
        area, line = experiments.band_traces([0, 1], self.BAND, "He", "healthy")
        assert (list(area.x), list(area.y)) == ([0, 1, 1, 0], [4.0, 5.0, 2.0, 1.0])
        assert (area.fill, area.showlegend, area.hoverinfo) == ("toself", False, "skip")
        assert area.meta == {"role": "healthy", "band": True}
        assert (list(line.x), list(line.y)) == ([0, 1], [2.0, 3.0])
        assert line.meta == {"role": "healthy"}
        assert area.legendgroup == line.legendgroup == line.name == "He"

    def test_dense_lines_have_no_markers(self):
        short, long = ({key: [1.0] * n for key in self.BAND} for n in (5, 100))
        assert experiments.band_traces(range(5), short, "")[1].mode == "lines+markers"
        assert experiments.band_traces(range(100), long, "")[1].mode == "lines"

    def test_meta_may_be_a_dict_or_left_out(self):
        area, line = experiments.band_traces([0, 1], self.BAND, "He")
        assert (area.meta, line.meta) == ({"band": True}, None)
        area, line = experiments.band_traces([0, 1], self.BAND, "He", {"role": "theory", "more": 1})
        assert area.meta == {"role": "theory", "more": 1, "band": True}
        assert line.meta == {"role": "theory", "more": 1}

    def test_lengths_must_agree(self):
        with pytest.raises(ValueError, match="He: 3 places"):
            experiments.band_traces([0, 1, 2], self.BAND, "He")


class TestDigits:
    def test_split_shapes_and_types(self):
        x_train, y_train, x_test, y_test = experiments.digits()
        assert (x_train.shape, x_test.shape) == ((1437, 64), (360, 64))
        assert (y_train.shape, y_test.shape) == ((1437,), (360,))
        assert (x_train.dtype, y_train.dtype) == (torch.float32, torch.int64)

    def test_training_pixels_are_standardised(self):
        x_train, _, x_test, _ = experiments.digits()
        assert float(x_train.mean()) == pytest.approx(0, abs=1e-5)
        assert float((x_train**2).mean()) == pytest.approx(1, rel=1e-5)
        assert float(x_test.mean()) == pytest.approx(0, abs=0.05)
        assert float(x_test.abs().max()) < 3

    def test_is_the_same_each_time_and_every_class_in_proportion(self):
        first, second = experiments.digits(), experiments.digits()
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert int(first[3].bincount().min()) >= 35
        assert int(first[3].bincount().max()) <= 37

    def test_no_test_image_is_a_training_image(self):
        # Pixels are whole numbers up to 16; the data set itself holds no two equal images.
        x_train, _, x_test, _ = experiments.digits()
        assert len(torch.cat([x_train, x_test]).unique(dim=0)) == 1797


class TestAccuracy:
    def test_counts_the_largest_output(self):
        logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [3.0, 9.0]])
        assert experiments.accuracy(lambda x: x, logits, torch.tensor([0, 1, 1, 1])) == 0.75

    def test_a_nan_is_never_right(self):
        logits = torch.full((4, 3), math.nan)
        assert experiments.accuracy(lambda x: x, logits, torch.zeros(4, dtype=torch.int64)) == 0

    @pytest.mark.parametrize("training", [True, False])
    def test_evaluates_and_restores_the_mode(self, training):
        model = nn.Dropout(0.999).train(training)
        y = torch.arange(10)
        assert experiments.accuracy(model, torch.eye(10), y) == 1
        assert model.training is training


def blobs(n=60):
    """Two well separated clouds: a linear classifier gets all of them right."""
    generator = seeded()
    y = torch.arange(n) % 2
    x = torch.randn(n, 4, generator=generator) + 6 * y[:, None] - 3
    return x, y, x, y


def linear_model():
    model = nn.Linear(4, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def deep_model(seed, norm=None):
    torch.manual_seed(seed)
    norms = [norm] if norm else []
    return nn.Sequential(nn.Linear(4, 6), *norms, nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def hard_blobs():
    """Two clouds that overlap, in float64, so that only an error and no rounding makes trainings differ."""
    x, y, *_ = blobs()
    return (0.2 * x).double(), y, (0.3 * x[:20]).double(), y[:20]


class TestStack:
    RATES = (0.003, 0.03, 0.3)

    @pytest.mark.parametrize("optimiser", ["adam", "sgd", "momentum", torch.optim.RMSprop])
    @pytest.mark.parametrize("clip", [None, 0.05])
    @pytest.mark.parametrize("norm", [None, "layer", "batch"])
    def test_trains_each_network_as_it_would_be_alone(self, optimiser, clip, norm):
        def build(seed):
            norms = {"layer": nn.LayerNorm(6), "batch": nn.BatchNorm1d(6, track_running_stats=False)}
            return deep_model(seed, norms.get(norm))

        settings = {"epochs": 3, "batch_size": 16, "optimiser": optimiser, "clip": clip}
        stack = experiments.Stack([build(seed) for seed in range(3)])
        losses, seen = [], []
        together = experiments.train(
            stack,
            hard_blobs(),
            lr=self.RATES,
            generator=seeded(),
            on_step=lambda _, loss: seen.append(loss.tolist()),
            on_epoch=lambda _, loss: losses.append(loss),
            **settings,
        )
        assert losses == together["loss"]
        for i, rate in enumerate(self.RATES):
            network, alone = build(i), []
            result = experiments.train(
                network,
                hard_blobs(),
                lr=rate,
                generator=seeded(),
                on_step=lambda _, loss, alone=alone: alone.append(float(loss)),
                **settings,
            )
            assert [step[i] for step in seen] == pytest.approx(alone, rel=1e-9)
            assert [epoch[i] for epoch in together["loss"]] == pytest.approx(result["loss"], rel=1e-9)
            for key in ("test_accuracy", "train_accuracy"):
                assert together[key][i] == result[key]
            for ours, theirs in zip(stack.networks[i].parameters(), network.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)

    def test_one_that_blows_up_leaves_the_others_alone(self):
        def build():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)).double()

        settings = {"epochs": 3, "optimiser": "sgd", "clip": 1e9}
        stack = experiments.Stack([build(), build()])
        result = experiments.train(stack, hard_blobs(), lr=[1e200, 0.1], generator=seeded(), **settings)
        alone = experiments.train(build(), hard_blobs(), lr=0.1, generator=seeded(), **settings)
        assert not math.isfinite(result["loss"][-1][0])
        assert result["test_accuracy"][0] == 0
        assert result["loss"][-1][1] == pytest.approx(alone["loss"][-1], rel=1e-9)

    def test_batch_normalisation_takes_the_statistics_of_the_set_that_is_evaluated(self):
        stack = experiments.Stack([deep_model(0, nn.BatchNorm1d(6))]).eval()
        x, *_ = hard_blobs()
        torch.testing.assert_close(stack(x)[0], deep_model(0, nn.BatchNorm1d(6)).train()(x))

    def test_has_dropout_only_in_training(self):
        stack = experiments.Stack([deep_model(0, nn.Dropout(0.5)), deep_model(0, nn.Dropout(0.5))])
        x, *_ = hard_blobs()
        first, second = stack(x)
        assert not torch.equal(first, second)
        first, second = stack.eval()(x)
        assert torch.equal(first, second)

    def test_networks_with_other_state_are_refused(self):
        with pytest.raises(ValueError, match="buffers"):
            experiments.Stack([nn.InstanceNorm1d(3, track_running_stats=True)])


class TestSweep:
    def test_finds_the_best_rate_of_each_optimiser(self):
        rates = {"adam": [1e-9, 0.01, 0.1], "sgd": [1e-9, 0.3]}
        found = experiments.sweep(
            deep_model, hard_blobs(), seeds=[3, 4, 5], rates=rates, epochs=20, batch_size=16, score="train_accuracy"
        )
        assert {name: at["rates"] for name, at in found.items()} == rates
        for at in found.values():
            untrained = [experiments.accuracy(deep_model(seed), *hard_blobs()[:2]) for seed in (3, 4, 5)]
            assert {key: at[key][0] for key in ("median", "lo", "hi")} == experiments.band(untrained)
            assert experiments.best({"": at})["median"] == max(at["median"]) > 0.9
        assert experiments.best(found)["median"] == max(found["adam"]["median"] + found["sgd"]["median"])

    def test_is_train_at_each_rate_and_seed(self):
        found = experiments.sweep(deep_model, hard_blobs(), seeds=[3, 4], rates={"adam": [0.01, 0.1]}, epochs=2)
        for i, lr in enumerate([0.01, 0.1]):
            alone = [
                experiments.train(deep_model(seed), hard_blobs(), epochs=2, lr=lr, generator=seeded(3))["test_accuracy"]
                for seed in (3, 4)
            ]
            assert {key: found["adam"][key][i] for key in ("median", "lo", "hi")} == experiments.band(alone)

    def test_an_optimiser_of_ones_own(self):
        def mute(parameters, lr):
            return torch.optim.SGD(parameters, lr=0 * lr)

        found = experiments.sweep(
            deep_model, hard_blobs(), seeds=[3], rates={"mute": [1.0]}, epochs=1, optimisers={"mute": mute}
        )
        assert found["mute"]["median"] == [experiments.accuracy(deep_model(3), *hard_blobs()[2:])]


class TestTrain:
    @pytest.mark.parametrize("optimiser", ["adam", "sgd", torch.optim.RMSprop])
    def test_learns_what_is_easy(self, optimiser):
        result = experiments.train(linear_model(), blobs(), epochs=20, lr=0.05, optimiser=optimiser, generator=seeded())
        assert set(result) == {"test_accuracy", "train_accuracy", "loss"}
        assert result["test_accuracy"] == result["train_accuracy"] == 1
        assert len(result["loss"]) == 20
        assert result["loss"][-1] < 0.3 * math.log(2)

    def test_the_first_loss_is_the_mean_over_all_rows(self):
        # No learning: every row costs log 2 to a model of zeros, whatever the last batch's size.
        result = experiments.train(
            linear_model(), blobs(), epochs=1, lr=0.0, optimiser="sgd", batch_size=7, generator=seeded()
        )
        assert result["loss"] == pytest.approx([math.log(2)])

    def test_the_generator_decides_the_order(self):
        def losses(seed):
            return experiments.train(linear_model(), blobs(), epochs=2, lr=0.1, batch_size=8, generator=seeded(seed))[
                "loss"
            ]

        assert losses(0) == losses(0)
        assert losses(0) != losses(1)

    def test_callbacks_see_every_step_and_epoch(self):
        model, steps, epochs = linear_model(), [], []
        experiments.train(
            model,
            blobs(60),
            epochs=3,
            lr=0.1,
            batch_size=25,
            generator=seeded(),
            on_step=lambda step, loss: steps.append((step, float(loss), float(model.weight.grad.norm()))),
            on_epoch=lambda epoch, loss: epochs.append((epoch, loss)),
        )
        assert [step for step, _, _ in steps] == list(range(1, 10))
        assert all(norm > 0 for _, _, norm in steps)
        assert [epoch for epoch, _ in epochs] == [1, 2, 3]
        assert epochs[0][1] == pytest.approx((25 * steps[0][1] + 25 * steps[1][1] + 10 * steps[2][1]) / 60)

    def test_clipping_bounds_the_step_but_not_what_on_step_sees(self):
        model, seen = linear_model(), []
        experiments.train(
            model,
            blobs(),
            epochs=1,
            lr=1.0,
            optimiser="sgd",
            batch_size=60,
            clip=1e-3,
            generator=seeded(),
            on_step=lambda step, loss: seen.append(float(model.weight.grad.norm())),
        )
        moved = math.hypot(float(model.weight.detach().norm()), float(model.bias.detach().norm()))
        assert seen[0] > 1
        assert moved == pytest.approx(1e-3, rel=1e-3)

    def test_reports_a_blow_up_instead_of_raising(self):
        x, y = torch.ones(8, 4), torch.arange(8) % 2  # which no network gets right
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        result = experiments.train(model, (1e18 * x, y, x, y), epochs=3, lr=1e18, optimiser="sgd", generator=seeded())
        assert not math.isfinite(result["loss"][-1])
        assert result["test_accuracy"] == 0

    def test_no_such_optimiser(self):
        with pytest.raises(ValueError, match="unknown optimiser 'lion'"):
            experiments.train(linear_model(), blobs(), epochs=1, lr=1, optimiser="lion", generator=seeded())

    def test_weight_decay_is_refused_where_each_network_has_its_rate(self):
        stack = experiments.Stack([linear_model()])
        with pytest.raises(ValueError, match="weight decay"):
            experiments.train(stack, blobs(), epochs=1, lr=[1.0], optimiser=torch.optim.AdamW, generator=seeded())

    def test_importing_the_modules_pins_nothing(self):
        assert torch.get_default_dtype() == torch.float32
        assert not torch.are_deterministic_algorithms_enabled()
