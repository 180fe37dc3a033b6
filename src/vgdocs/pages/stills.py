"""Still pictures of what a link to the page "Watch it train" shows, for print and where a script is off.

    Watch it: [fifty layers of sigmoids](../train.md?depth=50).

A paragraph that begins so gets a still after it, which is a link too: of each network the gradient by layer at the
first and the last of `STEPS` steps, a strip of it over the steps in between, and both in words. It is made by the
page's own engine, in mini-racer, and kept in the store by all that it is made of. A project without that engine has no
such page and no stills.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as etree

from markdown.treeprocessors import Treeprocessor

from vgdocs.engine import observe

if TYPE_CHECKING:
    from markdown import Markdown

    from vgdocs.engine.library import Library

ENGINE = "docs/assets/train"  # from the project's root
FILES = ("settings.js", "engine.js", "digits.js")
WORDS = "Watch it"
LINK = re.compile(r"(?:^|/)train\.md\?([^#]+)")
STEPS = 100
COLUMNS = 25  # of the strip: every fourth step
ROWS = 30  # of the strip at most: of more layers or time steps every second, or third
LAST = 20  # steps over which the accuracy is averaged
NAMES = {"relu": "ReLU", "pytorch": "PyTorch’s", "xavier": "Xavier’s", "he": "He’s", "lecun": "LeCun’s", "sgd": "SGD"}
NAMES |= {"adam": "Adam", "rnn": "tanh RNN", "lstm": "LSTM", "gru": "GRU", "mlp": "feed-forward"}
GUESSING = {"digits": 10, "first": 25, "middle": 25}  # per cent that are right; of the others' two classes 50
PER_CENT = "\N{NO-BREAK SPACE}%"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LEVELS = (0.5, 1.5, 3, 8)  # decades from the last layer's gradient, from which on a colour is deeper
WIDTH, HEIGHT, DOTS = 150, 60, 50  # of the drawing, and of its part to the left of the strip

DRIVER = """
function still(link, steps) {
  const [, one, vs] = /^(.*?)(?:(?:^|&)vs=(.*))?$/.exec(link);
  const pairs = new Map(one.split("&").filter(Boolean).map(pair => pair.split("=")));
  const other = new Map([...pairs, ...(vs ?? "").split(",").filter(Boolean).map(pair => pair.split(":"))]);
  const links = [pairs, ...(vs ? [other] : [])].map(all => [...all].map(pair => pair.join("=")).join("&"));
  return JSON.stringify(links.map(link => {
    const setting = vgTrain.parse(link), trainer = vgTrain.create(setting);
    const states = Array.from({length: steps}, () => trainer.step());
    return {setting, ...Object.fromEntries(
      ["gradients", "loss", "accuracy"].map(key => [key, states.map(state => state[key])]))};
  }));
}
"""


def trained(folder: Path, link: str, steps: int = STEPS) -> list[dict[str, Any]]:
    """The networks of a link's query: `setting`, and by step `gradients`, `loss` and `accuracy`.

    Raises ImportError without mini-racer and ValueError for a link that the page would refuse.
    """
    from py_mini_racer import JSEvalException, MiniRacer

    engine = MiniRacer()
    try:
        for name in FILES:
            engine.eval((folder / name).read_text("utf-8"))
        engine.eval(DRIVER)
        networks: list[dict[str, Any]] = json.loads(engine.call("still", link, steps))
    except JSEvalException as error:
        raise ValueError(str(error).strip().splitlines()[0]) from None
    finally:
        engine.close()  # Python would wait for its thread for ever
    return networks


def decades(gradients: Sequence[float | str]) -> list[float]:
    """By layer, decades from the last one's gradient; NaN where there is no number."""
    logs = [math.log10(g) if g > 0 else -math.inf if g == 0 else math.nan for g in map(float, gradients)]
    return [-math.inf if log == -math.inf else log - logs[-1] for log in logs]


def level(decade: float) -> str:
    """The class of a colour: v4 (vanished) to v1, h, e1 to e4 (exploded), n for no number."""
    if math.isnan(decade):
        return "n"
    deep = sum(abs(decade) >= least for least in LEVELS)
    return "h" if not deep else f"{'v' if decade < 0 else 'e'}{deep}"


