"""The figures of a project with their records, in which pages, the command line and pytest look things up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vgdocs.engine import drift, observe
from vgdocs.engine.figure import Claim, Figure, FigureError, SettingError, find, suggest
from vgdocs.engine.numbers import Formatted, Number, fill, format_number
from vgdocs.engine.record import Keys, Record, Verdict, make_keys
from vgdocs.engine.store import Store


class CitationError(Exception):
    """A page asks for something that isn't there."""


@dataclass
class Entry:
    """One figure: its script, and its record or what went wrong. With neither, it is still to be measured."""

    name: str
    figure: Figure | None = None
    record: Record | None = None
    error: FigureError | None = None

    @property
    def numbers(self) -> Mapping[str, Number]:
        return self.record.numbers if self.record else {}

    @property
    def title(self) -> str:
        """The finding, with its numbers filled in."""
        return fill(self.figure.title, self.numbers) if self.figure and self.record else self.name

    def verdict(self, claim: Claim) -> Verdict | None:
        """The outcome of a claim; None if it couldn't be judged on this record."""
        verdicts = self.record.verdicts if self.record else ()
        return next((v for v in verdicts if v.name == claim.name), None)

    @property
    def failed(self) -> list[tuple[Claim, Verdict]]:
        judged = [(claim, self.verdict(claim)) for claim in (self.figure.claims if self.figure else ())]
        return [(claim, verdict) for claim, verdict in judged if verdict and not verdict.passed]


