"""The pytest plugin: claims are tests.

`vgdocs_figures = figures` in pytest's settings has the claims of the scripts in that folder collected. Each is judged
where builds have it judged, in its figure's own process; one that fails tells its sentence, what was measured and
which page lines rely on it. Nothing is loaded before there is a claim: pytest starts this in every project.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vgdocs.engine.figure import Claim
    from vgdocs.engine.library import Entry, Library

LIBRARY = pytest.StashKey[Any]()
CITATIONS = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgdocs")
    group.addoption("--vgdocs-seed", type=int, help="measure with this seed instead of each script's own")
    parser.addini("vgdocs_figures", "the folder of figure scripts whose claims are tests", default="")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    folder = parent.config.getini("vgdocs_figures")
    if not folder or file_path.suffix != ".py" or file_path.name.startswith("_"):
        return None
    if not file_path.is_relative_to(parent.config.rootpath / folder):
        return None
    return Script.from_parent(parent, path=file_path)


class Script(pytest.File):
    """A figure script, whose claims are read from its text without running it."""

    def collect(self) -> Iterable[pytest.Item]:
        from vgdocs.engine.figure import FigureError, read

        try:
            figure = read(self.path)
        except FigureError as error:
            raise self.CollectError(str(error)) from None
        for claim in figure.claims:
            yield Asserted.from_parent(self, name=claim.name, claim=claim)


class ClaimError(Exception):
    """A claim doesn't hold, or couldn't be judged; its text is told as it is."""


class Asserted(pytest.Item):
    """One claim, put to the measurement that there is, or that is made now."""

    def __init__(self, *, claim: Claim, **options: Any) -> None:
        super().__init__(**options)
        self.claim = claim

    def runtest(self) -> None:
        entry = self._entry()
        if entry.error:
            raise ClaimError(str(entry.error))
        verdict = entry.verdict(self.claim)
        if verdict is None:
            raise ClaimError("the claim was edited since it was judged, and VGDOCS_RUN=never forbids to judge it anew")
        if not verdict.passed:
            from vgdocs.pages.citations import Scanner
            from vgdocs.pages.report import failed_claim

            stash, root = self.config.stash, self.config.rootpath
            if CITATIONS not in stash:
                scanner = Scanner.of_site(root)
                stash[CITATIONS] = scanner.scan_folder(root / scanner.docs)
            raise ClaimError(failed_claim(entry, self.claim, verdict, stash[CITATIONS]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, ClaimError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.claim.line - 1, f"{self.path.stem}: {self.claim.name}"

    def _entry(self) -> Entry:
        stash = self.config.stash
        if LIBRARY not in stash:
            from vgdocs.pages import settings

            root = self.config.rootpath
            stash[LIBRARY] = settings.read(root).library(root)
        library: Library = stash[LIBRARY]
        name = self.path.stem
        if name not in library.entries:
            library.refresh([name], seed=self.config.getoption("--vgdocs-seed"))
        return library.entries[name]
