"""Measured gradients against finite differences and matrices whose answer is known."""

import math

import pytest
import torch

from vgdocs import gradients


def finite_difference(f, x, step=1e-6):
    """Gradient of the scalar f at x by central differences."""
    slopes = torch.zeros_like(x)
    for i in range(x.numel()):
        shift = torch.zeros_like(x).view(-1)
        shift[i] = step
        shift = shift.view_as(x)
        slopes.view(-1)[i] = (f(x + shift) - f(x - shift)) / (2 * step)
    return slopes


class TestNorms:
    def test_agree_with_finite_differences(self):
        torch.manual_seed(0)
        W = [torch.randn(4, 4, dtype=torch.float64) for _ in range(3)]
        x, v = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)

        def loss(weights):
            h = x
            for w in weights:
                h = torch.tanh(h @ w.T)
            return (h * v).sum()

        leaves = [w.clone().requires_grad_() for w in W]
        norms = gradients.norms_of_gradients(loss(leaves), leaves)
        for layer in range(3):
            slopes = finite_difference(lambda w, n=layer: loss([*W[:n], w, *W[n + 1 :]]), W[layer])
            assert norms[layer] == pytest.approx(float(slopes.norm()), rel=1e-7)

    def test_of_intermediate_results(self):
        x = torch.tensor([3.0, 4.0], requires_grad=True)
        y = 2 * x
        assert gradients.norms_of_gradients((y**2).sum() / 2, [x, y]) == [20.0, 10.0]

    def test_the_norm_does_not_underflow_before_the_gradient(self):
        x = torch.ones(2, requires_grad=True)
        (norm,) = gradients.norms_of_gradients((x * 1e-30).sum(), [x])
        assert norm == pytest.approx(1e-30 * math.sqrt(2), rel=1e-6)

    def test_the_graph_can_be_kept(self):
        x = torch.ones(2, requires_grad=True)
        loss = (x**2).sum()
        first = gradients.norms_of_gradients(loss, [x], retain_graph=True)
        assert first == gradients.norms_of_gradients(loss, [x])

    def test_a_tensor_the_loss_does_not_depend_on_is_an_error(self):
        x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError):
            gradients.norms_of_gradients(x.sum(), [y])


class TestRate:
    @pytest.mark.parametrize("r", [0.25, 1.0, 1.5])
    def test_of_a_geometric_decay_in_any_window(self, r):
        norms = [7.0 * r ** (30 - layer) for layer in range(1, 31)]
        assert gradients.rate(norms) == pytest.approx(r, rel=1e-12)
        assert gradients.rate(norms, first=5, last=28) == pytest.approx(r, rel=1e-12)
        assert gradients.rate(norms, 29, 30) == pytest.approx(r, rel=1e-12)

    def test_the_window_counts_from_one_and_includes_both_ends(self):
        norms = [100.0, 1.0, 2.0, 4.0, 100.0]
        assert gradients.rate(norms, 2, 4) == pytest.approx(0.5)

    def test_is_a_least_squares_fit(self):
        norms = [math.exp(y) for y in (0.0, 1.0, 0.0, 1.0)]  # slope 0.2 by hand
        assert gradients.rate(norms) == pytest.approx(math.exp(-0.2))

    def test_survives_norms_far_apart(self):
        assert gradients.rate([1e-300, 1.0, 1e300]) == pytest.approx(1e-300)

    @pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
    def test_norms_without_a_logarithm(self, bad):
        with pytest.raises(ValueError, match="above 0"):
            gradients.rate([1.0, bad, 1.0])
        assert gradients.rate([bad, 1.0, 1.0], first=2) == 1.0

    @pytest.mark.parametrize(("first", "last"), [(0, 3), (2, 4), (2, 2), (3, 1)])
    def test_windows_outside_the_network(self, first, last):
        with pytest.raises(ValueError, match="window"):
            gradients.rate([1.0, 1.0, 1.0], first, last)

    def test_one_layer_has_no_rate(self):
        with pytest.raises(ValueError, match="window"):
            gradients.rate([1.0])


class TestRatio:
    def test_first_over_last(self):
        assert gradients.ratio([2.0, 99.0, 8.0]) == 0.25
        assert gradients.ratio([3.0]) == 1

    @pytest.mark.parametrize("norms", [[], [0.0, 1.0], [1.0, 0.0], [math.nan, 1.0], [1.0, math.inf]])
    def test_without_a_meaning(self, norms):
        with pytest.raises(ValueError, match="norm"):
            gradients.ratio(norms)


class TestJacobian:
    def test_agrees_with_finite_differences(self):
        torch.manual_seed(0)
        W, x = torch.randn(3, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
        J = gradients.jacobian(lambda x: torch.tanh(W @ x), x)
        assert J.shape == (3, 5)
        for i in range(3):
            slopes = finite_difference(lambda x, i=i: torch.tanh(W @ x)[i], x)
            assert torch.allclose(J[i], slopes, rtol=1e-7, atol=1e-9)

    def test_flattens_inputs_and_outputs(self):
        x = torch.randn(2, 3, dtype=torch.float64)
        assert torch.equal(gradients.jacobian(lambda x: 2 * x.T, x).sum(0), 2 * torch.ones(6).double())

    def test_singular_values_of_a_product_of_known_factors(self):
        torch.manual_seed(0)
        U, V = (torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0] for _ in range(2))
        W = U @ torch.diag(torch.tensor([5.0, 2.0, 1e-3, 0.0], dtype=torch.float64)) @ V
        values = gradients.jacobian_singular_values(lambda x: W @ x, torch.zeros(4, dtype=torch.float64))
        assert values == pytest.approx([5.0, 2.0, 1e-3, 0.0], abs=1e-12)

    def test_an_input_that_already_records_gradients_is_left_alone(self):
        x = torch.ones(2, requires_grad=True)
        assert gradients.jacobian_singular_values(lambda x: 3 * x, x) == [3.0, 3.0]
        assert x.grad is None
