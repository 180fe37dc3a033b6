"""Theory against what it was not computed from: textbook integrals, scipy's quadrature, simulation."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from vgdocs import theory
from vgdocs.theory import ACTIVATIONS

NAMES = sorted(ACTIVATIONS)


def normal_mean(f, variance):
    """E[f(x)], x ~ N(0, variance), by scipy's adaptive quadrature on each side of 0."""

    def integrand(z):
        return f(math.sqrt(variance) * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    sides = [(-math.inf, 0), (0, math.inf)]
    return sum(scipy.integrate.quad(integrand, *side, epsabs=1e-13, epsrel=1e-12)[0] for side in sides)


class TestGaussianMean:
    @pytest.mark.parametrize("variance", [0.0, 0.3, 1.0, 7.0])
    def test_moments_of_the_normal_distribution(self, variance):
        assert theory.gaussian_mean(torch.ones_like, variance) == pytest.approx(1, rel=1e-12)
        assert theory.gaussian_mean(lambda x: x, variance) == pytest.approx(0, abs=1e-14)
        assert theory.gaussian_mean(lambda x: x**2, variance) == pytest.approx(variance, rel=1e-12)
        assert theory.gaussian_mean(lambda x: x**4, variance) == pytest.approx(3 * variance**2, rel=1e-12)

    def test_a_jump_at_zero_is_halved(self):
        assert theory.gaussian_mean(lambda x: (x > 0).double(), 1.0) == pytest.approx(0.5, rel=1e-12)

    @pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf])
    def test_no_such_variance(self, variance):
        with pytest.raises(ValueError, match="variance"):
            theory.gaussian_mean(torch.tanh, variance)


class TestVarianceMap:
    @pytest.mark.parametrize("q", [0.1, 1.0, 30.0])
    def test_error_function_has_an_arcsine(self, q):
        # Williams 1997: E[erf(x)²] = (2/pi) arcsin(2q / (1 + 2q)).
        expected = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
        assert theory.variance_map(torch.erf, q, 1.0) == pytest.approx(expected, rel=1e-10)

    @pytest.mark.parametrize("q", [0.1, 1.0, 30.0])
    def test_relu_keeps_half_and_linear_all(self, q):
        assert theory.variance_map(torch.relu, q, 2.0) == pytest.approx(q, rel=1e-10)
        assert theory.variance_map(theory.linear, q, 3.0, 0.5) == pytest.approx(3 * q + 0.5, rel=1e-10)

    @pytest.mark.parametrize(
        ("name", "function"),
        [
            ("tanh", math.tanh),
            ("sigmoid", scipy.special.expit),
            ("elu", lambda x: x if x > 0 else math.expm1(x)),
            ("selu", lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x))),
            ("gelu", lambda x: x * scipy.special.ndtr(x)),
            ("silu", lambda x: x * scipy.special.expit(x)),
            ("leaky_relu", lambda x: x if x > 0 else 0.01 * x),
        ],
    )
    @pytest.mark.parametrize("q", [0.2, 1.0, 9.0])
    def test_agrees_with_adaptive_quadrature(self, name, function, q):
        expected = normal_mean(lambda x: function(x) ** 2, q)
        assert theory.variance_map(ACTIVATIONS[name], q, 1.0) == pytest.approx(expected, rel=1e-7)

    @pytest.mark.parametrize("name", NAMES)
    def test_rises_with_the_variance(self, name):
        values = [theory.variance_map(ACTIVATIONS[name], 10 ** (k / 4), 1.0) for k in range(-24, 13)]
        assert all(low < high for low, high in itertools.pairwise(values))


class TestChi:
    @pytest.mark.parametrize("q", [0.0, 1e-6, 1.0, 50.0, math.inf])
    @pytest.mark.parametrize("sigma_w2", [1 / 3, 1.0, 2.0])
    def test_scale_free_activations_have_one_chi(self, q, sigma_w2):
        assert theory.chi(theory.linear, q, sigma_w2) == pytest.approx(sigma_w2, rel=1e-10)
        assert theory.chi(torch.relu, q, sigma_w2) == pytest.approx(sigma_w2 / 2, rel=1e-10)
        leaky = ACTIVATIONS["leaky_relu"]
        assert theory.chi(leaky, q, sigma_w2) == pytest.approx(sigma_w2 * (1 + 0.01**2) / 2, rel=1e-10)

    def test_small_variances_feel_the_slope_at_zero(self):
        assert theory.chi(torch.sigmoid, 0.0, 1.0) == pytest.approx(0.25**2, rel=1e-10)
        assert theory.chi(torch.tanh, 0.0, 1.5) == pytest.approx(1.5, rel=1e-10)

    @pytest.mark.parametrize("q", [0.1, 1.0, 30.0])
    def test_error_function(self, q):
        # erf'(x)² = (4/pi) exp(-2x²), whose mean is (4/pi) / sqrt(1 + 4q).
        assert theory.chi(torch.erf, q, 1.0) == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-10)

    @pytest.mark.parametrize("q", [0.2, 1.0, 9.0])
    def test_exponential_branches_agree_with_adaptive_quadrature(self, q):
        elu = normal_mean(lambda x: 1.0 if x > 0 else math.exp(2 * x), q)
        assert theory.chi(ACTIVATIONS["elu"], q, 1.0) == pytest.approx(elu, rel=1e-6)
        scale, alpha = 1.0507009873554805, 1.6732632423543772
        selu = normal_mean(lambda x: scale**2 * (1.0 if x > 0 else alpha**2 * math.exp(2 * x)), q)
        assert theory.chi(ACTIVATIONS["selu"], q, 1.0) == pytest.approx(selu, rel=1e-6)

    def test_does_not_need_the_caller_to_record_gradients(self):
        with torch.no_grad():
            assert theory.chi(torch.relu, 1.0, 2.0) == pytest.approx(1, rel=1e-10)


