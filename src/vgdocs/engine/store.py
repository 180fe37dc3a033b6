"""Records on disk: one file a measurement, named by its keys, written aside and renamed.

Records are content-addressed, so those of several machines are merged by copying files together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vgdocs.engine import observe
from vgdocs.engine.record import Keys, Record

if TYPE_CHECKING:
    from filelock import FileLock

KEPT = 8  # records of one measurement, with other inputs or versions

log = logging.getLogger(__name__)


class StoreError(Exception):
    """The store can't be written to."""


class Store:
    """The folder of records, usually `.vgdocs/` in `root`, the folder of `mkdocs.yml`."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder, self.root = folder, root or folder.parent

    def find(self, name: str, keys: Keys, any_versions: bool = False) -> Record | None:
        """The newest record of this measurement that stands here, or None; a damaged one counts as none.

        With `any_versions`, one that other versions of Python and the libraries measured will do.
        """
        found = [
            record
            for record in map(self._read, self._paths(name, keys))
            if record and (any_versions or record.is_of_these_versions) and observe.hold(record.inputs, self.root)
        ]
        return max(found, key=lambda record: (record.keys == keys, record.made), default=None)

    def seeds(self, name: str) -> set[int]:
        """The seeds with which a figure was ever measured, as far as records of it are left."""
        records = map(self._read, self.folder.glob(f"records/{name}/*.json"))
        return {record.seed for record in records if record}

    def save(self, record: Record) -> None:
        """Keep a record; raises StoreError if the disk won't have it."""
        path = self.folder / "records" / record.name / f"{record.place}.json"
        self.write(path, record.to_json().encode(), f"the record of {record.name}")
        others = [(made.made, path) for path in self._paths(record.name, record.keys) if (made := self._read(path))]
        for _, path in sorted(others)[:-KEPT]:
            path.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes, what: str) -> None:
        """Write a file so that no reader ever sees half of it; raises StoreError, saying what can't be kept."""
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise StoreError(f"{what} can't be kept in {self.folder}: {error}") from None

    def derived(self, kind: str, source: str, make: Callable[[str], str]) -> str:
        """The text that `make` makes of another, kept for the next build; a damaged one is made again."""
        path = self.folder / kind / f"{observe.digest(source.encode())}.html"
        made = self.read_text(path)
        if made is None:
            made = make(source)
            with contextlib.suppress(StoreError):
                self.write_text(path, made, kind)
        return made

    def read_text(self, path: Path) -> str | None:
        """A text that `write_text` wrote; None if it isn't there, or isn't whole."""
        try:
            digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, ValueError):
            return None
        return text if digest == observe.digest(text.encode()) else None

    def write_text(self, path: Path, text: str, what: str) -> None:
        """Write a text with its digest; raises StoreError, as `write` does."""
        self.write(path, f"{observe.digest(text.encode())}\n{text}".encode(), what)

    def lock(self, name: str) -> FileLock:
        """One lock a figure, so that two builds don't measure it twice; raises StoreError if it can't be made."""
        from filelock import FileLock  # which a build that measures nothing needn't load

        folder = self.folder / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"nothing can be kept in {self.folder}: {error}") from None
        return FileLock(folder / f"{name}.lock")

    def _paths(self, name: str, keys: Keys) -> list[Path]:
        return list(self.folder.glob(f"records/{name}/{keys.measure[:20]}-*.json"))

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is damaged and will be measured again: %s", path.name, error)
            return None
        return record if path.stem == record.place and path.parent.name == record.name else None
