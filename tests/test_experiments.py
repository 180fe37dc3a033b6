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


class TestTrain:
    @pytest.mark.parametrize("optimiser", ["adam", "sgd", lambda parameters: torch.optim.RMSprop(parameters, lr=0.01)])
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
        x, y, *_ = blobs()
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        result = experiments.train(model, (1e18 * x, y, x, y), epochs=3, lr=1e18, optimiser="sgd", generator=seeded())
        assert not math.isfinite(result["loss"][-1])
        assert result["test_accuracy"] == 0

    def test_no_such_optimiser(self):
        with pytest.raises(ValueError, match="unknown optimiser 'lion'"):
            experiments.train(linear_model(), blobs(), epochs=1, lr=1, optimiser="lion", generator=seeded())

    def test_importing_the_modules_pins_nothing(self):
        assert torch.get_default_dtype() == torch.float32
        assert not torch.are_deterministic_algorithms_enabled()
