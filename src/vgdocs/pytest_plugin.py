"""The pytest plugin: claims are tests.

pytest collects `claim_*` from figures/ by itself (see pyproject.toml). This gives each one its measurement as `m`,
and tells, when it fails, its sentence, what was measured and which page lines rely on it.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from vgdocs.citations import Citation
from vgdocs.figure import Claim
from vgdocs.library import Library
from vgdocs.record import Measured, Verdict
from vgdocs.report import failed_claim, site_scanner

LIBRARY = pytest.StashKey[Library]()
CITATIONS = pytest.StashKey[list[Citation]]()
MEASURED = pytest.StashKey[Measured]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgdocs")
    group.addoption("--vgdocs-seed", type=int, help="measure with this seed instead of each script's own")


@pytest.fixture
def m(request: pytest.FixtureRequest) -> Measured:
    """The measurement of the figure whose claim this is; measured now if there is no record yet."""
    library = _library(request.config)
    entry = library.entries.get(request.path.stem)
    if entry is None:
        library.refresh([request.path.stem], seed=request.config.getoption("--vgdocs-seed"))
        entry = library.entries[request.path.stem]
    if entry.error:
        pytest.fail(str(entry.error), pytrace=False)
    assert entry.record
    measured = Measured(entry.record.measured)
    request.node.stash[MEASURED] = measured
    return measured


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    measured = item.stash.get(MEASURED, None)
    if measured is not None and report.failed and report.when == "call":
        report.sections.append(("claim", _explain(item, measured, str(call.excinfo and call.excinfo.value))))
    return report


def _explain(item: pytest.Item, measured: Measured, message: str) -> str:
    entry = _library(item.config).entries[item.path.stem]
    assert entry.figure
    claim = next((c for c in entry.figure.claims if c.name == item.name), Claim(item.name, "", 0))
    stash, root = item.config.stash, item.config.rootpath
    citations = stash.setdefault(CITATIONS, [])
    if not citations:
        scanner = site_scanner(root)
        citations += scanner.scan_folder(root / scanner.docs)
    verdict = Verdict(claim.name, False, message.partition("\n")[0], tuple(measured.read))
    return failed_claim(entry, claim, verdict, citations)


def _library(config: pytest.Config) -> Library:
    if LIBRARY not in config.stash:
        config.stash[LIBRARY] = Library(Path(config.rootpath))
    return config.stash[LIBRARY]
