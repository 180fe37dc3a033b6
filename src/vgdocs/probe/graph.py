"""What stands between the data and the loss, read from autograd's graph while it is there.

A loss's graph is walked from the loss down, without its values; of a few operations, the saved tensors are looked at,
each through one or two small statistics that stay on the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vgdocs.probe.layers import SATURATION, tensors_of

LIMIT = 20_000  # operations that are read; a graph beyond it is read in part
CLASSES = 1_000  # beyond as many, the classes aren't counted
ROWS = 4_096  # examples, or rows of attention, that a statistic looks at

MATMULS = {"Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Linear", "ConvolutionOverrideable", "MkldnnConvolution"}
MOVES = {  # they change neither a value nor what it means
    *("View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Squeeze", "Unsqueeze", "Slice", "Select"),
    *("Index", "IndexSelect", "Gather", "Expand", "Repeat", "Clone", "ToCopy", "Alias", "AsStrided", "Split"),
    *("SplitWithSizes", "Unbind", "MaskedFill", "Clamp", "ClampMin", "ClampMax", "Add", "Sub"),
}
SCALES = {"Mul", "Div", "Neg"}  # with one computed branch the other is a constant, or a mask
LINEAR = {  # in the one computed thing that they take; a clamp is not: clamp(min=0) is a ReLU
    *(MOVES - {"Clamp", "ClampMin", "ClampMax"}),
    *(MATMULS - {"Bmm", "Baddbmm"}),
    *("Mean", "Sum", "Cat", "UnsafeSplit", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D"),
    *("NativeDropout", "NativeBatchNorm", "CudnnBatchNorm"),
}
RANGES = {  # what an activation at the end can say
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Relu": (0.0, float("inf")),
    "Softplus": (0.0, float("inf")),
}
NLL = ("NllLoss", "NllLoss2D")
BINARY = ("BinaryCrossEntropy", "BinaryCrossEntropyWithLogits")
REGRESSIONS = ("MseLoss", "SmoothL1Loss", "HuberLoss")
RESIDUALS = {*REGRESSIONS, "Pow", "Abs"}
UNREADABLE = (RuntimeError, AttributeError, TypeError, IndexError)  # of values written over since, freed, or not saved


class Operation(NamedTuple):
    """One node of a graph.

    `below` are the places of the computed values that it takes; `owns`: it takes a parameter, itself or transposed.
    `dim`, `size` and `rank` are those of a softmax or a sum: along which dimension, how long that is, of how many;
    `square`: its result is a square matrix. `probability` is a dropout's.
    """

    name: str
    below: tuple[int, ...]
    owns: bool = False
    dim: int = 0
    size: int = 0
    rank: int = 0
    square: bool = False
    mean: bool = False  # a loss that is a mean over its elements
    probability: float = 0.0


@dataclass(frozen=True)
class Graph:
    """The operations behind a loss, the nearest to it first; none where it wasn't read."""

    operations: tuple[Operation, ...]

    @cached_property
    def head(self) -> list[int]:
        """What stands between the last weights and the loss, from the loss down."""
        found, seen = [0] if self.operations else [], {0}
        for i in found:  # grows meanwhile
            if not _is_weights(self.operations[i]):
                new = dict.fromkeys(j for j in self.operations[i].below if j not in seen)
                seen.update(new)
                found += new
        return [i for i in found if not _is_weights(self.operations[i])]

    @property
    def body(self) -> list[int]:
        """Everything under the head, the last weights first."""
        head = set(self.head)
        return [i for i in range(len(self.operations)) if i not in head]

    def named(self, *names: str) -> list[int]:
        """The operations of the head that have one of these names."""
        return [i for i in self.head if self.operations[i].name in names]

    def is_linear(self, i: int) -> bool:
        """Whether an operation is linear in the one computed thing that it takes, or sums several."""
        name, below = self.operations[i].name, self.operations[i].below
        return name in LINEAR or (name in SCALES and len(below) < 2)

    def under(self, i: int) -> tuple[Operation, int, bool]:
        """What an operation is told, past all that only moves or scales it; whether something scales it."""
        scaled = False
        while len(self.operations[i].below) == 1:
            i = self.operations[i].below[0]
            operation = self.operations[i]
            alone = len(operation.below) == 1 and not _is_weights(operation)
            if not (alone and operation.name in MOVES | SCALES):
                break
            scaled |= operation.name in SCALES
        return self.operations[i], i, scaled

    def shared(self, i: int) -> tuple[int, int] | None:
        """What is divided by its own sum here, and over how many that runs; None if nothing is."""
        if self.operations[i].name == "Div" and len(self.operations[i].below) == 2:
            parts, total = self.operations[i].below
            if self.operations[total].name == "Sum" and self.operations[total].below == (parts,):
                return parts, self.operations[total].size
        return None


