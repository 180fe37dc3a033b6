"""A probe for any `nn.Module`: what flows through each layer while it trains.

Nothing is read back from the device while the model trains: each step leaves one small vector there, and all of them
are fetched when the record is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vgdocs.probe.graph import LISTENER, Graph, Reading, read
from vgdocs.probe.layers import (
    CONVOLUTIONS,
    RELUS,
    aliased,
    alive,
    find_layers,
    has_units_second,
    is_there,
    keeping_gate,
    local,
    looks_drawn,
    operations,
    saturated,
    tensors_of,
    wide,
)
from vgdocs.probe.record import STEPS, GradientRecord, Key, Step, thinned

IMMEDIATE = {"cpu"}  # devices whose results can be looked at without waiting for them; there float32 is twice as fast
SETTINGS = ("lr", "weight_decay", "momentum", "eps")
GRAPHS, STRANGERS, FAILURES = 16, 64, 20  # the most that are kept of each


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

    The loss is what `backward()` is called on while the probe is attached, and the graph behind it is looked at first.

    On leaving the block, also by an exception, every hook is removed. No value that the model computes is changed. An
    error inside the probe becomes a warning and a gap in the record. Of a long run the first steps, the last ones and
    those in which the loss changed most are kept, and fewer of the others: never more than `STEPS`.

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
        self._count = 0  # steps that have ended
        self._closed: list[Step] = []
        self._record: GradientRecord | None = None
        self._graph: tuple[dict[str, int], int] | None = None
        self._ids = {id(parameter) for parameter in self._parameters}
        self._held: set[int] = set()  # parameters that the optimizer has been seen to hold
        self._drawn: dict[int, Tensor] = {}
        self._graphs: dict[Graph, Graph] = {}  # one object for each graph that was read, however often
        self._strangers: list[nn.Parameter] = []
        self._singular = False
        self._output: Tensor | None = None  # of the model, while a backward pass may come
        self._reading: Reading | None = None
        self._told = False  # whether the user tells the loss
        self._ended: Step | None = None  # the last full step, for what is known at the next backward pass only
        self._failed: set[str] = set()
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
            self._step = self._ended = self._output = self._reading = None
            self._before, self._strangers = [], []
            self._detach()

    @property
    def record(self) -> GradientRecord:
        """What has been recorded so far; a step that hasn't ended isn't in it."""
        if self._record is None or self._record.size != self._count:
            self._record = GradientRecord(
                self._layers,
                self._closed,
                *(self._graph or ({}, 0)),
                self._optimizer,
                size=self._count,
                held=frozenset(self._held) if self._optimizer is not None else None,
                drawn={self._layers[i].name: float(ratio) for i, ratio in self._drawn.items()},
                gaps=sorted(self._failed),
            )
        return self._record

    def loss(self, loss: Tensor) -> None:
        """Tell the probe the loss of a step, where `loss.backward()` isn't what is called; before the backward pass."""
        self._told = True
        self._guard(self._look, [loss])

    def _attach(self) -> None:
        def keep(handle: Any) -> None:
            self._undo.append(handle.remove)

        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad:
                keep(parameter.register_post_accumulate_grad_hook(_Hook(self, self._weight_gradient, i)))
        for i, module in enumerate(self._modules):
            if isinstance(module, nn.RNNBase):
                keep(module.register_forward_pre_hook(_Hook(self, self._open_input, i), with_kwargs=True))
            keep(module.register_forward_hook(_Hook(self, self._forward, i)))
        keep(self._model.register_forward_hook(_Hook(self, self._read_graph)))
        if self._optimizer is not None:
            keep(self._optimizer.register_step_pre_hook(_Hook(self, lambda *_: self._before_update())))
            keep(self._optimizer.register_step_post_hook(_Hook(self, lambda *_: self._close())))
            if self._scaler is not None:
                self._watch_skipped_steps(self._scaler)
        self._undo.append(
            LISTENER.add(partial(self._guard, self._backward_begins), partial(self._guard, self._look_ends))
        )
        self._guard(self._look_at_what_stays)

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _guard(self, method: Callable[..., Any], *args: Any) -> Any:
        """An error of the probe's own is a gap in the record, not the end of the training."""
        try:
            return method(*args)
        except Exception as error:
            what = f"{method.__name__.strip('_<>')}: {type(error).__name__}: {error}"
            if what not in self._failed and len(self._failed) < FAILURES:
                self._failed.add(what)
                with suppress(RuntimeWarning):  # where warnings are errors
                    warnings.warn(f"the probe left a gap in its record ({what})", RuntimeWarning, stacklevel=2)
            return None

    @torch.no_grad()
    def _look_at_what_stays(self) -> None:
        """Whether weights that are frozen, or that the optimizer doesn't hold, are more than random numbers."""
        self._note_held()
        for i, layer in enumerate(self._layers):
            ratios = [
                looks_drawn(local(self._parameters[p]))
                for p in layer.parameters
                if self._parameters[p].dim() > 1
                and not (self._parameters[p].requires_grad and (self._optimizer is None or p in self._held))
            ]
            if ratios and layer.family in ("weights", "recurrent"):
                self._drawn[i] = torch.stack(ratios).amax()

    def _note_held(self) -> None:
        if self._optimizer is not None:
            held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
            self._held |= {i for i, parameter in enumerate(self._parameters) if id(parameter) in held}

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
            self._step = Step(self._count, full=self._count % self._every == 0)
            if self._optimizer is None:
                self._save_weights()
        return self._step

    def _close(self, skipped: bool = False) -> None:
        step, self._step = self._step, None
        self._output = self._reading = None
        if step is None or not (step.tasks or (step.cut_off and self._optimizer is not None)):
            return  # no backward pass reached a parameter: nothing to tell
        step.skipped = skipped
        if step.full:
            self._measure_update(step)
        self._ended = step if step.full and self._optimizer is not None else None
        step.pack()
        self._closed.append(step)
        self._count += 1
        if len(self._closed) > STEPS:
            self._closed = thinned(self._closed)

    @torch.no_grad()
    def _save_weights(self) -> None:
        if self._step is None or not self._step.full:
            return
        if not self._before:
            self._before = [torch.empty_like(local(parameter)) for parameter in self._parameters]
        for copy, parameter in zip(self._before, self._parameters, strict=True):
            copy.copy_(local(parameter))
        self._step.facts["saved",] = 1

    @torch.no_grad()
    def _before_update(self) -> None:
        """What the optimizer is about to do, with which gradients."""
        step, optimizer = self._step, self._optimizer
        if step is None or optimizer is None:
            return
        for i, parameter in enumerate(self._parameters):  # of engines that add gradients by their own means
            if parameter.grad is not None and not step.tasks and parameter.requires_grad:
                step.tensors["weight_gradient", i] = _norm(parameter.grad)
                step.facts["weight_gradient", i] = max(step.seen, default=0)
        step.tasks |= step.seen if any(key[0] == "weight_gradient" for key in step.facts) else set()
        for name in SETTINGS:
            values = [group[name] for group in optimizer.param_groups if isinstance(group.get(name), (int, float))]
            if values:
                step.facts["setting", name] = max(values)
        if any("betas" in group for group in optimizer.param_groups):
            step.facts["setting", "beta1"] = float(optimizer.param_groups[0]["betas"][0])
        if not step.full:
            return
        self._note_held()
        self._save_weights()
        reached = [key[1] for key in step.facts if key[0] == "weight_gradient"]
        left = [self._parameters[i].grad for i in reached]
        norms = [_norm(gradient) for gradient in left if gradient is not None]
        if norms:
            step.tensors["handed", 0] = torch.stack([norm.double() for norm in norms]).norm()
        else:
            step.facts["cleared",] = 1

    @torch.no_grad()
    def _measure_update(self, step: Step) -> None:
        saved = ("saved",) in step.facts
        matrices = {layer.weight for layer in self._layers if layer.fan_out > 1}
        for i, parameter in enumerate(self._parameters):
            before = self._before[i] if saved else local(parameter)
            step.tensors["weight", i] = _norm(before)
            if i in matrices and len(before) > 1:  # the first row against the second, the middle one and the last
                step.tensors["rows", i] = _norm(before[[1, len(before) // 2, -1]] - before[0])
            if saved:
                step.tensors["update", i] = _norm(before.sub_(local(parameter)))
        for i, module in enumerate(self._modules):
            if isinstance(module, nn.LSTM | nn.GRU) and module.bias:
                step.tensors["gate", i] = keeping_gate(module)
        for k, stranger in enumerate(self._strangers):
            if is_there(stranger):
                step.tensors["stranger", k] = _norm(stranger)

    def _weight_gradient(self, i: int, parameter: Tensor) -> None:
        task, gradient = _task(), parameter.grad
        if self._step and not self._step.calls and self._optimizer is None and task not in self._step.tasks:
            self._close()  # a compiled model, in which no forward hook ends a step
        if gradient is None:
            return
        step = self._begin()
        step.tasks.add(task)
        self._keep_scale(step, task, parameter.device)
        values = local(gradient.detach())
        step.tensors["weight_gradient", i] = _norm(values)
        step.facts["weight_gradient", i] = task

    def _keep_scale(self, step: Step, task: int, device: torch.device) -> None:
        if self._scaler is not None and ("scale", task) not in step.tensors:
            step.tensors["scale", task] = self._scaler.scale(torch.ones((), device=device))

    # --- the loss ------------------------------------------------------------------------------------------------

    def _backward_begins(self, losses: Sequence[Tensor]) -> None:
        if _in_backward() or not losses:
            return
        if self._ended is not None:
            self._look_at_old_gradients(self._ended)
            self._ended = None
        if not self._told:
            self._look(losses)

    @torch.no_grad()
    def _look_at_old_gradients(self, ended: Step) -> None:
        """What the gradients of the last step left, on which the next ones will be added."""
        held = [self._parameters[i] for i in sorted(self._held)]
        left = [parameter.grad for parameter in held if parameter.grad is not None]
        if left and not any(gradient.is_sparse for gradient in left):
            norms = [_norm(gradient).double() for gradient in left]
            ended.later("left", torch.stack(norms).norm())

    def _look(self, losses: Sequence[Tensor]) -> None:
        loss, step = losses[0], self._step
        if loss.numel() != 1:
            return
        full = step.full if step is not None else self._count % self._every == 0
        if full or self._singular:
            self._step, busy = None, step  # what a checkpoint runs again meanwhile is no forward pass of the user's
            try:
                self._reading = read(loss, self._ids, self._output, whole=full)
            finally:
                self._step = busy
        else:
            self._reading = Reading(loss.detach())
        if step is not None and full and not self._reading.reaches:
            step.cut_off = True
        if self._told:
            self._look_ends()

    def _look_ends(self) -> None:
        """The backward pass is over: its loss is the step's if it reached a parameter."""
        reading, self._reading, step = self._reading, None, self._step
        if reading is None or step is None or not (step.tasks or step.seen or step.cut_off or self._told):
            return
        scale = next((tensor for key, tensor in step.tensors.items() if key[0] == "scale"), None)
        value = reading.loss.float() if scale is None or self._told else reading.loss.float() / scale.view(())
        before = step.tensors.get(("loss", 0))
        step.tensors["loss", 0] = value.view(()) if before is None else before + value.view(()).to(before.device)
        if reading.graph is None:
            return
        if step.full:
            graph = self._graphs.get(reading.graph)
            if graph is None and len(self._graphs) < GRAPHS:
                graph = self._graphs.setdefault(reading.graph, reading.graph)
            if graph is None or (step.graph is not None and len(step.graph.operations) > len(graph.operations)):
                return
            if step.graph not in (None, graph):  # of several losses in a step the largest graph is judged
                step.tensors = {key: tensor for key, tensor in step.tensors.items() if key[0] != "graph"}
            step.graph = graph
            self._singular |= any(what == "least" and i in graph.head for i, what in reading.statistics)
            if not self._strangers and self._optimizer is not None:
                held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
                self._strangers = [p for p in reading.strangers if id(p) not in held][:STRANGERS]
                for k, stranger in enumerate(self._strangers):
                    step.facts["stranger shape", k] = tuple(stranger.shape)
                    if stranger.dim() > 1 and is_there(stranger):
                        step.tensors["stranger drawn", k] = looks_drawn(local(stranger))
        for (i, what), value in reading.statistics.items():
            name = reading.graph.operations[i].name
            step.tensors["graph", i if step.full else name, what] = value

    # --- the layers ----------------------------------------------------------------------------------------------

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
                if call == 0:
                    self._input(step, i, module, next(tensors_of(args), None))
        if self._layers[i].family != "activation" or step.full:
            for part, y in enumerate(outputs):
                if y.requires_grad:
                    y.register_hook(_Hook(self, self._activation_gradient, step, i, call, part))
        return output if recurrent else None

    def _signal(self, step: Step, i: int, module: nn.Module, call: int, y: Tensor) -> None:
        """The statistics of one output."""
        y = local(y)
        second = has_units_second(module, y)
        if second is None:
            second = self._units_second
        else:
            self._units_second = second
        step.tensors["signal", i, call] = _norm(y)
        step.facts["signal", i, call] = y.numel()
        step.facts["second", i] = second
        if y.dtype is torch.float16:
            step.facts["half", i] = 1
        if (flat := saturated(module, y)) is not None:
            step.tensors["saturated", i, call] = flat.sum()
        if isinstance(module, RELUS):
            _remember_alive(step, ("alive", i), alive(y, second))

    @torch.no_grad()
    def _input(self, step: Step, i: int, module: nn.Module, x: Tensor | None) -> None:
        """The scale of data that a layer with weights is fed, and how many values a normalisation has for a mean."""
        if x is None or x.numel() == 0:
            return
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and x.dim() > 1:
            step.facts["values", i] = x.numel() // x.shape[1]
        own = self._layers[i]
        if own.family not in ("weights", "recurrent") or (x.requires_grad and ("data", i) not in step.facts):
            return
        x = local(x.detach())
        if x.dim() > 1 and x.dim() < 4 and not isinstance(module, CONVOLUTIONS):
            columns = x.flatten(0, -2).float()
        elif x.dim() > 2:
            columns = x.movedim(1, -1).flatten(0, -2).float()
        else:
            columns = x.view(-1, 1).float()
        squares = columns.square().mean(0).sqrt()
        there = torch.where(squares > 0, squares, torch.nan).nanmedian()
        step.tensors["input", i] = torch.stack(
            [
                columns.square().mean().sqrt(),
                squares.amax(),
                there,
                (~torch.isfinite(columns)).float().mean(),
                columns.abs().nan_to_num(posinf=0.0).amax(),
            ]
        )

    def _activation_gradient(self, step: Step, i: int, call: int, part: int, gradient: Tensor) -> None:
        if step is not self._step:
            return  # a backward pass through a step that has ended
        g, task = local(gradient.detach()), _task()
        step.seen.add(task)
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
        alias.register_hook(_Hook(self, self._input_gradient, step, i, sizes, dimension))
        if not sequence.requires_grad:
            step.facts["data", i] = 1
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
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return
        if self._graph is None:
            self._graph = operations(output)
        if self._step is not None and self._step.full:
            self._output = next((y.detach() for y in tensors_of(output)), None)


class _Hook:
    """A method of a probe as a hook: it never raises, is silent inside `torch.func`, and is left out of copies."""

    def __init__(self, probe: Probe, method: Callable[..., Any], *args: Any) -> None:
        self.probe, self.method, self.args = probe, method, args

    def __call__(self, *args: Any) -> Any:
        if torch._C._functorch.maybe_current_level() is not None:
            return None  # values are batched, or traced, and mean nothing outside
        return self.probe._guard(self.method, *self.args, *args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return nullcontext().__exit__

    def __reduce__(self) -> Any:
        # copied or saved with its model, a hook becomes a function that takes anything and returns None
        return getattr, (nullcontext(), "__exit__")


def _norm(values: Tensor) -> Tensor:
    """The Frobenius norm, without underflow or overflow: float32's own is right where it is neither small nor large."""
    values = local(values.coalesce().values() if values.is_sparse else values)
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
