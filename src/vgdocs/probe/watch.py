"""A probe for any `nn.Module`: what flows through each layer while it trains.

Nothing is read back from a GPU while the model trains: each step leaves one small vector there, and all of them
are fetched when the record is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vgdocs.probe.diagnosis import diagnose
from vgdocs.probe.finding import SITE
from vgdocs.probe.graph import REGRESSIONS, Graph, Reading, made_of, read
from vgdocs.probe.layers import (
    CONVOLUTIONS,
    RELUS,
    aliased,
    find_layers,
    has_units_second,
    is_there,
    keeping_gate,
    local,
    looks_drawn,
    saturated,
    some_rows,
    tensors_of,
    times_active,
    wide,
)
from vgdocs.probe.listen import BACKWARD, SCALER
from vgdocs.probe.norms import Norms, by_time
from vgdocs.probe.record import STEPS, GradientRecord, Step, scalars, thinned
from vgdocs.probe.report import Watched, write

SETTINGS = ("lr", "weight_decay", "momentum", "eps")
GRAPHS, UNREGISTERED, FAILURES = 16, 64, 20  # the most that are kept of each
FIRST, EVERY = 4, 10  # which steps are looked at in full unless it is said
MOST = 1 << 22  # numbers of a parameter that are copied, to see by how much they change


def is_full(step: int, every: int | None) -> bool:
    """Whether a step is looked at in full: each `every`-th; unless it is said the first four and each tenth.

    Most faults show at once, so that short runs are looked at closely. More of the first steps would outweigh the later
    ones in the medians that a verdict rests on.
    """
    return step % every == 0 if every is not None else step < FIRST or step % EVERY == 0


def held_by(optimizer: torch.optim.Optimizer) -> set[int]:
    """The ids of the parameters that an optimizer steps."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