def _is_weights(operation: Operation) -> bool:
    return operation.owns or operation.name in MATMULS


@dataclass
class Reading:
    """What one look at a loss gave: its value, its graph, and statistics by (operation, name), all on the device."""

    loss: Tensor
    graph: Graph | None = None
    statistics: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    unregistered: list[nn.Parameter] = field(default_factory=list)  # in the graph, and not the model's
    reaches: bool = True  # whether any of the model's parameters is in the graph


def read(loss: Tensor, own: Container[int], output: Tensor | None, whole: bool) -> Reading:
    """Look at a loss before its backward pass; `own` are the ids of the model's parameters, `output` its output.

    `whole`: down to the data, with all statistics; else the head only, and only what can turn into nan or inf, and
    what a regression compares.
    """
    reading = Reading(loss.detach())
    if loss.grad_fn is None:
        reading.reaches = False
        return reading
    nodes, found, leaves = _walk([loss.grad_fn], whole)
    # what a checkpoint has saved is computed again when it is asked for, which only a loss is worth
    operations = [one._replace(**_facts(one.name, node)) for one, node in zip(found, nodes, strict=True)]
    reading.graph = graph = Graph(tuple(operations))
    reading.reaches = any(i in own for i in leaves)
    reading.unregistered = [p for i, p in leaves.items() if isinstance(p, nn.Parameter) and i not in own]
    head = set(graph.head)
    for i in range(len(operations)) if whole else graph.head:
        name = operations[i].name
        look = SINGULAR.get(name) or (STATISTICS.get(name) if whole or name in REGRESSIONS else None)
        if look is None or (i not in head and name not in ANYWHERE):
            continue
        with suppress(*UNREADABLE):
            seen = look(nodes[i], output) if name in ("Pow", "Abs") else look(nodes[i])
            reading.statistics |= {(i, what): value.detach() for what, value in seen.items()}
    for i in graph.head if whole else ():
        with suppress(*UNREADABLE):
            reading.statistics |= {(i, what): value.detach() for what, value in _fit(graph, i, nodes).items()}
    return reading


def made_of(outputs: Any) -> tuple[dict[str, int], int]:
    """What the graph behind a model's outputs is made of: {operation: how often}, and its joins.

    A join is a sum or a concatenation of two computed branches: a skip connection has one. The names are autograd's,
    without "Backward0": "Sigmoid", "Relu", "Addmm", "NativeBatchNorm"; and "Selu".
    """
    _, found, _ = _walk([y.grad_fn for y in tensors_of(outputs) if y.grad_fn is not None], whole=True)
    joins = sum(operation.name in ("Add", "Cat") and len(operation.below) > 1 for operation in found)
    return dict(Counter(operation.name for operation in found)), joins


def _walk(roots: Sequence[Any], whole: bool) -> tuple[list[Any], list[Operation], dict[int, Tensor]]:
    """Nodes and what they do, from the roots down, and by their ids the leaves; if not `whole`, to the last weights."""
    nodes = list(dict.fromkeys(roots))
    place = {node: i for i, node in enumerate(nodes)}
    operations: list[Operation] = []
    leaves: dict[int, Tensor] = {}
    for node in nodes:  # grows meanwhile
        name, owns, below, children = _name(node), False, [], []
        for child, _ in node.next_functions:
            leaf = None if child is None else _leaf(child)
            if leaf is not None:
                owns |= isinstance(leaf, nn.Parameter)
                leaves[id(leaf)] = leaf
            elif child is not None:
                children.append(child)
        for child in children if whole or not (owns or name in MATMULS) else ():
            if child not in place and len(nodes) < LIMIT:
                place[child] = len(nodes)
                nodes.append(child)
            if child in place:
                below.append(place[child])
        operations.append(Operation(name, tuple(below), owns))
    return nodes, operations, leaves


def _name(node: Any) -> str:
    name: str = node.name()
    name = name.rpartition("Backward")[0] or name
    return "Selu" if name == "Elu" and node._saved_scale != 1 else name  # for autograd a SELU is a scaled ELU


def _leaf(node: Any) -> Tensor | None:
    """The leaf that a node adds gradients to, through what only turns or casts it."""
    for _ in range(3):
        if (variable := getattr(node, "variable", None)) is not None:
            return variable if isinstance(variable, Tensor) else None
        if len(node.next_functions) != 1 or _name(node) not in ("T", "Transpose", "Permute", "ToCopy", "View"):
            return None
        node = node.next_functions[0][0]
        if node is None:
            return None
    return None


