"""One stylesheet for the whole site: every further one keeps the reader waiting for a request of its own."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping

FOLDER = "assets"
URL = re.compile(r"""url\((["']?)(?!data:|https?:|[/#])([^)"']+)\1\)""")
COMMENT = re.compile(r"""("[^"]*"|'[^']*')|/\*.*?\*/\s*""", re.DOTALL)  # the first group is text, to be kept
INDENT = re.compile(r"\n\s+")
THEME = "assets/stylesheets/"  # where Material keeps its own
THEME_LINK = re.compile(rf'\s*<link rel="stylesheet" href="[^"]*{THEME}[^"]+">')

# Material stills every transition while a palette is set, which it does at the start of each page too: each element is
# styled twice more. Without that, links and code take an eighth of a second to follow the palette.
STILLING = re.compile(r"(?<![^{}])[^{}]*\[data-md-color-switching\][^{}]*\{[^{}]*\}")


def merge(sheets: Mapping[str, str]) -> tuple[str, str]:
    """The name and the text of one stylesheet made of several.

    sheets: texts by address in the site, in their order; what they refer to is found from `assets/` as well.
    The name changes with the text, so that no browser shows a new page in an old style.
    """
    text = "\n".join(_moved(css, posixpath.dirname(address)) for address, css in sheets.items())
    return f"{FOLDER}/site.{hashlib.sha256(text.encode()).hexdigest()[:8]}.css", text


def without_theme_links(html: str) -> str:
    """A page that no longer asks for the theme's own stylesheets."""
    head, end, body = html.partition("</head>")
    return THEME_LINK.sub("", head) + end + body


def _moved(css: str, folder: str) -> str:
    def moved(match: re.Match[str]) -> str:
        return f"url({match[1]}{posixpath.relpath(posixpath.join(folder, match[2]), FOLDER)}{match[1]})"

    short = INDENT.sub("\n", COMMENT.sub(lambda match: match[1] or "", css))
    return URL.sub(moved, STILLING.sub("", short))
