"""Predictions: the mean-field theory of wide random networks, and a few closed forms.

A layer is z = W phi(z of the layer below) + b with W_ij ~ N(0, sigma_w2 / fan_in), b_i ~ N(0, sigma_b2), so that

    sigma_w2 = fan_in x (variance of one weight)      LeCun 1, He 2, PyTorch's default 1/3

In the limit of infinite width the pre-activations of a layer are Gaussian with mean 0 and a variance q,
which follows from the variance one layer below, and the *squared* norm of dL/dz changes by a factor chi per
layer going backward, whatever the layers' widths are. A rate is the factor on the norm itself, sqrt(chi). The
gradient vanishes where the rate tends to a limit below 1 as the depth grows, and explodes where the limit is above 1;
at 1 it may still fall, as a power of the depth. Networks of finite width scatter around this, by depth / width.

Sources: Poole et al. 2016 (arXiv 1606.05340) for the variance map; Schoenholz et al. 2017 (arXiv 1611.01232)
for the gradient and the critical line; Yang et al. 2019 (arXiv 1902.08129) for batch normalisation.
"""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    """The identity, as an activation like any other."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
}

REACH = 12.0  # standard deviations on either side of 0; the density there is 1e-32
INTERVALS = 24_001  # odd, so that 0, where the kinks are, lies midway between two nodes
SMALLEST_Q = 1e-12  # a variance that falls below this has gone to 0
LARGEST_Q = 1e12  # a variance that rises above this has gone to infinity


_Z = torch.linspace(-REACH, REACH, INTERVALS + 1, dtype=torch.float64)
_Z = (_Z - _Z.flip(0)) / 2  # exactly antisymmetric, so that odd functions integrate to 0
_DENSITY = torch.exp(-(_Z**2) / 2) / math.sqrt(2 * math.pi)
_WEIGHT = _DENSITY * (2 * REACH / INTERVALS)


def gaussian_mean(f: Activation, variance: float) -> float:
    """E[f(x)] for x ~ N(0, variance), by the trapezoid rule in float64.

    Gauss-Hermite nodes would be fewer, but where f or its slope jumps at 0 a hundred of them can still be wrong by a
    per cent (the slopes of ELU and SELU squared). Here a kink or a jump at 0 costs about 1e-7, and a smooth f is exact
    to rounding up to a variance of 1e4. Beyond, an f that varies over a range of 1, such as tanh', slips between the
    nodes: 2 per cent are lost at 1e6, all of it at 1e8.

    Raises ValueError for a negative or non-finite variance.
    """
    if not 0 <= variance < math.inf:
        raise ValueError(f"a variance is finite and at least 0, not {variance}")
    return float((f(math.sqrt(variance) * _Z) * _WEIGHT).sum())


def derivative(phi: Activation) -> Activation:
    """phi', elementwise, by autograd."""

    def phi_prime(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(phi(x).sum(), x)[0]

    return phi_prime


def variance_map(phi: Activation, q: float, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """Variance of the next layer's pre-activations: sigma_w2 E[phi(z)²] + sigma_b2 with z ~ N(0, q).

    Poole et al. 2016.
    """
    return sigma_w2 * gaussian_mean(lambda x: phi(x) ** 2, q) + sigma_b2


def chi(phi: Activation, q: float, sigma_w2: float) -> float:
    """Factor on the squared norm of dL/dz per layer going backward: sigma_w2 E[phi'(z)²] with z ~ N(0, q).

    At q = 0 and q = inf, which `fixed_point` may return, this is the limit, evaluated at SMALLEST_Q**2 and
    LARGEST_Q. For a scale-free phi (linear, ReLU, leaky ReLU) chi is the same at every q.

    Poole et al. 2016 (there chi_1, for the distance of two inputs); Schoenholz et al. 2017 for the gradient.
    """
    q = min(max(q, SMALLEST_Q**2), LARGEST_Q)
    slope = derivative(phi)
    return sigma_w2 * gaussian_mean(lambda x: slope(x) ** 2, q)


def fixed_point(phi: Activation, sigma_w2: float, sigma_b2: float = 0.0, q0: float = 1.0) -> float:
    """The variance q* that deep layers settle at when the first layer's pre-activations have variance q0.

    The variance map rises with q for every activation listed here, so the variances move away from q0 in one
    direction until they meet the first q with V(q) = q; that q is bracketed in steps of a factor of two and bisected,
    which is exact even where the iteration itself creeps (tanh at sigma_w2 = 1 falls as 1/(2 layers)).

    Returns 0.0 where the variance dies out, inf where it grows without bound, and q0 where V(q0) = q0. For a
    scale-free phi without biases there are no other cases: ReLU gives 0.0 below He's scale, q0 at it and inf
    above.

    Raises ValueError unless q0 > 0.
    """
    if not 0 < q0 < math.inf:
        raise ValueError(f"q0 is finite and above 0, not {q0}")

    def growth(q: float) -> float:
        return variance_map(phi, q, sigma_w2, sigma_b2) / q - 1

    start = growth(q0)
    if abs(start) < 1e-12:
        return q0
    rising = start > 0
    near, step = q0, 2.0 if rising else 0.5
    far = near * step
    while (growth(far) > 0) == rising:
        near, far = far, far * step
        if far > LARGEST_Q:
            return math.inf
        if far < SMALLEST_Q:
            return 0.0
    near, far = _bisected(near, far, lambda q: (growth(q) > 0) == rising, 60)
    return math.sqrt(near * far)


def _bisected(near: float, far: float, is_near: Callable[[float], bool], halvings: int) -> tuple[float, float]:
    """Closer bounds of the place, on a logarithmic scale, up to which `is_near` holds."""
    for _ in range(halvings):
        middle = math.sqrt(near * far)
        near, far = (middle, far) if is_near(middle) else (near, middle)
    return near, far


def rate(phi: Activation, sigma_w2: float, sigma_b2: float = 0.0, q0: float = 1.0) -> float:
    """Factor on ||dL/dz|| per layer going backward, deep inside a wide network: sqrt(chi(q*)).

    Where q* is approached slowly (tanh or ELU at LeCun's scale) a finite network is not at its fixed point:
    compare with `gradient_profile` there.
    """
    return math.sqrt(chi(phi, fixed_point(phi, sigma_w2, sigma_b2, q0), sigma_w2))


def variance_trajectory(
    phi: Activation, depth: int, sigma_w2: float, q0: float = 1.0, sigma_b2: float = 0.0
) -> list[float]:
    """Variances of the pre-activations of layers 1 to `depth`; q0 is that of layer 1.

    With inputs x the first layer has q0 = sigma_w2 mean(x²) + sigma_b2.
    """
    if depth < 1:
        raise ValueError(f"a network has at least one layer, not {depth}")
    variances = [float(q0)]
    while len(variances) < depth:
        variances.append(variance_map(phi, variances[-1], sigma_w2, sigma_b2))
    return variances


def gradient_profile(
    phi: Activation, depth: int, sigma_w2: float, q0: float = 1.0, sigma_b2: float = 0.0
) -> list[float]:
    """||dL/dz_l|| of layers l = 1 to `depth`, relative to the last layer's (so the last entry is 1).

    The square root of chi(q_l) chi(q_l+1) ... chi(q_depth-1), along the variances' own trajectory: right also
    where the decay is a power law, and at any depth.
    """
    norms = [1.0]
    for q in reversed(variance_trajectory(phi, depth, sigma_w2, q0, sigma_b2)[:-1]):
        norms.append(norms[-1] * math.sqrt(chi(phi, q, sigma_w2)))
    return norms[::-1]


def critical_sigma_w2(phi: Activation, sigma_b2: float = 0.0) -> float:
    """The sigma_w2 at which chi at the fixed point is 1: neither vanishing nor exploding.

    1 for linear and tanh, 2 for ReLU, about 103 for sigmoid. Raises ValueError where chi at the fixed point
    jumps across 1 without taking that value, as it does for GELU and SiLU.
    """

    def excess(sigma_w2: float) -> float:
        return rate(phi, sigma_w2, sigma_b2) - 1

    low, high = 1e-3, 1.0
    while excess(high) < 0:
        low, high = high, 2 * high
        if high > LARGEST_Q:
            raise ValueError("chi at the fixed point stays below 1 for every sigma_w2")
    low, high = _bisected(low, high, lambda sigma_w2: excess(sigma_w2) < 0, 40)
    if excess(high) - excess(low) > 1e-3:
        raise ValueError(f"chi at the fixed point jumps across 1 at sigma_w2 = {high:.4g}")
    return math.sqrt(low * high)


def critical_line(phi: Activation, variances: Iterable[float]) -> list[tuple[float, float]]:
    """Points (sigma_b2, sigma_w2) of the critical line, one for each fixed-point variance q given.

    sigma_w2 = 1 / E[phi'(z)²] makes chi 1, and sigma_b2 = q - sigma_w2 E[phi(z)²] makes q the fixed point.
    Raises ValueError for a q that would need a negative sigma_b2.

    Poole et al. 2016; Schoenholz et al. 2017.
    """
    line = []
    for q in variances:
        sigma_w2 = 1 / chi(phi, q, 1.0)
        sigma_b2 = q - variance_map(phi, q, sigma_w2)
        if sigma_b2 < -1e-6 * q:
            raise ValueError(f"no network is critical at q = {q}: it would need sigma_b2 = {sigma_b2:.3g}")
        line.append((max(sigma_b2, 0.0), sigma_w2))
    return line


def batchnorm_relu_rate() -> float:
    """Factor on ||dL/dz|| per layer of batch normalisation and ReLU, for large batches: sqrt(pi / (pi - 1)).

    Yang et al. 2019, theorems 7 to 9, who state its square: the gradient explodes, whatever the weights' variance.
    """
    return math.sqrt(math.pi / (math.pi - 1))


def residual_growth(blocks: int, branch: float = 1.0) -> float:
    """Factor on the gradient's norm over `blocks` residual blocks x + f(x): (1 + branch)**(blocks / 2).

    `branch` is the factor that f alone puts on the *squared* norm: 1 for a branch with He's scale, 1/blocks
    when its output is divided by sqrt(blocks), and then the growth stays below sqrt(e) at any depth. The two
    squared norms add because a branch that ends in a random linear map is uncorrelated with its skip, on average over
    such maps. A single network of finite width scatters around that mean, the more so the more blocks it has.
    """
    if blocks < 0 or branch < 0:
        raise ValueError(f"blocks and branch are at least 0, not {blocks} and {branch}")
    return float((1 + branch) ** (blocks / 2))