def strip(columns: Sequence[Sequence[float]]) -> str:
    """The SVG of the strip, a path for each colour; the first layer lies at the bottom."""
    every = -(-len(columns[0]) // ROWS)
    columns = [column[::-1][::every][::-1] for column in columns]  # with the last one
    rows, paths = len(columns[0]), dict[str, list[str]]()
    for row in range(rows):
        names = [level(column[row]) for column in columns]
        start = 0
        for end in range(1, len(names) + 1):
            if end == len(names) or names[end] != names[start]:
                paths.setdefault(names[start], []).append(f"M{start} {rows - 1 - row}h{end - start}v1h{start - end}")
                start = end
    scale = f"scale({(WIDTH - DOTS) / len(columns):.4g} {HEIGHT / rows:.4g})"
    drawn = "".join(f'<path class="{name}" d="{"".join(path)}"/>' for name, path in paths.items())
    return f'<g transform="translate({DOTS}) {scale}" shape-rendering="crispEdges">{drawn}</g>'


def picture(network: dict[str, Any], reach: tuple[float, float]) -> str:
    """The SVG of one network; `reach` are the decades from the left of its lines to their right."""
    profiles = [decades(gradients) for gradients in network["gradients"]]
    per = max(1, len(profiles) // COLUMNS)
    low, high = reach

    def x(decade: float) -> float:
        return 2 + (DOTS - 8) * (min(max(decade, low), high) - low) / (high - low)

    def line(name: str, profile: Sequence[float]) -> str:
        rows = len(profile)
        places = [f"{x(v):.1f} {HEIGHT * (1 - (i + 0.5) / rows):.1f}" for i, v in enumerate(profile) if v == v]
        return f'<path class="{name}" d="M{"L".join(places)}"/>' if places else ""

    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<path class="one" d="M{x(0):.1f} 0V{HEIGHT}"/>{line("first", profiles[0])}{line("last", profiles[-1])}'
        f"{strip(profiles[::per])}</svg>"
    )


def number(value: float) -> str:
    """With one digit or two, as in a sentence."""
    if not value or 0.01 <= value < 1000:
        return f"{value:.2g}" if value < 100 else f"{value:.0f}"
    digit, _, power = f"{value:.0e}".partition("e")
    return f"{digit}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(power)).translate(SUPERSCRIPTS)}"


def in_words(network: dict[str, Any]) -> str:
    """What becomes of the gradient and of the training."""
    first, last = (float(network["gradients"][-1][at]) for at in (0, -1))
    when = f"at step {len(network['loss']) - 1} (dashed: step 0)"
    if not all(map(math.isfinite, [*map(float, network["gradients"][-1]), float(network["loss"][-1])])):
        return f"{when} its numbers are no longer finite."
    setting, right = network["setting"], [float(value) for value in network["accuracy"][-LAST:]]
    one, other = ("layer 1", "the output layer") if setting["net"] == "mlp" else ("time step 1", "the last one")
    if not first or not last:
        share = "no gradient"
    else:
        share = f"{number(first / last)} {'times' if first > last else 'of'} {other}’s gradient"
    return (
        f"{when} {one} gets {share}, and {100 * sum(right) / len(right):.0f}{PER_CENT} of the answers are right "
        f"(by guessing {GUESSING.get(setting['data'], 50)}{PER_CENT})."
    )


def named(networks: Sequence[dict[str, Any]], options: dict[str, Any]) -> list[str]:
    """By what each of two networks differs from the other; of a single one nothing."""
    if len(networks) == 1:
        return [""]
    one, two = (network["setting"] for network in networks)
    keys = [key for key in one if key in two and one[key] != two[key]]
    keys += [key for key in two if key not in one and two[key] != 0]
    return [", ".join(called(key, setting[key], options) for key in keys if key in setting) for setting in (one, two)]


def called(key: str, value: Any, options: dict[str, Any]) -> str:
    if key in ("clip", "warmup") and not value:
        return {"clip": "without clipping", "warmup": "without warm-up"}[key]
    return f"{options[key]['label'].lower()} {NAMES.get(value, value)}"


def html(folder: Path, link: str) -> str:
    """The still of a link's query, raises as `trained` does."""
    networks = trained(folder, link)
    settings = (folder / "settings.js").read_text("utf-8")
    options = json.loads(settings[settings.index("{", settings.index(",")) : settings.rindex("}") + 1])["OPTIONS"]
    ends = [v for n in networks for at in (0, -1) for v in decades(n["gradients"][at]) if math.isfinite(v)]
    reach = max(-40.0, min([-1.0, *ends])), min(40.0, max([1.0, *ends]))
    parts = []
    for network, name in zip(networks, named(networks, options), strict=True):
        words = f"{name}: {in_words(network)}" if name else in_words(network)
        words = words[0].upper() + words[1:]
        parts.append(f'<span class="vg-still-net">{picture(network, reach)}<span>{escape(words)}</span></span>')
    return "".join(parts)


class Stills(Treeprocessor):
    """Puts a still after each paragraph that says what to watch."""

    def __init__(
        self, md: Markdown, library: Library, later: Callable[[str], str], report: Callable[[str, str], None]
    ) -> None:
        super().__init__(md)
        self.library, self.later, self.report = library, later, report

    def run(self, root: etree.Element) -> None:
        folder = self.library.root / ENGINE
        if not (folder / "engine.js").exists():
            return
        for parent in list(root.iter()):
            for place, paragraph in reversed(list(enumerate(parent))):
                if paragraph.tag == "p" and (paragraph.text or "").startswith(WORDS):
                    stills = [self.still(folder, a.get("href", "")) for a in paragraph.iter("a")]
                    for still in filter(None, reversed(stills)):
                        parent.insert(place + 1, still)

    def still(self, folder: Path, href: str) -> etree.Element | None:
        found = LINK.search(href)
        if not found:
            return None
        link = found[1].replace("&amp;", "&")
        sources = [observe.digest((folder / name).read_bytes()) for name in FILES]
        source = json.dumps([link, *sources, _own_digest()])
        try:
            drawn = self.library.store.derived("stills", source, lambda _: html(folder, link))
        except (ImportError, ValueError) as error:
            self.report(f"no still of what is to be watched: {error}", href)
            return None
        block = etree.Element("div", {"class": "vg-still"})
        picture = etree.SubElement(block, "a", {"href": href})
        picture.text = self.md.htmlStash.store(self.later(drawn))
        return block


@functools.cache
def _own_digest() -> str:
    return observe.digest(Path(__file__).read_bytes())


def register(md: Markdown, library: Library, later: Callable[[str], str], report: Callable[[str, str], None]) -> None:
    """Have stills made; `later` is asked for what stands in their place, `report` is told what fails, and where."""
    # after inline (20), so that links are there; before MkDocs (0) makes addresses of them
    md.treeprocessors.register(Stills(md, library, later, report), "vg-stills", 3)