class TestFixedPoint:
    @pytest.mark.parametrize("sigma_w2", [1 / 3, 1.0, 2.0, 103.0])
    def test_is_where_sigmoids_settle(self, sigma_w2):
        q = 1.0
        for _ in range(200):
            q = theory.variance_map(torch.sigmoid, q, sigma_w2)
        assert theory.fixed_point(torch.sigmoid, sigma_w2) == pytest.approx(q, rel=1e-9)

    @pytest.mark.parametrize("q0", [1e-3, 1.0, 40.0])
    def test_tanh_settles_at_the_same_variance_from_both_sides(self, q0):
        q = theory.fixed_point(torch.tanh, 2.0, 0.1, q0)
        assert q == pytest.approx(theory.fixed_point(torch.tanh, 2.0, 0.1), rel=1e-9)
        assert theory.variance_map(torch.tanh, q, 2.0, 0.1) == pytest.approx(q, rel=1e-9)

    def test_scale_free_activations_die_out_stay_or_grow(self):
        for phi, critical in [(theory.linear, 1.0), (torch.relu, 2.0)]:
            assert theory.fixed_point(phi, 0.5 * critical, q0=3.0) == 0.0
            assert theory.fixed_point(phi, critical, q0=3.0) == 3.0
            assert theory.fixed_point(phi, 1.5 * critical, q0=3.0) == math.inf

    def test_biases_keep_a_dying_network_alive(self):
        # ReLU: q = q sigma_w2 / 2 + sigma_b2.
        assert theory.fixed_point(torch.relu, 1.0, 0.3) == pytest.approx(0.6, rel=1e-9)

    def test_critical_tanh_creeps_all_the_way_to_zero(self):
        assert theory.fixed_point(torch.tanh, 1.0) == 0.0

    @pytest.mark.parametrize("q0", [0.0, -1.0, math.nan, math.inf])
    def test_no_such_start(self, q0):
        with pytest.raises(ValueError, match="q0"):
            theory.fixed_point(torch.tanh, 1.0, q0=q0)


class TestRate:
    @pytest.mark.parametrize(("sigma_w2", "expected"), [(1.0, 0.2361), (2.0, 0.3178), (1 / 3, 0.1414)])
    def test_sigmoid(self, sigma_w2, expected):
        # Independently by Gauss-Hermite, which is exact enough on a smooth function.
        nodes, weights = np.polynomial.hermite_e.hermegauss(101)
        weights = weights / weights.sum()
        q = 1.0
        for _ in range(200):
            q = sigma_w2 * (weights * scipy.special.expit(math.sqrt(q) * nodes) ** 2).sum()
        s = scipy.special.expit(math.sqrt(q) * nodes)
        independent = math.sqrt(sigma_w2 * (weights * (s * (1 - s)) ** 2).sum())
        assert theory.rate(torch.sigmoid, sigma_w2) == pytest.approx(independent, rel=1e-8)
        assert theory.rate(torch.sigmoid, sigma_w2) == pytest.approx(expected, abs=5e-5)

    def test_relu(self):
        assert theory.rate(torch.relu, 2.0) == pytest.approx(1, rel=1e-10)
        assert theory.rate(torch.relu, 1.0) == pytest.approx(math.sqrt(0.5), rel=1e-10)
        assert theory.rate(torch.relu, 1 / 3) == pytest.approx(math.sqrt(1 / 6), rel=1e-10)

    def test_a_simulated_wide_network_agrees(self):
        # One layer of width 4000, 8 samples: the mean of chi's estimate has a standard error of about 1 %.
        generator = torch.Generator().manual_seed(0)
        width, sigma_w2, q = 4000, 2.5, theory.fixed_point(torch.tanh, 2.5)
        z = math.sqrt(q) * torch.randn(8, width, generator=generator, dtype=torch.float64)
        W = math.sqrt(sigma_w2 / width) * torch.randn(width, width, generator=generator, dtype=torch.float64)
        above = torch.randn(8, width, generator=generator, dtype=torch.float64)  # dL/dz of the layer above
        below = (above @ W) * (1 - torch.tanh(z) ** 2)
        assert float(below.norm() / above.norm()) == pytest.approx(theory.rate(torch.tanh, 2.5), rel=0.03)


