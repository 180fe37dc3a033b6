"""What a rule says."""

from __future__ import annotations

from dataclasses import dataclass

SITE: str | None = None  # where the site can be read; pyproject's project.urls follow then, too


def address(page: str, site: str | None = SITE) -> str:
    """Where a page that is named relative to docs/ can be read: its address on the site, or its file in a checkout."""
    if not site:
        return f"docs/{page}"
    path, mark, anchor = page.partition("#")
    path = path.removesuffix(".md").removesuffix("README").removesuffix("index").strip("/")
    return "/".join(part for part in (site.rstrip("/"), path) if part) + "/" + mark + anchor


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    `symptom` is what shows ("data", "loss and output", "non-finite", "no gradient", "vanishing", "exploding", "dead
    units", "saturation", "no update", "large updates", "shrinking weights", "not learning"); `cause` is what the
    evidence points to, one of `rules.CAUSES`, "unknown" where it points to nothing. `since` is the first step at which
    it was seen; `consequences` are causes that would have been named but for this one, from which they follow, or
    symptoms whose cause would have been unknown.
    `alternatives` are causes that the same evidence fits, and `decide` is the measurement that would tell them apart.
    `page` is the page that shows it, relative to docs/.
    """

    symptom: str
    cause: str
    layers: tuple[str, ...]
    evidence: str
    remedy: str
    page: str
    since: int = 0
    consequences: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    decide: str = ""

    def __str__(self) -> str:
        return self.text()

    @property
    def by(self) -> str:
        """The cause, where it says more than the symptom."""
        return f"by {self.cause}" if self.cause not in ("unknown", self.symptom) else ""

    def text(self, site: str | None = SITE) -> str:
        """As lines of text; `site` is the address at which the page it names is read."""
        by = f", {self.by}" if self.by else ""
        after = f"\n  What follows from it: {', '.join(self.consequences)}." if self.consequences else ""
        other = f"\n  It can also be {' or '.join(self.alternatives)}: {self.decide}" if self.alternatives else ""
        where = address(self.page, site)
        return f"{self.symptom}{by}: {self.evidence}{other}{after}\n  Try: {self.remedy}\n  See: {where}"
