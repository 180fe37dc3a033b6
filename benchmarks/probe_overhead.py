"""What the probe costs, beside the usual recipe, on two networks in one run, and what it keeps of a long one.

    python benchmarks/probe_overhead.py [--steps N]
    python benchmarks/probe_overhead.py --long N

A step is forward, backward and Adam on the CPU, on one thread. The kinds of recording take turns of ten steps, each on
a copy of the network, so that a busy machine is busy for all of them, and a step's time is the processor's, not the
clock's. Others still disturb it through the caches, so beside the sums there are medians. Run it on a quiet machine.

`--long` trains a tiny network for N steps, reads the record at each thousandth, and tells at a tenth and at the end how
much memory the record and the process have.
"""

import argparse
import copy
import gc
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.probe import Probe

TURN = 10  # steps
CLASSES = 10


def mlp() -> tuple[nn.Module, Tensor]:
    """50 layers of 512 ReLUs, batch 128."""
    layers = [part for _ in range(50) for part in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(512, CLASSES)), torch.randn(128, 512)


class Transformer(nn.Module):
    """12 pre-norm layers of width 256, read at the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(256, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


def transformer() -> tuple[nn.Module, Tensor]:
    """8 sequences of 64 tokens."""
    return Transformer(), torch.randn(8, 64, 256)


def recipe(model: nn.Module) -> dict[str, float]:
    """What one finds in forums: every parameter's gradient norm, fetched one by one."""
    return {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}


RECIPE = "named_parameters, .norm().item()"
KINDS: dict[str, dict | None] = {
    "bare step": None,
    RECIPE: None,
    "probe, by default": {},
    "probe, everything at every step": {"every": 1},
}
BARE, *_ = KINDS


def compare(make: Callable[[], tuple[nn.Module, Tensor]], steps: int) -> None:
    torch.manual_seed(0)
    model, x = make()
    y = torch.randint(CLASSES, (len(x),))
    models = {kind: copy.deepcopy(model) for kind in KINDS}
    optimizers = {kind: torch.optim.Adam(models[kind].parameters(), lr=1e-4) for kind in KINDS}
    probes = {kind: Probe(models[kind], optimizers[kind], **how) for kind, how in KINDS.items() if how is not None}

    def step(kind: str) -> float:
        start = time.process_time()
        optimizers[kind].zero_grad()
        F.cross_entropy(models[kind](x), y).backward()
        if kind == RECIPE:
            recipe(models[kind])
        optimizers[kind].step()
        return time.process_time() - start

    for kind in KINDS:
        step(kind)  # warm up, and make the state of the optimizer
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(steps // TURN):
        order = list(KINDS)[turn % len(KINDS) :] + list(KINDS)[: turn % len(KINDS)]
        for kind in order:
            with probes.get(kind, nullcontext()):
                times[kind] += [step(kind) for _ in range(TURN)]
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"\n{make.__name__}: {make.__doc__} {parameters:.1f} million parameters, {len(times[BARE])} steps")
    bare = statistics.median(times[BARE])
    for kind, taken in times.items():
        over = sum(taken) / sum(times[BARE]) - 1
        print(f"  {kind:34} {1e3 * statistics.median(taken):7.1f} ms in the median   {over:+7.1%} over all steps")
        if kind in probes:
            start = time.process_time()
            full = set(probes[kind].record.full_steps)
            fetched = time.process_time() - start
            looked = [seconds for i, seconds in enumerate(taken) if i in full]
            between = [seconds for i, seconds in enumerate(taken) if i not in full]
            for what, some in [("steps looked at in full", looked), ("steps between", between)]:
                if some:
                    print(f"    {len(some):4} {what:27} {1e3 * statistics.median(some):7.1f} ms", end="")
                    print(f"                 {statistics.median(some) / bare - 1:+7.1%}")
            print(f"         the record, at the end     {1e3 * fetched:7.1f} ms in all")


def size(thing: object) -> int:
    """Bytes of all Python objects that a thing holds."""
    seen: dict[int, object] = {}
    todo = [thing]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type | type(sys)) and not callable(one):
            seen[id(one)] = one
            todo += gc.get_referents(one)
    return sum(sys.getsizeof(one) for one in seen.values())


def keep(steps: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())
    with Probe(model, optimizer) as probe:
        for i in range(1, steps + 1):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            if i % 1000 == 0:
                probe.record  # noqa: B018  # as one who watches it
            if i in (steps // 10, steps):
                record, resident = probe.record, psutil.Process().memory_info().rss / 2**20
                print(f"{i:8} steps: {len(record.steps)} kept, {size(record) / 1e6:.1f} MB; process {resident:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--long", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, CPU, one thread")
    if arguments.long:
        keep(arguments.long)
    else:
        for network in (mlp, transformer):
            compare(network, arguments.steps)
