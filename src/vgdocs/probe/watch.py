"""A probe for any `nn.Module`: what flows through each layer while it trains.

Nothing is read back from the device while the model trains: each step leaves one small vector there, and all of them
are fetched when the record is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vgdocs.probe.layers import (
    RELUS,
    aliased,
    alive,
    find_layers,
    has_units_second,
    operations,
    saturated,
    tensors_of,
    wide,
)
from vgdocs.probe.record import GradientRecord, Key, Step

IMMEDIATE = {"cpu"}  # devices whose results can be looked at without waiting for them; there float32 is twice as fast


class Probe:
    """Records, layer by layer, the gradients and signals of a model while it trains.

        with Probe(model, optimizer) as probe:
            for x, y in batches:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
        print(probe.record)

    The norms of the gradients are recorded at every step, everything else at each `every`-th, beginning with the first.
    A step ends with `optimizer.step()` if an optimizer is given, so that gradients accumulated over several backward
    passes are one step; else it ends with the next forward pass or with the block. Passes without gradients, such as
    a validation, are not recorded.

    Norms are Frobenius norms. For parameters they are those of what is in `.grad` after the step's last backward pass,
    before anything clips it; for outputs, those of the gradients of all calls and all backward passes of the step,
    taken together as one long vector. They don't underflow where the gradient hasn't. With `scaler`, the GradScaler in
    use, they are those of the unscaled loss. A layer is a module that owns parameters, or an activation module; a
    recurrent layer and `nn.MultiheadAttention` are one layer each.

    On leaving the block, also by an exception, every hook is removed. No value that the model computes is changed.

    Raises TypeError for what isn't a module, optimizer or scaler, and ValueError for a model without parameters,
    for one whose lazy layers haven't seen a batch, or for `every` below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scaler: torch.amp.GradScaler | None = None,
        every: int = 1,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"a probe needs an nn.Module, not a {type(model).__name__}")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is a {type(optimizer).__name__}, not a torch.optim.Optimizer")
        if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
            raise TypeError(f"scaler is a {type(scaler).__name__}, not a torch.amp.GradScaler")
        if every < 1:
            raise ValueError(f"every is at least 1, not {every}")
        self._parameters = list(model.parameters())
        if not self._parameters:
            raise ValueError(
                "the model has no parameters, so there is no gradient with respect to its weights to record"
            )
        if any(nn.parameter.is_lazy(parameter) for parameter in self._parameters):
            raise ValueError("the model has lazy layers without a shape: run one batch through it first")
        self._model, self._optimizer, self._scaler, self._every = model, optimizer, scaler, every
        found = find_layers(model)
        self._layers, self._modules = [layer for layer, _ in found], [module for _, module in found]
        self._undo: list[Callable[[], None]] = []
        self._step: Step | None = None
        self._closed: list[Step] = []
        self._record: GradientRecord | None = None
        self._graph: tuple[dict[str, int], int] | None = None
        self._before: list[Tensor] = []  # room for a copy of the weights, used again at each full step
        self._units_second = False  # where the last layer with weights has its units, for the activation after it

    def __enter__(self) -> Probe:
        if self._undo:
            raise RuntimeError("this probe is already attached to its model")
        try:
            self._attach()
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._close()
        finally:
            self._step = None
            self._before = []
            self._detach()

    @property
    def record(self) -> GradientRecord:
        """What has been recorded so far; a step that hasn't ended isn't in it."""
        if self._record is None or self._record.size != len(self._closed):
            self._record = GradientRecord(self._layers, self._closed, *(self._graph or ({}, 0)), self._optimizer)
        return self._record

    def _attach(self) -> None:
        def keep(handle: Any) -> None:
            self._undo.append(handle.remove)

        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad:
                keep(parameter.register_post_accumulate_grad_hook(partial(self._weight_gradient, i)))
        for i, module in enumerate(self._modules):
            if isinstance(module, nn.RNNBase):
                keep(module.register_forward_pre_hook(partial(self._open_input, i), with_kwargs=True))
            keep(module.register_forward_hook(partial(self._forward, i)))
        keep(self._model.register_forward_hook(self._read_graph))
        if self._optimizer is not None:
            keep(self._optimizer.register_step_pre_hook(lambda *_: self._save_weights()))
            keep(self._optimizer.register_step_post_hook(lambda *_: self._close()))
            if self._scaler is not None:
                self._watch_skipped_steps(self._scaler)

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _watch_skipped_steps(self, scaler: torch.amp.GradScaler) -> None:
        """A scaler that finds an overflow doesn't call the optimizer: the step ends all the same."""
        step = scaler.step

        def stepping(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            result = step(optimizer, *args, **kwargs)
            if optimizer is self._optimizer and self._step is not None:
                self._close(skipped=True)
            return result

        scaler.step = stepping  # type: ignore[method-assign]
        self._undo.append(partial(scaler.__dict__.pop, "step", None))

    def _begin(self) -> Step:
        """The step that a forward pass belongs to."""
        if self._step and self._step.tasks and self._optimizer is None and not _in_backward():
            self._close()
        if self._step is None:
            number = len(self._closed)
            self._step = Step(number, full=number % self._every == 0)
            if self._optimizer is None:
                self._save_weights()
        return self._step

    def _close(self, skipped: bool = False) -> None:
        step, self._step = self._step, None
        if step is None or not step.tasks:
            return  # no backward pass reached a parameter: nothing to tell
        step.skipped = skipped
        if step.full:
            self._measure_update(step)
        step.pack()
        self._closed.append(step)

    @torch.no_grad()
    def _save_weights(self) -> None:
        if self._step is None or not self._step.full:
            return
        if not self._before:
            self._before = [torch.empty_like(parameter) for parameter in self._parameters]
        for copy, parameter in zip(self._before, self._parameters, strict=True):
            copy.copy_(parameter)
        self._step.facts["saved",] = 1

    @torch.no_grad()
    def _measure_update(self, step: Step) -> None:
        saved = ("saved",) in step.facts
        for i, parameter in enumerate(self._parameters):
            step.tensors["weight", i] = _norm(self._before[i] if saved else parameter)
            if saved:
                step.tensors["update", i] = _norm(self._before[i].sub_(parameter))

    def _weight_gradient(self, i: int, parameter: Tensor) -> None:
        task, gradient = _task(), parameter.grad
        if self._step and not self._step.calls and self._optimizer is None and task not in self._step.tasks:
            self._close()  # a compiled model, in which no forward hook ends a step
        if gradient is None:
            return
        step = self._begin()
        step.tasks.add(task)
        self._keep_scale(step, task, parameter.device)
        values = gradient.detach()
        step.tensors["weight_gradient", i] = _norm(values.coalesce().values() if values.is_sparse else values)
        step.facts["weight_gradient", i] = task

    def _keep_scale(self, step: Step, task: int, device: torch.device) -> None:
        if self._scaler is not None and ("scale", task) not in step.tensors:
            step.tensors["scale", task] = self._scaler.scale(torch.ones((), device=device))

    def _forward(self, i: int, module: nn.Module, args: Any, output: Any) -> Any:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None
        recurrent = self._layers[i].family == "recurrent"
        if recurrent:
            output = aliased(output)
        step, outputs = self._begin(), list(tensors_of(output))
        call = step.calls.get(i, 0)
        if not _in_backward():  # else it is checkpointing, which runs the layer a second time
            step.calls[i] = call + 1
            if outputs and step.full:
                self._signal(step, i, module, call, outputs[0].detach())
        if self._layers[i].family != "activation" or step.full:
            for part, y in enumerate(outputs):
                if y.requires_grad:
                    y.register_hook(partial(self._activation_gradient, step, i, call, part))
        return output if recurrent else None

    def _signal(self, step: Step, i: int, module: nn.Module, call: int, y: Tensor) -> None:
        """The statistics of one output."""
        second = has_units_second(module, y)
        if second is None:
            second = self._units_second
        else:
            self._units_second = second
        step.tensors["signal", i, call] = _norm(y)
        step.facts["signal", i, call] = y.numel()
        step.facts["second", i] = second
        if (flat := saturated(module, y)) is not None:
            step.tensors["saturated", i, call] = flat.sum()
        if isinstance(module, RELUS):
            _remember_alive(step, ("alive", i), alive(y, second))

    def _activation_gradient(self, step: Step, i: int, call: int, part: int, gradient: Tensor) -> None:
        if step is not self._step:
            return  # a backward pass through a step that has ended
        g, task = gradient.detach(), _task()
        self._keep_scale(step, task, g.device)
        step.tensors["activation_gradient", i, task, call, part] = _norm(g)
        if not step.full or part:
            return
        step.facts["zeros", i, task, call] = g.numel()
        step.tensors["zeros", i, task, call] = g.numel() - g.count_nonzero()
        module = self._modules[i]
        if not isinstance(module, RELUS):
            _remember_alive(step, ("alive", i), alive(g, bool(step.facts.get(("second", i)))))
        if isinstance(module, nn.RNNBase) and ("packed", i) not in step.facts:
            step.tensors["direct", i, task] = _by_time(g, _time_dimension(module, g))

    def _open_input(self, i: int, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Give a recurrent layer an alias of its input, whose gradient by time step can be read.

        The alias shares the input's memory. Other uses of the input don't flow through it.
        """
        if torch.compiler.is_compiling() or not torch.is_grad_enabled() or _in_backward():
            return None
        step = self._begin()
        if not step.full:
            return None
        given = args[0] if args else kwargs.get("input")
        sequence = given.data if isinstance(given, PackedSequence) else given
        if not isinstance(sequence, Tensor) or not sequence.is_floating_point():
            return None
        alias = sequence.view_as(sequence) if sequence.requires_grad else sequence.detach().requires_grad_()
        sizes = None
        if isinstance(given, PackedSequence):
            sizes = given.batch_sizes.tolist()
            step.facts["packed", i] = 1
        dimension = 0 if sizes else _time_dimension(module, alias)
        alias.register_hook(partial(self._input_gradient, step, i, sizes, dimension))
        opened = given._replace(data=alias) if isinstance(given, PackedSequence) else alias
        return ((opened, *args[1:]), kwargs) if args else (args, kwargs | {"input": opened})

    def _input_gradient(self, step: Step, i: int, sizes: list[int] | None, dimension: int, gradient: Tensor) -> None:
        if step is not self._step:
            return
        g = gradient.detach()
        # packed: the first steps of all sequences, then their second steps, and so on
        norms = _by_time(g, dimension) if sizes is None else torch.stack([_norm(part) for part in g.split(sizes)])
        step.tensors["time", i, _task()] = norms

    def _read_graph(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._graph is None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._graph = operations(output)


def _norm(values: Tensor) -> Tensor:
    """The Frobenius norm, without underflow or overflow: float32's own is right where it is neither small nor large."""
    if values.dtype is torch.float32 and values.device.type in IMMEDIATE:
        quick: Tensor = torch.linalg.vector_norm(values)
        if 1e-12 < quick < 1e12:
            return quick
    norm: Tensor = torch.linalg.vector_norm(values, dtype=None if values.is_complex() else wide(values.device))
    return norm


def _by_time(values: Tensor, dimension: int) -> Tensor:
    others = [d for d in range(values.dim()) if d != dimension]
    norms: Tensor = torch.linalg.vector_norm(values, dim=others, dtype=wide(values.device))
    return norms


def _time_dimension(module: nn.RNNBase, values: Tensor) -> int:
    return 1 if module.batch_first and values.dim() == 3 else 0


def _remember_alive(step: Step, key: Key, now: Tensor) -> None:
    """A unit is alive in a step if it is in any call."""
    before = step.tensors.get(key)
    step.tensors[key] = now if before is None or before.shape != now.shape else before | now


def _task() -> int:
    """The number of the backward pass that is running, -1 if none is."""
    return int(torch._C._current_graph_task_id())


def _in_backward() -> bool:
    return _task() != -1