def _facts(name: str, node: Any) -> dict[str, Any]:
    """What an `Operation` says of itself beside its name and its place."""
    with suppress(*UNREADABLE):
        if name in ("Softmax", "LogSoftmax"):
            shape = node._saved_result.shape
            dim, square = _signed(node._saved_dim) % len(shape), len(shape) == 2 and shape[0] == shape[1]
            return {"dim": dim, "size": shape[dim], "rank": len(shape), "square": square}
        if name == "Sum" and len(node._saved_dim) == 1:
            shape = node._saved_self_sym_sizes
            dim = _signed(*node._saved_dim) % len(shape)
            return {"dim": dim, "size": int(shape[dim]), "rank": len(shape)}
        if name in LOSSES:
            return {"mean": node._saved_reduction == 1}
        if name == "NativeDropout":
            return {"probability": float(node._saved_p)}
    return {}


# --- statistics: of what an operation saved for its derivative -----------------------------------------------------


def _log_softmax(node: Any) -> dict[str, Tensor]:
    result, dim = node._saved_result[:ROWS], _signed(node._saved_dim)
    return {"span": (result.amax(dim) - result.amin(dim)).float().mean()}


def _softmax(node: Any) -> dict[str, Tensor]:
    result = node._saved_result
    rows = result.movedim(_signed(node._saved_dim), -1).flatten(0, -2) if result.dim() > 1 else result[None]
    return {"peak": rows[:ROWS].amax(-1).float().mean()}


def _attention(node: Any) -> dict[str, Tensor]:
    """The largest weight of attention that is fused: from a few queries, with all keys."""
    query, key = node._saved_query[:2, :, :8].float(), node._saved_key[:2].float()
    scale = node._saved_scale or query.shape[-1] ** -0.5
    if query.shape[1] != key.shape[1]:
        return {}
    weights = torch.softmax(scale * query @ key.transpose(-1, -2), -1)
    return {"peak": weights.amax(-1).mean(), "keys": torch.tensor(float(key.shape[-2]))}


def _nll(node: Any) -> dict[str, Tensor]:
    scores, target = node._saved_self, node._saved_target
    if scores.dim() > 2:
        scores, target = scores.movedim(1, -1).flatten(0, -2), target.flatten()
    scores, target = scores[:ROWS].float(), target[:ROWS]
    found = {"total": scores.logsumexp(-1).abs().mean()}
    classes = scores.shape[-1]
    if classes <= CLASSES and target.dim() == 1:
        there = ((target >= 0) & (target < classes)).float()
        counts = torch.zeros(classes, device=target.device)
        found["classes"] = counts.scatter_add_(0, target.clamp(0, classes - 1), there)
    return found


def _bce(node: Any) -> dict[str, Tensor]:
    target = node._saved_target.float()
    outside = ((target < -1e-3) | (target > 1 + 1e-3)).float().mean()
    return {"target": target.mean(), "outside": outside}


def _difference(node: Any, output: Tensor | None) -> dict[str, Tensor]:
    """Of a squared or absolute difference that was written by hand: the target is the output less the difference."""
    if _name(node) == "Pow" and (exponent := node._saved_exponent) != 2:
        return _least("_saved_self")(node) if not isinstance(exponent, Tensor) and exponent < 1 else {}
    residual = node._saved_self
    (sub, _), *_ = node.next_functions
    if output is None or _name(sub) != "Sub" or output.shape != residual.shape:
        return {}
    branches = [child is not None for child, _ in sub.next_functions]
    if branches == [True, True]:
        return {}
    return _compared(output, output - residual if branches[0] else output + residual)


