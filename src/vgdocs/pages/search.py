"""Lets the site's search find a figure by its finding and a claim by its words.

Material divides a page at its headings, so that whoever looks for a finding is led to the section around the figure.
Here each figure and each claim becomes an entry of its own, with its own address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

FIGURE = re.compile(r'<figure\b[^>]*\bid="fig-(\w+)"')


def figures(html: str) -> list[str]:
    """The names of the figures that a page shows."""
    return FIGURE.findall(html)


def extend(index: Path, shown: Mapping[str, Iterable[str]], summary: Mapping[str, Any]) -> None:
    """Add entries to a search_index.json, if there is one.

    `shown` has the figures of each page, by the page's address; `summary` is what numbers.json holds.
    """
    if not index.is_file():
        return
    content = json.loads(index.read_text("utf-8"))
    for address, names in shown.items():
        for name in names:
            if name in summary["figures"]:
                content["docs"] += _entries(address, name, summary["figures"][name])
    index.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False), "utf-8")


def _entries(address: str, name: str, figure: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    title = f"Figure: {_plain(figure['title'])}"
    yield {"location": f"{address}#fig-{name}", "title": title, "text": name.replace("_", " ")}
    for claim in figure["claims"]:
        anchor = f"claim-{name}-{claim['name'].removeprefix('claim_')}"
        # its words are text, not title: a title outweighs every page's text
        yield {"location": f"{address}#{anchor}", "title": "Claim, checked", "text": _plain(claim["sentence"])}


def _plain(sentence: str) -> str:
    return escape(sentence.replace("`", ""), quote=False)