@dataclass
class Library:
    """All figures of a project.

    root: the folder of mkdocs.yml. `VGDOCS_STORE` names another folder for the records, and
    `VGDOCS_RUN=never` takes the newest record there is of each script and runs nothing.
    """

    root: Path
    figures: str = "figures"  # the folder of the scripts, relative to the root
    time_limit: float | None = None  # seconds that a figure may take; the runner's own if none is given
    entries: dict[str, Entry] = field(default_factory=dict)
    failures: dict[str, FigureError] = field(default_factory=dict, repr=False)  # by the script's key

    @property
    def folder(self) -> Path:
        return self.root / self.figures

    @property
    def store(self) -> Store:
        return Store(Path(os.environ.get("VGDOCS_STORE") or self.root / ".vgdocs"), self.root)

    @property
    def plots(self) -> dict[str, dict[str, Any]]:
        """The plots of the figures that have been measured, by name."""
        return {name: entry.record.plot for name, entry in self.entries.items() if entry.record}

    def refresh(self, names: Iterable[str] | None = None, *, seed: int | None = None, **options: Any) -> None:
        """Read the scripts anew and bring their records up to date, as `sample` does for one seed."""
        entries = self.sample(names, [seed], **options)[seed]
        self.entries = entries if names is None else {**self.entries, **entries}

    def sample(
        self,
        names: Iterable[str] | None,
        seeds: Iterable[int | None],
        *,
        device: str = "cpu",
        run: bool = True,
        **options: Any,
    ) -> dict[int | None, dict[str, Entry]]:
        """The figures measured with each of the seeds, None for each script's own.

        With `run` false it is only looked what is there. The `options` are the runner's. A script that failed is run
        again only when something it depends on has changed. Raises CitationError for a name that no script has,
        SettingError for a variable that makes no sense.
        """
        figures, errors = find(self.folder)
        if names is not None:
            names = list(names)
            for name in names:
                if name not in figures and name not in errors:
                    raise CitationError(f"there is no figure {name!r}{suggest(name, [*figures, *errors])}")
            figures = {name: figure for name, figure in figures.items() if name in names}
            errors = {name: error for name, error in errors.items() if name in names}
        known: dict[tuple[int | None, str], Record | FigureError | None] = {
            (seed, name): self._known(figure, make_keys(figure, seed, device))
            for seed in seeds
            for name, figure in figures.items()
        }
        stale = [key for key, outcome in known.items() if outcome is None]
        if run and stale:
            from vgdocs.engine import runner  # it loads what only a build that measures needs

            tasks = [runner.Task(figures[name], seed, device) for seed, name in stale]
            options = {"time_limit": self.time_limit, "seconds": self.accepted_seconds(), **options}
            made = runner.run(tasks, self.store, **options)
            known |= dict(zip(stale, made, strict=True))
            failed = {task.keys.script: error for task, error in zip(tasks, made, strict=True)}
            self.failures |= {key: error for key, error in failed.items() if isinstance(error, FigureError)}
        known |= {(seed, name): error for seed in seeds for name, error in errors.items()}
        names = sorted({*figures, *errors})
        return {seed: {name: _entry(name, figures.get(name), known[seed, name]) for name in names} for seed in seeds}

    def accepted(self) -> drift.Content:
        """The numbers as they were last accepted."""
        path = self.root / drift.ACCEPTED
        return drift.load(str(path), self.root) if path.exists() else {"figures": {}}

    def accepted_seconds(self) -> dict[str, float]:
        """The processor seconds that each figure took when its numbers were last accepted."""
        try:
            return {name: figure.get("seconds", 1.0) for name, figure in self.accepted()["figures"].items()}
        except drift.DriftError:  # told where numbers are compared: here only an order depends on it
            return {}

    def inputs(self) -> list[Path]:
        """The files and folders that the figures were seen to read, for a server to watch."""
        seen = [known.inputs for entry in self.entries.values() if (known := entry.record or entry.error)]
        return sorted({path for inputs in seen for path in observe.files(inputs, self.root)})

    def figure(self, name: str) -> Entry:
        """The entry of a figure; raises CitationError, naming the nearest figures, if there is none."""
        if name not in self.entries:
            raise CitationError(f"there is no figure {name!r}{suggest(name, self.entries)}")
        return self.entries[name]

    def number(self, figure: str, number: str, spec: str) -> tuple[Number, Formatted] | None:
        """A cited number and how it reads; None while it is still to be measured. Raises CitationError."""
        entry = self.figure(figure)
        if entry.error:
            raise CitationError(f"{figure} has no numbers: {entry.error.message}")
        if not entry.record:
            return None
        if number not in entry.numbers:
            raise CitationError(f"{figure} measures no number {number!r}{suggest(number, entry.numbers)}")
        value = entry.numbers[number]
        try:
            return value, format_number(value, spec)
        except ValueError as error:
            raise CitationError(str(error)) from None

    def rows(self, name: str) -> list[dict[str, Any]] | None:
        """A list of dictionaries that a figure measures, by `figure.key`; None before it is measured.

        Raises CitationError where there is none.
        """
        figure, _, key = name.partition(".")
        entry = self.figure(figure)
        if entry.error:
            raise CitationError(f"{figure} has no rows: {entry.error.message}")
        if not entry.record:
            return None
        rows = entry.record.measured.get(key)
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise CitationError(f"{figure} measures no rows {key!r}: a list of dictionaries, one a row")
        return rows

    def times(self) -> dict[str, float]:
        """Processor seconds of measuring by figure, the slowest first."""
        seconds = {entry.name: entry.record.seconds for entry in self.entries.values() if entry.record}
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))

    def summary(self) -> dict[str, Any]:
        """The content of numbers.json, the site's stable interface."""
        records = {name: entry.record for name, entry in self.entries.items() if entry.record}
        versions = {"vgdocs": version("vgdocs")}
        for record in records.values():
            versions |= record.versions
        figures = {name: _summary(self.entries[name]) for name in records}
        return {"versions": dict(sorted(versions.items())), "figures": figures}

    def _known(self, figure: Figure, keys: Keys) -> Record | FigureError | None:
        """The record or the failure that still stands; None for a figure that is to be measured."""
        if (setting := os.environ.get("VGDOCS_RUN", "")) not in ("", "never"):
            raise SettingError(f"VGDOCS_RUN is {setting!r}: it is never, or not set")
        never = setting == "never"
        made = self.store.find(figure.name, keys, any_versions=never)
        if made and made.keys == keys:
            return made
        if never:
            # its claims may have changed since they were judged
            missing = FigureError(figure.path, "has no record, and VGDOCS_RUN=never forbids to make one")
            return replace(made, verdicts=()) if made else missing
        error = self.failures.get(keys.script)
        return error if error and observe.hold(error.inputs, self.root) else None


def _entry(name: str, figure: Figure | None, outcome: Record | FigureError | None) -> Entry:
    if isinstance(outcome, FigureError):
        return Entry(name, figure, error=outcome)
    entry = Entry(name, figure, outcome)
    if figure and outcome:
        sentences = [("the finding", 1, figure.title), *((c.name, c.line, c.sentence) for c in figure.claims)]
        for what, line, sentence in sentences:
            try:
                fill(sentence, outcome.numbers)
            except KeyError as error:
                missing = str(error.args[0])
                message = f"{what} cites {{{missing}}}, which isn't measured{suggest(missing, outcome.numbers)}"
                return Entry(name, figure, error=FigureError(figure.path, message, line))
            except ValueError as error:
                return Entry(name, figure, error=FigureError(figure.path, f"{what}: {error}", line))
    return entry


def _summary(entry: Entry) -> dict[str, Any]:
    assert entry.figure
    assert entry.record
    claims = []
    for claim in entry.figure.claims:
        verdict = entry.verdict(claim)
        passed = verdict.passed if verdict else None
        claims.append({"name": claim.name, "sentence": fill(claim.sentence, entry.numbers), "passed": passed})
    return {
        "title": entry.title,
        "numbers": dict(entry.numbers),
        "tolerance": entry.figure.tolerance,
        "claims": claims,
        "seconds": entry.record.seconds,
    }
