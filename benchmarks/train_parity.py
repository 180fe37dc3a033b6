"""How far the page's engine and PyTorch are apart: random settings of every kind, trained for 20 steps by both.

    python benchmarks/train_parity.py [--settings N]

The engine runs in V8, as in a browser; PyTorch runs the script that the page hands out. The difference of a run is the
largest relative one over all steps' losses and gradients. What is above the limit is shown beside two controls:

    itself    PyTorch against itself, from weights that differ by a rounding: what that moves as much, no other program
              can repeat
    plain     engine against PyTorch, the same setting by plain gradient descent in batches of 64

What magnifies roundings so: RMSprop and Adam divide a gradient by its own size, down to their eps of 1e-8, and one that
is mostly rounding makes a step as long as any other. Normalisation over a batch of two maps every unit to 1 and -1,
whatever its weights are, and the gradient that is left is a difference of nearly equal numbers. And a deep stack of
normalised layers, which explodes at first, hands on a rounding as it does a gradient.
"""

import argparse
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from py_mini_racer import MiniRacer

from vgdocs.explorer import train
from vgdocs.explorer.train import OPTIONS, Setting

ASSETS = Path(__file__).parents[1] / "docs/assets/train"
STEPS = 20
LIMIT = 1e-9
SEED = 0
KINDS = ("net", "data", "activation", "init", "norm", "skip", "optimizer")

State = dict[str, Any]
Engine = Callable[[Setting], list[State]]


def engine(steps: int = STEPS) -> Engine:
    """What trains a setting in V8 and gives its states."""
    context = MiniRacer()
    for name in ("settings", "engine", "digits"):
        context.eval((ASSETS / f"{name}.js").read_text("utf-8"))
    context.eval(f"""const run = query => {{
        const trainer = vgTrain.create(vgTrain.parse(query));
        return JSON.stringify(Array.from({{ length: {steps} }}, () => trainer.step()));
    }}""")
    return lambda setting: json.loads(context.eval(f"run({json.dumps(train.query(setting))})"))


def pytorch(setting: Setting, steps: int = STEPS, seed: int | None = None) -> list[State]:
    """What PyTorch says of it; with a seed, from weights that are each moved by a rounding up, down or not at all."""

    def move(program: dict[str, Any]) -> None:
        if seed is None:
            return
        generator = torch.Generator().manual_seed(seed)
        for p in program["model"].parameters():
            p.data *= 1 + 2**-52 * torch.randint(-1, 2, p.shape, generator=generator).double()

    return list(itertools.islice(train.train(setting, move), steps))


def difference(a: list[State], b: list[State]) -> float:
    """The largest relative difference of two runs' losses and gradients; inf where only one of them is finite."""
    return max(_apart(x, y) for x, y in zip(_values(a), _values(b), strict=True))


def _values(states: list[State]) -> Iterator[float]:
    return (float(value) for state in states for value in [state["loss"], *state["gradients"]])


def _apart(x: float, y: float) -> float:
    if x == y or not (math.isfinite(x) or math.isfinite(y)):
        return 0.0
    return abs(x - y) / max(abs(x), abs(y)) if math.isfinite(x) and math.isfinite(y) else math.inf


def itself(setting: Setting, of_pytorch: list[State]) -> float:
    """How far PyTorch is from what it said, if its weights are moved by a rounding: the largest of three tries."""
    return max(difference(of_pytorch, pytorch(setting, seed=seed)) for seed in range(3))


def settings(number: int, seed: int = SEED) -> list[Setting]:
    """Random settings: every value of every key in turn, numbers over most of their range."""
    draw = random.Random(seed)
    drawn: dict[str, Callable[[Any], Any]] = {
        "depth": lambda _: draw.choice([1, 2, 3, 5, 8, 12, 20, 30, 50]),
        "width": lambda _: draw.randint(4, 64),
        "length": lambda _: draw.choice([10, 17, 25, 40, 60]),
        "gain": lambda _: draw.choice([1, 1, round(2 ** draw.uniform(-1, 1), 3)]),
        "forget": lambda _: draw.choice([0, 1, 3, -1.5]),
        "lr": lambda known: float(f"{known['default'] * 10 ** draw.uniform(-1, 0.5):.2g}"),
        "warmup": lambda _: draw.choice([0, 0, 5, 30]),
        "clip": lambda _: draw.choice([0, 0, 0.1, 1]),
        "batch": lambda _: draw.choice([2, 7, 16, 33, 64, 128]),
        "seed": lambda _: draw.randint(0, OPTIONS["seed"]["most"]),
    }
    decks: dict[tuple[str, ...], list[str]] = {}
    found = []
    for i in range(number):
        setting: Setting = {}
        for key in OPTIONS:
            known = train.option(key, setting)
            if key == "net":
                setting[key] = known["values"][i % 2 and 1 + i // 2 % 3]  # half of them feed-forward
            elif "values" in known:
                deck = decks.setdefault((key, *known["values"]), [])
                if not deck:
                    deck += draw.sample(known["values"], len(known["values"]))
                setting[key] = deck.pop()
            elif known:
                setting[key] = drawn[key](known)
        found.append(train.parse(train.query(setting)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=200)
    chosen = settings(parser.parse_args().settings)
    torch.set_num_threads(1)
    run, rows = engine(), []
    for i, setting in enumerate(chosen):
        of_pytorch = pytorch(setting)
        rows.append((difference(run(setting), of_pytorch), setting, of_pytorch))
        print(f"\r{i + 1}/{len(chosen)}", end="", flush=True)
    print(f"\r{'kind':24}{'settings':>10}{'median':>10}{'worst':>10}")
    for key in KINDS:
        for value in sorted({str(setting[key]) for _, setting, _ in rows if key in setting}):
            found = sorted(apart for apart, setting, _ in rows if setting.get(key) == value)
            print(f"{key + '=' + value:24}{len(found):10}{found[len(found) // 2]:10.1e}{found[-1]:10.1e}")
    beyond = [row for row in sorted(rows, key=lambda row: -row[0]) if row[0] > LIMIT]
    print(f"\n{len(rows) - len(beyond)} of {len(rows)} within {LIMIT:g}; the others:\n")
    print(f"{'apart':>10}{'itself':>10}{'plain':>10}")
    for apart, setting, of_pytorch in beyond:
        plain = setting | {"optimizer": "sgd", "batch": 64}
        controls = itself(setting, of_pytorch), difference(run(plain), pytorch(plain))
        print(f"{apart:10.1e}{controls[0]:10.1e}{controls[1]:10.1e}  {train.query(setting)}")


if __name__ == "__main__":
    main()