class TestTrajectories:
    def test_variances_begin_at_q0_and_count_the_layers(self):
        assert theory.variance_trajectory(torch.relu, 4, 1.0, q0=8.0) == pytest.approx([8, 4, 2, 1])
        assert theory.variance_trajectory(torch.relu, 1, 1.0) == [1.0]
        with pytest.raises(ValueError, match="at least one layer"):
            theory.variance_trajectory(torch.relu, 0, 1.0)

    def test_gradient_profile_ends_at_one(self):
        assert theory.gradient_profile(torch.relu, 4, 1.0) == pytest.approx([0.5**1.5, 0.5, 0.5**0.5, 1])
        assert theory.gradient_profile(torch.tanh, 1, 1.0) == [1.0]

    def test_critical_tanh_decays_as_a_power_law(self):
        # E[tanh²] ~ q - 2q² and E[tanh'²] ~ 1 - 2q, so q_l ~ 1/(2l) and the squared norm loses 1/l per layer:
        # the norm falls as 1/sqrt(depth), and twice the depth costs a factor of sqrt(2).
        short, long = (theory.gradient_profile(torch.tanh, depth, 1.0)[0] for depth in (400, 800))
        assert short / long == pytest.approx(math.sqrt(2), rel=0.01)


class TestCriticality:
    def test_critical_scales(self):
        assert theory.critical_sigma_w2(theory.linear) == pytest.approx(1, rel=1e-9)
        assert theory.critical_sigma_w2(torch.relu) == pytest.approx(2, rel=1e-9)
        assert theory.critical_sigma_w2(torch.tanh) == pytest.approx(1, rel=1e-6)
        assert theory.critical_sigma_w2(torch.sigmoid) == pytest.approx(103, abs=0.5)

    def test_no_single_scale_is_critical_for_gelu(self):
        with pytest.raises(ValueError, match="jumps across 1"):
            theory.critical_sigma_w2(torch.nn.functional.gelu)

    def test_a_bounded_slope_can_stay_subcritical(self):
        with pytest.raises(ValueError, match="below 1"):
            theory.critical_sigma_w2(lambda x: 0 * x)

    def test_points_of_the_line_are_critical_fixed_points(self):
        variances = [0.1, 0.5, 2.0]
        for q, (sigma_b2, sigma_w2) in zip(variances, theory.critical_line(torch.tanh, variances), strict=True):
            assert theory.fixed_point(torch.tanh, sigma_w2, sigma_b2) == pytest.approx(q, rel=1e-6)
            assert theory.rate(torch.tanh, sigma_w2, sigma_b2) == pytest.approx(1, rel=1e-6)

    def test_the_line_of_tanh_starts_at_lecun_and_that_of_relu_is_one_point(self):
        assert theory.critical_line(torch.tanh, [1e-6])[0] == pytest.approx((0, 1), abs=1e-5)
        assert theory.critical_line(torch.relu, [0.5, 4.0]) == [pytest.approx((0, 2), abs=1e-9)] * 2

    def test_sigmoid_has_no_critical_network_of_small_variance(self):
        with pytest.raises(ValueError, match="would need"):
            theory.critical_line(torch.sigmoid, [1.0])


class TestClosedForms:
    def test_batch_normalised_relu_by_simulation(self):
        # z is standardised. BN divides the next z = W relu(z) by its spread, and its variance is that of
        # relu(z) itself, and ReLU lets through the gradient of the units that are on.
        generator = torch.Generator().manual_seed(0)
        z = torch.randn(1_000_000, generator=generator, dtype=torch.float64)
        gain = float((z > 0).double().mean()) / float(torch.relu(z).var())
        assert theory.batchnorm_relu_rate() == pytest.approx(math.sqrt(gain), rel=0.005)

    def test_residual_growth(self):
        assert theory.residual_growth(100) == pytest.approx(2.0**50)
        assert theory.residual_growth(0, 0.3) == 1
        assert theory.residual_growth(10**6, 1e-6) == pytest.approx(math.sqrt(math.e), rel=1e-5)
        with pytest.raises(ValueError, match="at least 0"):
            theory.residual_growth(-1)
