"""Which modules of a model the probe calls layers, and what their outputs say about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CHANNEL_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
NORMS: tuple[type[nn.Module], ...] = (*CHANNEL_NORMS, nn.LayerNorm, nn.RMSNorm)
CHANNELS_SECOND: tuple[type[nn.Module], ...] = (nn.modules.conv._ConvNd, *CHANNEL_NORMS)
RELUS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
FLAT = 0.05  # a unit is saturated where its activation's slope is below this share of the largest slope it can have

# activations with flat ends: where the output says that the slope is below FLAT of its maximum
SATURATION: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: lambda y: 4 * y * (1 - y) < FLAT,
    nn.Tanh: lambda y: 1 - y * y < FLAT,
    nn.Softsign: lambda y: (1 - y.abs()) ** 2 < FLAT,
    nn.Hardtanh: lambda y: (y <= -1) | (y >= 1),
    nn.Hardsigmoid: lambda y: (y <= 0) | (y >= 1),
}
ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(*RELUS, *SATURATION, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU),
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Hardswish),
)


@dataclass(frozen=True)
class Layer:
    """One layer, in plain values: a module that owns parameters, or an activation.

    `family` is "weights" (it owns a matrix or a kernel), "recurrent", "norm", "activation" or "other". Parameters are
    given by their place in `model.parameters()`.
    """

    name: str
    kind: str
    family: str
    parameters: tuple[int, ...]
    frozen: bool  # it has parameters, and none of them is trained
    weight: int | None  # of a linear layer or a convolution: its weight, (fan-out, fan-in, ...)
    bias: int | None
    fan_out: int


def find_layers(model: nn.Module) -> list[tuple[Layer, nn.Module]]:
    """The layers of a model with their modules, in the order of their definition; a shared module counts once."""
    position = {id(parameter): i for i, parameter in enumerate(model.parameters())}
    layers: list[tuple[Layer, nn.Module]] = []
    inside: set[int] = set()
    for name, module in model.named_modules():
        if id(module) in inside:
            continue
        whole = isinstance(module, nn.RNNBase | nn.MultiheadAttention) or "parametrizations" in module._modules
        if whole:  # its parts are not called as modules
            inside |= {id(part) for part in module.modules()}
        own = list(module.parameters(recurse=whole))
        if not own and not isinstance(module, ACTIVATIONS):
            continue
        layer = Layer(
            name=name.replace("_orig_mod.", "").removesuffix("_orig_mod") or "(model)",
            kind=type(module).__name__,
            family=_family(module, own),
            parameters=tuple(position[id(parameter)] for parameter in own),
            frozen=bool(own) and not any(parameter.requires_grad for parameter in own),
            weight=_position_of(module, "weight", position),
            bias=_position_of(module, "bias", position),
            fan_out=int(getattr(module, "out_features", getattr(module, "out_channels", 0))),
        )
        layers.append((layer, module))
    return layers


def _position_of(module: nn.Module, name: str, position: dict[int, int]) -> int | None:
    parameter = module._parameters.get(name) if isinstance(module, (nn.Linear, *CONVOLUTIONS)) else None
    return None if parameter is None else position[id(parameter)]


def _family(module: nn.Module, parameters: Sequence[nn.Parameter]) -> str:
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "recurrent"
    if isinstance(module, ACTIVATIONS):
        return "activation"
    if isinstance(module, NORMS):
        return "norm"
    return "weights" if any(parameter.dim() > 1 for parameter in parameters) else "other"


def has_units_second(module: nn.Module, y: Tensor) -> bool | None:
    """Whether the units of an output lie along dimension 1; None for an activation, which takes any layout."""
    if isinstance(module, CHANNELS_SECOND):
        return y.dim() > 2
    return None if isinstance(module, ACTIVATIONS) else False


def tensors_of(output: Any) -> Iterator[Tensor]:
    """The floating-point tensors in what a module returned: a tensor, or tuples, lists and mappings of them."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, PackedSequence):
        yield output.data
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from tensors_of(part)
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_of(part)


def aliased(output: Any) -> Any:
    """A recurrent layer's output with new names for the same values, whose gradients come from outside alone.

    Some kernels compute one output from another, h from c or the final state from the sequence; a hook on the
    original would see that use too.
    """
    if isinstance(output, Tensor):
        return output.view_as(output)
    if isinstance(output, PackedSequence):
        return output._replace(data=aliased(output.data))
    return tuple(aliased(part) for part in output) if isinstance(output, tuple) else output


def saturated(module: nn.Module, y: Tensor) -> Tensor | None:
    """Which outputs of an activation lie where it is flat, as booleans; None for an activation without flat ends."""
    return next((is_flat(y) for kind, is_flat in SATURATION.items() if isinstance(module, kind)), None)


def times_active(values: Tensor, second: bool) -> Tensor:
    """How often each unit has a value other than 0 in the batch, (units,)."""
    there = torch.ne(values, 0, out=torch.empty_like(values, dtype=torch.float32))  # four times as fast as by booleans
    if values.dim() < 2:
        return there
    unit = 1 if second and values.dim() > 2 else values.dim() - 1
    return there.sum(dim=[d for d in range(values.dim()) if d != unit])


def wide(device: torch.device) -> torch.dtype:
    """The type that norms are taken in: float64 where there is one, so that 1e-30 squared is not 0."""
    return torch.float32 if device.type == "mps" else torch.float64


def local(values: Tensor) -> Tensor:
    """Of a tensor that is spread over processes (DTensor) the part that is here."""
    here: Tensor = values.to_local() if hasattr(values, "to_local") else values
    return here


def is_there(values: Tensor) -> bool:
    """Whether a tensor has its memory: what a sharded model has gathered for one pass is given back after it."""
    return values.untyped_storage().nbytes() >= values.numel() * values.element_size()


def looks_drawn(weight: Tensor) -> Tensor:
    """A matrix's largest singular value over the largest that independent random entries of its size would have.

    That is sigma (sqrt(m) + sqrt(n)) for an m x n matrix with entries of mean square sigma squared (Marchenko and
    Pastur 1967). Training adds directions beyond it (Martin and Mahoney 2021). By power iteration.
    """
    matrix = weight.detach().flatten(1).float()
    m, n = matrix.shape
    v = torch.cos(torch.arange(n, device=matrix.device) * 0.7 + 0.3)  # any vector, without touching the random state
    for _ in range(12):
        u = matrix @ (v / v.norm())
        v = matrix.mT @ (u / u.norm())
    edge = matrix.norm() * (m**0.5 + n**0.5) / (m * n) ** 0.5
    ratio: Tensor = v.norm() / edge
    return ratio


def some_rows(values: Tensor, most: int) -> Tensor:
    """A parameter; of one that is larger than `most` as many of its rows, evenly spaced, as are about that many."""
    return values[:: -(-values.numel() // most)] if values.numel() > most and values.dim() > 1 else values


def keeping_gate(module: nn.Module) -> Tensor | None:
    """Where the gate that keeps the state stands by its biases, (): an LSTM's forget gate, a GRU's update gate."""
    if not isinstance(module, nn.LSTM | nn.GRU) or not module.bias:
        return None
    one, other = (local(module.get_parameter(f"bias_{part}_l0").detach()) for part in ("ih", "hh"))
    gate: Tensor = (one + other).unflatten(0, (-1, module.hidden_size))[1].sigmoid().mean()
    return gate
