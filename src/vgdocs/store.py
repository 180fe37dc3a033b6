"""Records on disk: one file a measurement, named by its keys, written aside and renamed.

Records are content-addressed, so those of several machines are merged by copying files together.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from filelock import FileLock

from vgdocs.record import Keys, Record

log = logging.getLogger(__name__)


class StoreError(Exception):
    """The store can't be written to."""


class Store:
    """The folder of records, usually `.vgdocs/` beside `mkdocs.yml`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, keys: Keys) -> Record | None:
        """The record of this measurement in this environment, or None; a damaged one counts as none."""
        return self._read(self._path(name, keys))

    def newest(self, name: str, keys: Keys) -> Record | None:
        """The newest record of this measurement in any environment."""
        paths = self.folder.glob(f"records/{name}/{keys.measure[:20]}-*.json")
        for path in sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True):
            if record := self._read(path):
                return record
        return None

    def save(self, record: Record) -> None:
        """Write a record so that no reader ever sees half of it; raises StoreError if the disk won't have it."""
        path = self._path(record.name, record.keys)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(record.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise StoreError(f"the record of {record.name} can't be kept in {self.folder}: {error}") from None

    def lock(self, name: str) -> FileLock:
        """One lock a figure, so that two builds don't measure it twice; raises StoreError if it can't be made."""
        folder = self.folder / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"nothing can be kept in {self.folder}: {error}") from None
        return FileLock(folder / f"{name}.lock")

    def _path(self, name: str, keys: Keys) -> Path:
        return self.folder / "records" / name / f"{keys.measure[:20]}-{keys.environment[:12]}.json"

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s is damaged and will be measured again: %s", path.name, error)
            return None
        named = f"{record.keys.measure[:20]}-{record.keys.environment[:12]}"
        return record if path.stem == named and path.parent.name == record.name else None
