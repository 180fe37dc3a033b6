"""Steps per second of the page's engine in Chromium, beside the script that the page hands out, in one run.

    python benchmarks/train_speed.py [--rounds N] [QUERY ...]

Both train the same networks, each on one thread, in turns of a second, so that a busy machine is busy for both; the
median round is shown. What carries over to another machine is the ratio.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from vgdocs.explorer import train
from vgdocs.pages.browser import FLAGS, executable

ASSETS = Path(__file__).parents[1] / train.ASSETS
QUERIES = (
    "depth=20&width=32&batch=64",
    "depth=5&width=16",
    "depth=5&width=16&data=spirals",
    "activation=relu&init=he&norm=batch&skip=residual",
    "activation=gelu&optimizer=adam",
    "net=rnn",
    "net=lstm",
    "net=gru",
)
TURN = 1.0  # seconds
MAKE = """query => {
    globalThis.trainer = vgTrain.create(vgTrain.parse(query));
    for (const start = performance.now(); performance.now() - start < 300; ) trainer.step(); // until it is compiled
}"""
STEPS = """ms => {
    let steps = 0;
    const start = performance.now();
    for (; performance.now() - start < ms; steps++) trainer.step();
    return 1000 * steps / (performance.now() - start);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queries", nargs="*", default=QUERIES, metavar="QUERY")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = executable() or sys.exit("no browser was found; install Chromium or name one in VGDOCS_BROWSER")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=list(FLAGS)) as browser:
        page = browser.new_page()
        for name in ("settings", "engine", "digits"):
            page.add_script_tag(path=ASSETS / f"{name}.js")
        print(f"{'Chromium':>10}{'PyTorch':>10}{'ratio':>8}")
        for query in given.queries:
            page.evaluate(MAKE, query)
            states = train.train(train.parse(query))
            next(states)
            rounds = [(page.evaluate(STEPS, 1000 * TURN), steps_per_second(states)) for _ in range(given.rounds)]
            ours, theirs = (statistics.median(rates) for rates in zip(*rounds, strict=True))
            print(f"{ours:10.1f}{theirs:10.1f}{ours / theirs:8.2f}  {query}", flush=True)


def steps_per_second(states: Iterator[object]) -> float:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < TURN:
        next(states)
        steps += 1
    return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
