"""A page's weight: its HTML, which carries the plots and posters of its figures, and the files that it embeds."""

from __future__ import annotations

import re
from collections.abc import Callable

MB = 1_000_000
FIGURE = re.compile(r'<figure\b[^>]*\bid="fig-(\w+)".*?</figure>', re.DOTALL)
EMBEDDED = re.compile(r'<(?:img|video|audio|source|track|iframe|embed|object)\b[^>]*?\s(?:src|data)="(?!data:)([^"]+)"')


def weigh(html: str, size: Callable[[str], int]) -> dict[str, int]:
    """Bytes of a page's parts as they lie on the disk, the heaviest first.

    size: gives the bytes of an embedded file by its address in the page, 0 for one that isn't the site's own.
    """
    parts = {f"the figure {match[1]}": len(match[0].encode()) for match in FIGURE.finditer(html)}
    parts["the text"] = len(html.encode()) - sum(parts.values())
    parts |= {address: size(address) for address in set(EMBEDDED.findall(html))}
    return dict(sorted(parts.items(), key=lambda part: (-part[1], part[0])))


def too_heavy(parts: dict[str, int], limit: float) -> str:
    """The message about a page that weighs more than `limit` MB; empty if it doesn't."""
    total = sum(parts.values())
    if total <= limit * MB:
        return ""
    heaviest = ", ".join(f"{part} {bytes_ / MB:.1f} MB" for part, bytes_ in list(parts.items())[:3])
    return (
        f"it weighs {total / MB:.1f} MB, and {limit:g} MB is the limit ({heaviest}): show less, or raise page_limit "
        "of the plugin vgdocs in mkdocs.yml"
    )
