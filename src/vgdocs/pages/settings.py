"""A project's settings in its mkdocs.yml, read without MkDocs, so that every command keeps to it.

The options of the plugin, with what holds where none is given:

    plugins:
      - vgdocs:
          figures: figures  # the folder of the scripts, relative to mkdocs.yml
          time_limit: 600   # seconds that a figure may take before it counts as hanging
          page_limit: 2     # MB that a page may weigh: its HTML before compression, the images and media it embeds
          posters: auto     # draw them if there is a browser; `require` one, or `never` draw any

VGDOCS_TIME_LIMIT and VGDOCS_POSTERS in the environment overrule the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from vgdocs.engine.figure import SettingError, suggest
from vgdocs.engine.library import Library

POSTERS = ("auto", "require", "never")


@dataclass(frozen=True)
class Settings:
    """The plugin's options; raises SettingError for one that makes no sense."""

    figures: str = "figures"
    time_limit: float = 600.0
    page_limit: float = 2.0
    posters: str = "auto"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """From options as mkdocs.yml gives them; also raises SettingError for one that there isn't."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise SettingError(f"the plugin vgdocs has no option {name!r}{suggest(str(name), known)}")
        return cls(**options)

    def __post_init__(self) -> None:
        folder = self.figures
        if not isinstance(folder, str) or not folder or Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise SettingError(_wrong("figures", folder, "a folder inside the project, relative to mkdocs.yml"))
        for name, what in (("time_limit", "seconds, above zero"), ("page_limit", "a size in MB, above zero")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise SettingError(_wrong(name, value, what))
        if self.posters not in POSTERS:
            raise SettingError(_wrong("posters", self.posters, " or ".join(POSTERS)))
        if (asked := os.environ.get("VGDOCS_POSTERS") or "auto") not in POSTERS:
            raise SettingError(f"VGDOCS_POSTERS is {asked!r}: it takes {' or '.join(POSTERS)}")

    def library(self, root: Path) -> Library:
        """The project's figures, as these settings have them."""
        return Library(root, figures=self.figures, time_limit=self.time_limit)


def _wrong(name: str, value: object, what: str) -> str:
    return f"the option {name} of the plugin vgdocs is {value!r}: it takes {what}"


def read(root: Path) -> Settings:
    """The settings of the project in a folder; the usual ones where it has no mkdocs.yml or doesn't name the plugin."""
    plugins = mkdocs_yml(root).get("plugins") or ()
    for plugin in [plugins] if isinstance(plugins, dict) else plugins:
        if isinstance(plugin, dict) and "vgdocs" in plugin:
            return Settings.of(plugin["vgdocs"] or {})
    return Settings()


def mkdocs_yml(root: Path) -> dict[str, Any]:
    """The content of a project's mkdocs.yml, without what its tags name; empty if there is none.

    Raises SettingError where it is no YAML.
    """
    path = root / "mkdocs.yml"
    try:
        content = yaml.load(path.read_bytes(), Loader=_TolerantLoader) if path.is_file() else None
    except yaml.YAMLError as error:
        raise SettingError(f"{path} is no YAML: {error}") from None
    return content if isinstance(content, dict) else {}


class _TolerantLoader(yaml.SafeLoader):
    """Reads mkdocs.yml without importing what its tags name."""


_TolerantLoader.add_multi_constructor("", lambda loader, suffix, node: None)
