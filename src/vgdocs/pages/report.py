"""The problems in the figures and pages of a project, told once and in full."""

from __future__ import annotations

from collections.abc import Iterable

from vgdocs.engine.figure import Claim
from vgdocs.engine.library import Entry, Library
from vgdocs.engine.numbers import fill
from vgdocs.engine.record import Verdict, lookup
from vgdocs.pages.citations import Citation, Problem, Scanner, locate

MAX_ITEMS = 6  # of a series, when a failed claim shows what it read


def report(library: Library, problems: Iterable[Problem] = ()) -> list[str]:
    """One paragraph for each script that failed, claim that doesn't hold and citation that can't be resolved."""
    scanner = Scanner.of_site(library.root)
    docs = library.root / scanner.docs
    paragraphs = [str(entry.error) for entry in library.entries.values() if entry.error]
    failed = [(entry, claim, verdict) for entry in library.entries.values() for claim, verdict in entry.failed]
    citations = scanner.scan_folder(docs) if failed else []
    paragraphs += [failed_claim(entry, claim, verdict, citations) for entry, claim, verdict in failed]
    for problem in dict.fromkeys(problems):
        page = f"{scanner.docs}/{problem.page}"
        places = [f"{page}:{line}" for line in locate(problem, docs, scanner)]
        elsewhere = f", which gets {problem.text.strip()} from a macro or another file" if problem.text else ""
        paragraphs.append(f"{', '.join(places) or page + elsewhere}: {problem.message}")
    return paragraphs


def failed_claim(entry: Entry, claim: Claim, verdict: Verdict, citations: Iterable[Citation]) -> str:
    """The claim's sentence, the assertion that failed, what it read, and the page lines that rely on it."""
    assert entry.figure
    assert entry.record
    folder = entry.figure.path.parent.name
    lines = [f"{folder}/{entry.figure.path.name}:{claim.line}: {claim.name} fails on this measurement"]
    lines.append(f"    sentence: {fill(claim.sentence, entry.numbers)}")
    lines += [f"    {line}" for line in verdict.message.splitlines()]
    lines += [f"    measured: {name} = {_show(lookup(entry.record.measured, name))}" for name in verdict.read]
    names = {None, *(name.removesuffix(".median") for name in verdict.read)}  # None: the figure itself is shown
    cited = dict.fromkeys(c.place for c in citations if c.figure == entry.name and c.number in names)
    lines.append(f"    cited at: {', '.join(cited) or 'no page'}")
    return "\n".join(lines)


def _show(value: object) -> str:
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        return f"[{', '.join(map(repr, value[:MAX_ITEMS]))}, … {len(value)} in all]"
    return repr(value)