def _compared(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    output, target = output.float(), target.float()
    return {
        "output": output.square().mean().sqrt(),
        "rms": target.square().mean().sqrt(),
        "variance": target.var(correction=0),
        "average": target.mean(),
    }


def _least(attribute: str) -> Callable[[Any], dict[str, Tensor]]:
    return lambda node: {"least": getattr(node, attribute).abs().amin().float()}


def _divisor(node: Any) -> dict[str, Tensor]:
    other = node._saved_other
    return {"least": other.abs().amin().float()} if isinstance(other, Tensor) else {}


def _dropped(node: Any) -> dict[str, Tensor]:
    """A dropout called as a function multiplies by 0 or by 1 / (1 - p)."""
    other = node._saved_other
    if not isinstance(other, Tensor) or other.dim() < 2 or len([c for c, _ in node.next_functions if c]) != 1:
        return {}
    return {"zeros": (other == 0).float().mean(), "largest": other.amax().float(), "smallest": other.amin().float()}


def _signed(dim: int) -> int:
    """A dimension as it was given: autograd keeps it without its sign."""
    return dim - (1 << 64) if dim >= 1 << 63 else dim


def _fit(graph: Graph, i: int, nodes: Sequence[Any]) -> dict[str, Tensor]:
    """Whether an activation right before a regression's loss can say what is asked of it, and of a cross-entropy that
    is written as a product whether its targets are shares of one."""
    if graph.operations[i].name == "Mul":
        return _shares(graph, i, nodes)
    if graph.operations[i].name not in RESIDUALS:
        return {}
    last, j, scaled = graph.under(i)
    if last.name not in RANGES or scaled:
        return {}
    if graph.operations[i].name in ("Pow", "Abs"):
        residual = nodes[i]._saved_self
        said = nodes[j]._saved_result.view_as(residual)
        first = nodes[i].next_functions[0][0].next_functions[0][0] is not None
        target = said - residual if first else said + residual
    else:
        said, target = nodes[i]._saved_self, nodes[i]._saved_target
    low, high = RANGES[last.name]
    margin = 0.01 * (high - low) if high < float("inf") else 1e-3
    found = {"outside": ((target < low - margin) | (target > high + margin)).float().mean()}
    if last.name in ("Sigmoid", "Tanh"):
        wrong = (said - target).abs() > 0.5 * (high - low)
        flat = SATURATION[getattr(nn, last.name)](said)
        found |= {"wrong": wrong.float().mean(), "wrong and flat": (wrong & flat).float().mean()}
    return found


def _shares(graph: Graph, i: int, nodes: Sequence[Any]) -> dict[str, Tensor]:
    """Of targets that the logarithms of a distribution are multiplied by: by class, and how many rows aren't shares."""
    if len(graph.operations[i].below) != 1:
        return {}
    log = graph.operations[j := graph.operations[i].below[0]]
    below, k, scaled = graph.under(j)
    if log.name == "LogSoftmax":
        like, dim = nodes[j]._saved_result, log.dim
    elif log.name == "Log" and not scaled and (below.name == "Softmax" or graph.shared(k) is not None):
        like, dim = nodes[j]._saved_self, (below if below.name == "Softmax" else graph.operations[below.below[1]]).dim
    else:
        return {}
    if like.dim() < 2:
        return {}
    constant = nodes[i].next_functions[0][0] is None
    target = (nodes[i]._saved_self if constant else nodes[i]._saved_other).expand_as(like)
    rows = target.movedim(dim, -1).flatten(0, -2)[:ROWS].float()
    several, total = (rows != 0).sum(-1) > 1, rows.sum(-1)  # a row of one value may be weighted, one of zeros left out
    found = {"not shares": (several & ((total - 1).abs() > 0.05)).float().mean(), "total of targets": total.mean()}
    return found | ({"classes": rows.sum(0)} if rows.shape[-1] <= CLASSES else {})


def _flat(node: Any) -> dict[str, Tensor]:
    y = node._saved_result
    return {"flat": SATURATION[nn.Sigmoid](y).float().mean(), "average": y.float().mean()}


SINGULAR: dict[str, Callable[..., dict[str, Tensor]]] = {  # whose value or slope is infinite at one point
    **dict.fromkeys(("Log", "Log2", "Log10"), _least("_saved_self")),
    "Log1P": lambda node: {"least": (1 + node._saved_self).abs().amin().float()},
    **dict.fromkeys(("Sqrt", "Std"), _least("_saved_result")),
    **dict.fromkeys(("Rsqrt", "Reciprocal"), lambda node: {"least": 1 / node._saved_result.abs().amax().float()}),
    "Div": _divisor,
    **dict.fromkeys(("Acos", "Asin", "Atanh"), lambda node: {"least": (1 - node._saved_self.abs()).amin().float()}),
    "Pow": _difference,
}
LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {
    **dict.fromkeys(NLL, _nll),
    **dict.fromkeys(BINARY, _bce),
    **dict.fromkeys(REGRESSIONS, lambda node: _compared(node._saved_self, node._saved_target)),
}
FUSED = (
    *("ScaledDotProductFlashAttentionForCpu", "ScaledDotProductFlashAttention"),
    *("ScaledDotProductEfficientAttention", "ScaledDotProductCudnnAttention"),
)
STATISTICS: dict[str, Callable[..., dict[str, Tensor]]] = {
    **LOSSES,
    "Abs": _difference,
    "LogSoftmax": _log_softmax,
    "Softmax": _softmax,
    "Sigmoid": _flat,
    "Mul": _dropped,
    **dict.fromkeys(FUSED, _attention),
}
ANYWHERE = {*SINGULAR, *FUSED, "Softmax", "Mul"}  # also under the head
