"""What the probe costs, beside the usual recipe, on two networks in one run.

    python benchmarks/probe_overhead.py [--rounds N]

A step is forward, backward and Adam on the CPU, on one thread. The kinds of recording take turns of twenty steps, so
that a busy machine is busy for all of them, and each turn's time is the processor's, not the clock's. Others still
disturb it through the caches, so what is shown is the least of the rounds and its ratio to the least of the bare steps,
and beside it how far the ratios within single rounds spread. Run it on a quiet machine.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.probe import Probe

TURN = 20  # steps
CLASSES = 10

Watch = Callable[[nn.Module, torch.optim.Optimizer], AbstractContextManager[object]]


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


KINDS: dict[str, Watch] = {
    "bare step": lambda model, optimizer: nullcontext(),
    "named_parameters, .norm().item()": lambda model, optimizer: nullcontext(),
    "probe, the rest each 20th step": lambda model, optimizer: Probe(model, optimizer, every=TURN),
    "probe, everything at every step": lambda model, optimizer: Probe(model, optimizer),
}
BARE, RECIPE, *_ = KINDS


def seconds_per_step(kind: str, model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """Processor time of one step, over a turn, with fetching the record at its end."""
    start = time.process_time()
    with KINDS[kind](model, optimizer) as probe:
        for _ in range(TURN):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if kind == RECIPE:
                recipe(model)
            optimizer.step()
    if isinstance(probe, Probe):
        assert len(probe.record) == TURN
    return (time.process_time() - start) / TURN


def compare(make: Callable[[], tuple[nn.Module, Tensor]], rounds: int) -> None:
    torch.manual_seed(0)
    model, x = make()
    y = torch.randint(CLASSES, (len(x),))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    seconds_per_step(BARE, model, x, y, optimizer)  # warm up
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, taken in times.items():
            taken.append(seconds_per_step(kind, model, x, y, optimizer))
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"\n{make.__name__}: {make.__doc__} {parameters:.1f} million parameters, {rounds} rounds of {TURN} steps")
    for kind, taken in times.items():
        ratios = [own / bare - 1 for own, bare in zip(taken, times[BARE], strict=True)]
        spread = f"{min(ratios):+7.1%} to {max(ratios):+.1%}" if kind != BARE else ""
        print(f"  {kind:34} {1e3 * min(taken):7.1f} ms {min(taken) / min(times[BARE]) - 1:+7.1%}   {spread}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, CPU, one thread")
    for network in (mlp, transformer):
        compare(network, arguments.rounds)