class Probe:
    """Records, layer by layer, the gradients and signals of a model while it trains.

        with Probe(model, optimizer) as probe:
            for x, y in batches:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
        print(probe.record)

    The loss, the optimizer's settings and the norms of the parameters' gradients are recorded at every step. Everything
    else costs more, and is recorded when a step is looked at in full: each `every`-th, beginning with the first, or,
    by default, the first four and each tenth.

    A step ends with `optimizer.step()` if an optimizer is given, so that gradients accumulated over several backward
    passes are one step; else it ends with the next forward pass or with the block. Passes without gradients, such as
    a validation, are not recorded.

    Norms are Frobenius norms. For parameters they are those of what is in `.grad` after the step's last backward pass,
    before anything clips it; for outputs, those of the gradients of all calls and all backward passes of the step,
    taken together as one long vector. They don't underflow where the gradient hasn't. With `scaler`, the GradScaler in
    use, they are those of the unscaled loss. Of a parameter of more than four million numbers the update is measured
    in evenly spaced rows of about as many, so that no second copy of a large model is made. A layer is a module that
    owns parameters, or an activation module; a recurrent layer and `nn.MultiheadAttention` are one layer each.

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
        every: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"a probe needs an nn.Module, not a {type(model).__name__}")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer is a {type(optimizer).__name__}, not a torch.optim.Optimizer")
        if optimizer is not None and not hasattr(optimizer, "_optimizer_step_pre_hooks"):
            optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's is a shell around the one that steps
        if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
            raise TypeError(f"scaler is a {type(scaler).__name__}, not a torch.amp.GradScaler")
        if every is not None and every < 1:
            raise ValueError(f"every is at least 1, not {every}")
        self._parameters = list(model.parameters())
        if not self._parameters:
            raise ValueError(
                "the model has no parameters, so there is no gradient with respect to its weights to record"
            )
        if any(nn.parameter.is_lazy(parameter) for parameter in self._parameters):
            raise ValueError("the model has lazy layers without a shape: run one batch through it first")
        self._model, self._optimizer, self._scaler = model, optimizer, scaler
        self._is_full = partial(is_full, every=every)
        found = find_layers(model)
        self._layers, self._modules = [layer for layer, _ in found], [module for _, module in found]
        self._undo: list[Callable[[], None]] = []
        self._undo_layers: list[Callable[[], None]] = []  # what stands only in steps that are looked at in full
        self._step: Step | None = None
        self._count = 0  # steps that have ended
        self._closed: list[Step] = []
        self._record: GradientRecord | None = None
        self._graph: tuple[dict[str, int], int] | None = None
        self._places = {id(parameter): i for i, parameter in enumerate(self._parameters)}
        self._hooked: set[int] = set()  # parameters that tell when a gradient reaches them
        self._reached: list[Tensor] = []  # those that have told so since it was last looked at
        self._heard = False  # whether any ever has
        self._passes: set[int] = set()  # backward passes seen in the step before the one that runs
        self._norms = Norms()
        self._held: set[int] = set()  # parameters that the optimizer has been seen to hold
        self._drawn: dict[int, Tensor] = {}
        self._graphs: dict[Graph, Graph] = {}  # one object for each graph that was read, however often
        self._unregistered: list[nn.Parameter] = []
        self._brittle = False  # whether something at the head, or its targets, can turn into nan at any step
        self._output: Tensor | None = None  # of the model, while a backward pass may come
        self._reading: Reading | None = None
        self._told = False  # whether the user tells the loss
        self._ended: Step | None = None  # the last step if it was full, for what is known in the next one only
        self._failed: set[str] = set()
        self._before: dict[int, Tensor] = {}  # room for a copy of the weights, used again at each full step
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._guard(self._end)
        finally:
            self._step = self._ended = self._output = self._reading = None
            self._before, self._unregistered = {}, []
            self._reached.clear()
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

    def scalars(self) -> dict[str, float]:
        """The last step in numbers that TensorBoard, Weights & Biases or MLflow log as they are; {} before the first.

        `loss`, `lr`, `gradient` (the norm of all parameters' gradients), `skipped` (1 if a scaler did),
        `weight_gradient/LAYER`; of a step that was looked at in full also `first_over_last` (the gradient with respect
        to the first layer's output over that of the last), `handed`, and `activation_gradient/LAYER`, `signal/LAYER`,
        `update_ratio/LAYER`, `dead/LAYER`, `saturated/LAYER`, as `GradientRecord` describes them. What isn't known is
        left out, and so is what isn't finite: `nonfinite` counts that. In a layer's name other characters than
        letters, digits, "_", "-" and "." become "_".
        """
        return scalars(self._layers, self._closed[-1]) if self._closed else {}

    def report(self, path: str | Path, title: str = "", site: str | None = SITE) -> None:
        """Write the verdict and what it rests on as one page to send; links go to `site`, where this site is read.

        Raises ValueError if nothing was recorded.
        """
        optimizers = (type(self._optimizer).__name__,) if self._optimizer is not None else ()
        watched = Watched(type(self._model).__name__, optimizers, self.record, diagnose(self.record))
        write(path, [watched], title=title, site=site)

    def loss(self, loss: Tensor) -> None:
        """Tell the probe the loss of a step, where `loss.backward()` isn't what is called; before the backward pass."""
        self._told = True
        self._guard(self._look_at_told, loss)

    def _attach(self) -> None:
        self._undo.append(
            BACKWARD.add(partial(self._guard, self._backward_begins), partial(self._guard, self._backward_ends))
        )
        if self._optimizer is not None:
            self._undo.append(self._optimizer.register_step_pre_hook(_Hook(self, self._before_step)).remove)
            self._undo.append(self._optimizer.register_step_post_hook(_Hook(self, self._close)).remove)
            if self._scaler is not None:
                self._undo.append(SCALER.add(lambda *_, **__: None, partial(self._guard, self._scaler_steps)))
        self._watch_layers()
        self._guard(self._look_at_what_stays)

    def _watch_layers(self) -> None:
        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad and i not in self._hooked:
                self._hooked.add(i)
                # a list's own method, as this is called for every parameter in every step
                self._undo.append(parameter.register_post_accumulate_grad_hook(self._reached.append).remove)
        if self._undo_layers:
            return
        for i, module in enumerate(self._modules):
            if isinstance(module, nn.RNNBase):
                hook = module.register_forward_pre_hook(_Hook(self, self._open_input, i), with_kwargs=True)
                self._undo_layers.append(hook.remove)
            self._undo_layers.append(module.register_forward_hook(_Hook(self, self._forward, i)).remove)
        self._undo_layers.append(self._model.register_forward_hook(_Hook(self, self._read_graph)).remove)

    def _leave_layers(self) -> None:
        while self._undo_layers:
            self._undo_layers.pop()()

    def _detach(self) -> None:
        self._leave_layers()
        while self._undo:
            self._undo.pop()()
        self._hooked.clear()

    def _guard(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """An error of the probe's own is a gap in the record, not the end of the training."""
        try:
            return method(*args, **kwargs)
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
            held = held_by(self._optimizer)
            self._held |= {i for i, parameter in enumerate(self._parameters) if id(parameter) in held}

    def _scaler_steps(self, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """A scaler that finds an overflow doesn't call the optimizer: the step ends all the same."""
        if scaler is self._scaler and optimizer is self._optimizer and self._step is not None:
            self._close(skipped=True)

    # --- steps ---------------------------------------------------------------------------------------------------

    def _begin(self) -> Step:
        """The step that a forward pass belongs to."""
        if self._step and self._optimizer is None and not _in_backward():
            if self._reached:
                self._take_gradients()  # of a backward pass that nobody told of
            if self._step.reached:
                self._close()
        return self._current()

    def _current(self) -> Step:
        if self._step is None:
            self._step = Step(self._count, full=self._is_full(self._count))
            if self._optimizer is None and self._step.full:
                self._look_at_weights(self._step)
        return self._step

    def _end(self) -> None:
        if self._step and self._reached:
            self._take_gradients()
        self._close()

    def _close(self, *_: Any, skipped: bool = False) -> None:
        step, self._step = self._step, None
        self._output = self._reading = None
        if step is None or not (step.reached or (step.cut_off and self._optimizer is not None)):
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
        if self._optimizer is not None:  # without one a forward pass ends a step, and has to be seen
            self._watch_layers() if self._is_full(self._count) else self._leave_layers()

    @torch.no_grad()
    def _look_at_weights(self, step: Step) -> None:
        """The weights before the update, and a copy of those that it can change."""
        weights = {i: local(parameter.detach()) for i, parameter in enumerate(self._parameters)}
        step.measure("weight", self._norms.many("weight", weights))
        for i in {layer.weight for layer in self._layers if layer.weight is not None and layer.fan_out > 1}:
            rows = weights[i]
            if len(rows) > 1:  # the first row against the second, the middle one and the last
                others = torch.stack([rows[1], rows[len(rows) // 2], rows[-1]])
                step.tensors["rows", i] = self._norms.one(("rows", i), others - rows[0])
        for i, module in enumerate(self._modules):
            if (gate := keeping_gate(module)) is not None:
                step.tensors["gate", i] = gate
        now = {i: some_rows(weights[i], MOST) for i in weights if self._parameters[i].requires_grad}
        if self._before.keys() != now.keys():
            self._before = {i: torch.empty_like(values) for i, values in now.items()}
        if now:
            torch._foreach_copy_(list(self._before.values()), list(now.values()))
        step.facts["saved",] = 1

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Where the backward pass happens inside the step, in a closure, the update begins after the first one."""
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._before_update()
            return None
        begun: list[bool] = []

        @wraps(closure)
        def watched() -> Any:
            value = closure()
            if not begun:
                begun.append(True)
                self._guard(self._before_update)
            return value

        return ((args[0], watched, *args[2:]), kwargs) if len(args) > 1 else (args, kwargs | {"closure": watched})

    @torch.no_grad()
    def _before_update(self) -> None:
        """What the optimizer is about to do, with which gradients."""
        if self._reached or self._step is None or not self._step.reached:
            self._take_gradients()  # of a backward pass that nobody told of
        step, optimizer = self._step, self._optimizer
        if step is None or optimizer is None:
            return
        for name in SETTINGS:
            values = [group[name] for group in optimizer.param_groups if isinstance(group.get(name), (int, float))]
            if values:
                step.facts["setting", name] = max(values)
        if any("betas" in group for group in optimizer.param_groups):
            step.facts["setting", "beta1"] = float(optimizer.param_groups[0]["betas"][0])
        if not step.full:
            return
        self._note_held()
        self._look_at_weights(step)
        step.tensors["handed", 0] = self._norms.total("gradient", self._gradients(step.reached))

    @torch.no_grad()
    def _measure_update(self, step: Step) -> None:
        if ("saved",) in step.facts and self._before:
            now = {i: local(self._parameters[i].detach()) for i in self._before}
            torch._foreach_sub_(list(self._before.values()), [some_rows(values, MOST) for values in now.values()])
            step.measure("update", self._norms.many("update", self._before))
            for i, values in now.items():
                if self._before[i].numel() < values.numel():
                    step.facts["parts", i] = values.numel() / self._before[i].numel()
        else:
            self._look_at_weights(step)
            del step.facts["saved",]  # nothing has come between
        for k, parameter in enumerate(self._unregistered):
            if is_there(parameter):
                step.tensors["unregistered", k] = self._norms.one(("unregistered", k), parameter.detach())

    # --- the backward pass, and its loss -------------------------------------------------------------------------

    def _backward_begins(self, tensors: Tensor | Sequence[Tensor] = (), *_: Any, **__: Any) -> None:
        if _in_backward():
            return
        if self._ended is not None:
            self._look_at_old_gradients(self._ended)
        if self._step and self._step.reached and not self._step.calls and self._optimizer is None:
            self._close()  # a compiled model, in which no forward hook ends a step
        self._passes = set(self._step.seen) if self._step else set()
        losses = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        if losses and not self._told:
            self._look(losses[0])

    def _backward_ends(self, *_: Any, **__: Any) -> None:
        if _in_backward():
            return
        reading, self._reading = self._reading, None
        before = self._step is not None and bool(self._step.reached)
        reached = self._take_gradients()
        if reading is not None and self._step is not None and (reached or (self._step.cut_off and not before)):
            self._keep_loss(self._step, reading, add=before)

    @torch.no_grad()
    def _take_gradients(self) -> bool:
        """The norms of the gradients that are there after a backward pass; whether it reached any parameter."""
        reached = {self._places[id(parameter)] for parameter in self._reached}
        self._reached.clear()
        self._heard |= bool(reached)
        if not self._heard:  # of engines that add gradients by their own means
            reached = set(self._gradients(range(len(self._parameters))))
        if not reached:
            return False
        step = self._current()
        step.reached |= reached
        step.tasks |= step.seen - self._passes
        gradients = self._gradients(step.reached)
        if gradients and self._scaler is not None and ("scale", 0) not in step.tensors:
            device = next(iter(gradients.values())).device
            step.tensors["scale", 0] = self._scaler.scale(torch.ones((), device=device))
        step.measure("weight_gradient", self._norms.many("gradient", gradients))
        return True

    def _gradients(self, of: Iterable[int]) -> dict[int, Tensor]:
        return {i: g.detach() for i in sorted(of) if (g := self._parameters[i].grad) is not None}

    @torch.no_grad()
    def _look_at_old_gradients(self, ended: Step) -> None:
        """What the last step left of its gradients, to which a pass of the next one will add unless it is cleared."""
        left = self._gradients(self._held)
        ended.later("left", self._norms.total("gradient", left))
        if not left:
            self._ended = None

    def _look_at_told(self, loss: Tensor) -> None:
        self._look(loss)
        reading, self._reading = self._reading, None
        if reading is not None:
            self._keep_loss(self._current(), reading, add=True)

    def _look(self, loss: Tensor) -> None:
        step = self._step
        if loss.numel() != 1:
            return
        full = step.full if step is not None else self._is_full(self._count)
        if full or self._brittle:
            self._step, busy = None, step  # what a checkpoint runs again meanwhile is no forward pass of the user's
            try:
                self._reading = read(loss, self._places, self._output, whole=full)
            finally:
                self._step = busy
        else:
            self._reading = Reading(loss.detach())
        if step is not None and full and not self._reading.reaches:
            step.cut_off = True

    def _keep_loss(self, step: Step, reading: Reading, add: bool) -> None:
        value = reading.loss.float().view(())
        if ("scale", 0) in step.tensors and not self._told:
            value = value / step.tensors["scale", 0].to(value.device).view(())
        if add and ("loss", 0) in step.tensors:
            value = value + step.tensors["loss", 0].to(value.device)
        step.tensors["loss", 0] = value
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
            self._brittle |= bool(graph.named(*REGRESSIONS))
            self._brittle |= any(what == "least" and i in graph.head for i, what in reading.statistics)
            if not self._unregistered and self._optimizer is not None:
                held = held_by(self._optimizer)
                self._unregistered = [p for p in reading.unregistered if id(p) not in held][:UNREGISTERED]
                for k, parameter in enumerate(self._unregistered):
                    step.facts["unregistered shape", k] = tuple(parameter.shape)
                    if parameter.dim() > 1 and is_there(parameter):
                        step.tensors["unregistered drawn", k] = looks_drawn(local(parameter))
        for (i, what), value in reading.statistics.items():
            step.tensors["graph", i if step.full else reading.graph.operations[i].name, what] = value

    # --- the layers ----------------------------------------------------------------------------------------------

    def _forward(self, i: int, module: nn.Module, args: Any, output: Any) -> Any:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None
        step = self._begin()
        if not step.full:
            return None
        recurrent = self._layers[i].family == "recurrent"
        if recurrent:
            output = aliased(output)
        outputs = list(tensors_of(output))
        call = step.calls.get(i, 0)
        if not _in_backward():  # else it is checkpointing, which runs the layer a second time
            step.calls[i] = call + 1
            if outputs:
                self._signal(step, i, module, call, outputs[0].detach())
                if call == 0:
                    self._input(step, i, module, next(tensors_of(args), None))
        for part, y in enumerate(outputs):
            if y.requires_grad:
                y.register_hook(_Hook(self, self._activation_gradient, step, i, call, part))
        return output if recurrent else None

    def _signal(self, step: Step, i: int, module: nn.Module, call: int, y: Tensor) -> None:
        """The statistics of one output."""
        y = local(y)
        own = has_units_second(module, y)
        self._units_second = second = self._units_second if own is None else own
        step.tensors["signal", i, call] = self._norms.one(("signal", i, call), y)
        step.facts["signal", i, call] = y.numel()
        step.facts["second", i] = second
        if y.dtype is torch.float16:
            step.facts["half", i] = 1
        if (flat := saturated(module, y)) is not None:
            step.tensors["saturated", i, call] = flat.sum()
        if isinstance(module, RELUS):
            step.remember_alive(i, times_active(y, second))

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
            columns = x.reshape(-1, 1).float()
        squares = columns.square().mean(0).sqrt()
        there = torch.where(squares > 0, squares, torch.nan).nanmedian()
        rms, bad = columns.square().mean().sqrt(), (~torch.isfinite(columns)).float().mean()
        largest = columns.abs().nan_to_num(posinf=0.0).amax()
        step.tensors["input", i] = torch.stack([rms, squares.amax(), there, bad, largest])

    def _activation_gradient(self, step: Step, i: int, call: int, part: int, gradient: Tensor) -> None:
        if step is not self._step:
            return  # a backward pass through a step that has ended
        g, task = local(gradient.detach()), _task()
        step.seen.add(task)
        step.tensors["activation_gradient", i, task, call, part] = self._norms.one(("output", i, call, part), g)
        if part:
            return
        active = times_active(g, bool(step.facts.get(("second", i))))
        step.facts["zeros", i, task, call] = g.numel()
        step.tensors["zeros", i, task, call] = g.numel() - active.sum(dtype=wide(g.device))
        module = self._modules[i]
        if not isinstance(module, RELUS):
            step.remember_alive(i, active)
        if isinstance(module, nn.RNNBase) and ("packed", i) not in step.facts:
            step.tensors["direct", i, task] = by_time(g, _time_dimension(module, g))

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
        if sizes is None:
            norms = by_time(g, dimension)
        else:  # packed: the first steps of all sequences, then their second steps, and so on
            norms = torch.stack([by_time(part[None], 0)[0] for part in g.split(sizes)])
        step.tensors["time", i, _task()] = norms

    def _read_graph(self, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return
        if self._graph is None:
            self._graph = made_of(output)
        if self._step is not None and self._step.full:
            self._output = next((y.detach() for y in tensors_of(output)), None)


class _Hook:
    """A method of a probe as a hook: it never raises, is silent inside `torch.func`, and is left out of copies."""

    def __init__(self, probe: Probe, method: Callable[..., Any], *args: Any) -> None:
        self.probe, self.method, self.args = probe, method, args

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch._C._functorch.maybe_current_level() is not None:
            return None  # values are batched, or traced, and mean nothing outside
        return self.probe._guard(self.method, *self.args, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return nullcontext().__exit__

    def __reduce__(self) -> Any:
        # copied or saved with its model, a hook becomes a function that takes anything and returns None
        return getattr, (nullcontext(), "__exit__")


def _time_dimension(module: nn.RNNBase, values: Tensor) -> int:
    return 1 if module.batch_first and values.dim() == 3 else 0


def _task() -> int:
    """The number of the backward pass that is running, -1 if none is."""
    return int(torch._C._current_graph_task_id())


def _in_backward() -> bool:
    return _task() != -1
