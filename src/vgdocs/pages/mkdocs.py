"""The MkDocs plugin: runs what is stale, tells all errors at once, writes numbers.json.

The Markdown extension does the work; this is comfort. Under `mkdocs serve` the pages are up at once: figures are
measured in the background and appear as they finish, and an error is shown in its page while the server lives on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urljoin, urlsplit

import click
from mkdocs.config.base import Config
from mkdocs.config.config_options import Type
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin, event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from vgdocs.engine import observe
from vgdocs.engine.figure import FigureError, SettingError
from vgdocs.engine.library import Entry, Library
from vgdocs.engine.numbers import count
from vgdocs.engine.progress import bar
from vgdocs.engine.record import Record
from vgdocs.engine.store import StoreError
from vgdocs.pages import notebook, search, site_assets, stylesheet, weight
from vgdocs.pages.browser import BrowserError
from vgdocs.pages.markdown import Context
from vgdocs.pages.posters import EndlessError
from vgdocs.pages.report import report
from vgdocs.pages.settings import Settings

if TYPE_CHECKING:
    from jinja2 import Environment
    from mkdocs.livereload import LiveReloadServer

log = logging.getLogger("mkdocs.plugins.vgdocs")
EXTENSION = "vgdocs.markdown"
LATE = re.compile(r"<!--vg-late-\d+-->")
CARD = "assets/cards/{}.png"  # of a figure; overrides/main.html names it where a link to the page is shared
PATIENCE = 2.0  # seconds that a rebuild under serve waits for what was edited, if it is measured that soon
LOOK = 0.5  # seconds between looks at what the site is made of
PAUSE = 4  # times as long as it took to build the site, before what was measured meanwhile has it built anew


class Options(Config):
    """As `settings` describes and checks them."""

    figures = Type(str, default=Settings.figures)
    time_limit = Type((int, float), default=Settings.time_limit)
    page_limit = Type((int, float), default=Settings.page_limit)
    posters = Type(str, default=Settings.posters)


class VgdocsPlugin(BasePlugin[Options]):
    """`plugins: [vgdocs]`"""

    context: Context
    serving = False
    _measuring = False  # whether figures are being measured in the background

    def __init__(self) -> None:
        self._measured = threading.Event()  # what was stale when the latest measuring began has been measured
        self._taken = threading.Event()  # and the build that waited for it has it
        self._news = threading.Event()  # something was measured that no build has looked at yet
        self._began = self._ended = 0.0  # the latest build, by the monotonic clock
        self._shown: dict[str, list[str]] = {}  # the figures on each page, by its address
        self._cards: list[tuple[Page, Entry]] = []  # each page's first figure, to show where a link is shared
        self._files = Files([])
        self._signal = Path()
        self._watched: list[Path] = []  # what MkDocs watches, and what is written by builds
        self._stamps: dict[Path, tuple[int, int]] = {}  # what the site is made of besides, and in which state
        self._over = threading.Event()  # the server shuts down
        self._loaded = self._refused = ""  # this package's code as it runs here, and a state of it that can't be loaded
        self._name = ""  # of the site, as text
        self._runs: Path | None = None  # of the labs, as mkdocs-jupyter keeps them, if it is there

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        if command == "gh-deploy":
            raise PluginError(
                "mkdocs gh-deploy would put this one build in place of every version that is published. "
                "Use: python scripts/deploy.py VERSION"
            )
        vars(self).pop("context", None)  # mkdocs keeps one plugin for all that a process builds
        self.serving, self._loaded = command == "serve", _code_digest()
        if self.serving and os.environ.get("VGDOCS_RUN") != "never":
            from vgdocs.engine import process

            with _told():
                process.warm_up()

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        root = Path(config.config_file_path).parent.resolve()
        with _told():
            options = Settings.of(self.config)
        if not hasattr(self, "context"):  # else a rebuild of a serve: a script that failed isn't run again for it
            self.context = Context(options.library(root), options.posters)
        config.mdx_configs.setdefault(EXTENSION, {})["context"] = self.context
        config.watch = [*config.watch, str(self.context.library.folder)]
        written = [config.site_dir, str(self.context.library.store.folder)]
        self._watched = [Path(os.path.abspath(path)) for path in [*config.watch, config.docs_dir, *written]]
        if self.serving and (code := _code_digest()) not in (self._loaded, self._refused):
            self._start_anew(code, config)
        if not config.use_directory_urls:
            # a copy for the file system, where Material's instant navigation keeps every script from starting
            features = config.theme.get("features") or []
            config.theme["features"] = [feature for feature in features if feature != "navigation.instant"]
        # in the site's folder, which can be written to even where the store can't; a build leaves dot files alone
        self._signal = Path(config.site_dir) / ".measured"
        self._prepare_labs(config)
        # those that mkdocs.yml doesn't name; first, so that a project's own style has the last word
        config.extra_css[:0] = [name for name in site_assets.STYLES if name not in config.extra_css]
        scripts = [str(script) for script in config.extra_javascript]
        config.extra_javascript[:0] = [name for name in site_assets.SCRIPTS if name not in scripts]
        self._name = config.site_name
        for name in ("site_name", "site_description", "site_author"):
            if config[name]:
                config[name] = escape(config[name])
        return config

    def on_serve(self, server: LiveReloadServer, /, *, config: MkDocsConfig, builder: Any) -> LiveReloadServer:
        self._follow(observe.PACKAGE.rglob("*.py"))
        self._touch()
        server.watch(str(self._signal))
        threading.Thread(target=self._look_out, daemon=True).start()
        return server

    def on_pre_build(self, *, config: MkDocsConfig) -> None:
        self._began = time.monotonic()
        self.context.problems.clear()
        self.context.late = {}
        self._shown.clear()
        self._cards.clear()
        library = self.context.library
        if not self.serving:
            posters = self.context.posters
            posters.keep()
            with _told(), bar() as tell:

                def progress(name: str, outcome: Record | FigureError, done: int, total: int) -> None:
                    tell(name, outcome, done, total)
                    if isinstance(outcome, Record):
                        posters.begin({name: outcome.plot})

                library.refresh(progress=progress, started=posters.expect)
            with _told():
                self.context.draw_posters(library.plots)
            return
        self._news.clear()
        took = library.times()
        with _told():
            library.refresh(run=False)
        self._follow(library.inputs())
        waiting = [e.name for e in library.entries.values() if not e.record and not e.error]
        if (waiting or self._undrawn(library)) and not self._measuring:
            self._start_measuring(waiting)
            quick = sum(took.get(name, 0) for name in waiting) < PATIENCE
            if waiting and quick and self._ended and self._measured.wait(PATIENCE):
                self._taken.set()
                library.refresh(run=False)
                self._follow(library.inputs())

    def on_build_error(self, *, error: Exception) -> None:
        if hasattr(self, "context"):
            self.context.posters.close()

    def on_shutdown(self) -> None:
        self._news.clear()
        self._over.set()

    def on_files(self, files: Files, /, *, config: MkDocsConfig) -> Files:
        for address, path in site_assets.served().items():
            if not files.get_file_from_path(address):  # else the project has one of its own
                files.append(File.generated(config, address, abs_src_path=str(path)))
        return files

    @event_priority(-50)  # after mkdocs-jupyter has replaced the page's render
    def on_pre_page(self, page: Page, /, *, config: MkDocsConfig, files: Files) -> Page:
        """Make a page that fails a problem in the summary and a box in its place, finish a lab, follow what is read."""
        render = page.render
        is_lab = page.file.src_uri.endswith((".py", ".ipynb"))
        context = self.context

        def guarded(config: MkDocsConfig, files: Files) -> None:
            context.page = page.file.src_uri
            watch = observe.Watch(context.library.root)
            try:
                with watch if self.serving and not is_lab else contextlib.nullcontext():
                    render(config, files)
                if is_lab:
                    self._finish(page, files)
            except Exception as error:
                log.debug("%s fails", context.page, exc_info=True)
                lines = click.unstyle(str(error)).strip().splitlines() or [type(error).__name__]
                what = "the lab" if is_lab else "the page"
                context.report(f"{what} fails: {lines[-1]}")
                text = escape("\n".join(lines))
                title = f"<p><strong>{what.capitalize()} fails.</strong></p>"
                page.content = f'<div class="vg-error" role="alert">{title}<pre>{text}</pre></div>'
            self._follow(observe.files(watch.inputs, watch.root))

        page.render = guarded  # type: ignore[method-assign]
        return page

    def on_page_markdown(self, markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
        self.context.page = page.file.src_uri
        for name in ("title", "description"):  # which themes write as they stand
            if isinstance(page.meta.get(name), str):
                page.meta[name] = escape(page.meta[name])
        return markdown

    @event_priority(-50)  # after mkdocstrings has written its stylesheet
    def on_env(self, env: Environment, /, *, config: MkDocsConfig, files: Files) -> None:
        self._files = files
        themes = [file.src_uri for file in files.css_files() if file.src_uri.startswith(stylesheet.THEME)]
        sheets, others = {}, []
        for address in [*sorted(themes), *config.extra_css]:
            generated = Path(config.site_dir) / address
            if file := files.get_file_from_path(address):
                sheets[address] = file.content_string
            elif generated.is_file():
                sheets[address] = generated.read_text("utf-8")
            else:
                others.append(address)
        if sheets:
            name, text = stylesheet.merge(sheets)
            files.append(File.generated(config, name, content=text))
            config.extra_css = [name, *others]
        self._show_cards(config, files)

    def on_page_content(self, html: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> None:
        self._shown[page.url] = names = search.figures(html)
        entry = self.context.library.entries.get(names[0]) if names and not self.serving else None
        if entry and entry.record and self.context.posters.get(entry.record.plot):
            self._cards.append((page, entry))
            self.context.posters.begin_card(entry.name, (entry.title, entry.record.plot), self._name)

    @event_priority(100)  # before what rewrites the whole page: for minify our marks are comments, to be removed
    def on_post_page(self, output: str, /, *, page: Page, config: MkDocsConfig) -> str:
        late = self.context.late or {}
        html = stylesheet.without_theme_links(LATE.sub(lambda mark: late.get(mark[0], ""), output))

        def size(address: str) -> int:
            path = unquote(urlsplit(urljoin(f"/{page.url}", address)).path).lstrip("/")
            file = None if urlsplit(address).netloc else self._files.get_file_from_path(path)
            return len(file.content_bytes) if file else 0

        if message := weight.too_heavy(weight.weigh(html, size), self.config.page_limit):
            self.context.page = page.file.src_uri
            self.context.report(message)
        return html

    @event_priority(100)
    def on_post_template(self, output: str, /, *, template_name: str, config: MkDocsConfig) -> str:
        return stylesheet.without_theme_links(output)

    @event_priority(-50)  # after search has written its index, before offline makes a script of it
    def on_post_build(self, *, config: MkDocsConfig) -> None:
        self._ended = time.monotonic()
        self.context.posters.close()
        target = Path(config.site_dir) / "numbers.json"
        summary = self.context.library.summary()
        target.write_text(json.dumps(summary, indent=1, ensure_ascii=False), "utf-8")
        search.extend(Path(config.site_dir) / "search/search_index.json", self._shown, summary)
        self._seal_labs()
        paragraphs = report(self.context.library, self.context.problems)
        if not paragraphs:
            return
        text = f"{count(len(paragraphs), 'problem')} in figures and pages\n\n" + "\n\n".join(paragraphs)
        if not self.serving:
            raise PluginError(text)
        _complain(text)

    def _show_cards(self, config: MkDocsConfig, files: Files) -> None:
        """Give each page that shows a figure a picture for links to it."""
        findings = {entry.name: (entry.title, entry.record.plot) for _, entry in self._cards if entry.record}
        with _told():
            pictures = self.context.draw_cards(findings, self._name)
        for name, picture in pictures.items():
            files.append(File.generated(config, CARD.format(name), content=picture))
        for page, entry in self._cards:
            if entry.name in pictures:
                page.meta["vg_card"] = CARD.format(entry.name)

    def _undrawn(self, library: Library) -> bool:
        """Whether posters are missing that can be drawn."""
        return not self.context.without_posters and bool(self.context.posters.missing(library.plots.values()))

    def _follow(self, paths: Iterable[Path]) -> None:
        """Have the site built anew when one of these files changes, goes or comes back, wherever it lies."""
        for path in paths:
            if path not in self._stamps and not any(path.is_relative_to(folder) for folder in self._watched):
                self._stamps[path] = observe.stamp(path)

    def _look_out(self) -> None:
        while not self._over.wait(LOOK):
            for path, was in self._stamps.copy().items():
                if (now := observe.stamp(path)) != was:
                    self._stamps[path] = now
                    self._touch()

    def _start_anew(self, code: str, config: MkDocsConfig) -> None:
        """Put a server with the code as it is now in this one's place: Python goes on with what it has loaded."""
        self._refused = code
        modules = "import vgdocs.pages.mkdocs, vgdocs.pages.labs, vgdocs.engine.runner"
        tried = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, check=False)
        if tried.returncode:
            why = tried.stderr.strip()
            _complain(f"vgdocs was edited and can't be loaded; what was loaded before serves on\n\n{why}")
        elif os.name == "nt":  # where a process can't be replaced
            _complain("vgdocs was edited: start mkdocs serve again, to have the pages made by it")
        else:
            log.info("vgdocs was edited: starting anew")
            shutil.rmtree(config.site_dir, ignore_errors=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _touch(self) -> None:
        """Make `mkdocs serve` build anew: it watches this file."""
        with contextlib.suppress(OSError):  # the site's folder is gone: the server is shutting down
            self._signal.touch()

    def _start_measuring(self, waiting: list[str]) -> None:
        if waiting:
            log.info("measuring %s in the background: %s", count(len(waiting), "figure"), ", ".join(waiting))
        self._measuring = True
        self._measured.clear()
        self._taken.clear()
        threading.Thread(target=self._measure, daemon=True).start()

    def _measure(self) -> None:
        # a library of its own: the builds in the main thread read theirs meanwhile; failures are shared
        library = replace(self.context.library, entries={})

        def progress(name: str, outcome: Record | FigureError, done: int, total: int) -> None:
            log.info("%s %s (%d/%d)", name, "fails" if isinstance(outcome, FigureError) else "is measured", done, total)
            # the server answers no request while it builds, so most of the time it shouldn't
            if time.monotonic() - self._ended > PAUSE * (self._ended - self._began) > 0:
                self._touch()

        undrawn = True
        try:
            library.refresh(progress=progress)
            self._measured.set()
            undrawn = self._undrawn(library)
            self.context.draw_posters(library.plots)
        except BrowserError as error:
            self.context.without_posters = str(error)  # else the next build would try again, and so on
            _complain(str(error))
        finally:
            self._measuring = False
            if undrawn or not self._taken.wait(0.1):
                self._news.set()
        # the server starts to watch only after its first build, and may miss one touch
        while self._news.is_set():
            self._touch()
            time.sleep(1)

    def _prepare_labs(self, config: MkDocsConfig) -> None:
        """Give the labs' kernel our renderer, and their cache a name that changes with what they import."""
        folder = self.context.library.store.folder
        jupyter = config.plugins.get("mkdocs-jupyter")
        if not jupyter:
            return
        try:
            os.environ["IPYTHONDIR"] = str(notebook.install(folder / "ipython"))
        except OSError as error:
            _complain(f"the labs' figures can't be drawn: {error}")
        self._runs = folder / "labs" / _code_digest()
        jupyter.config["cache_dir"] = str(self._runs)
        for run in self._runs.glob("*.json"):  # what isn't as a build left it is made again
            if self.context.library.store.read_text(run.with_suffix(".whole")) != observe.digest(run.read_bytes()):
                run.unlink()

    def _seal_labs(self) -> None:
        """Note what the labs' runs are, to know them by."""
        with contextlib.suppress(StoreError):
            for run in self._runs.glob("*.json") if self._runs else ():
                digest = observe.digest(run.read_bytes())
                self.context.library.store.write_text(run.with_suffix(".whole"), digest, "a lab's run")

    def _finish(self, page: Page, files: Files) -> None:
        """Make of what mkdocs-jupyter has rendered one of our pages, with the notebook beside it."""
        # an HTML parser comes with it: a build that takes a second without labs would feel it
        from vgdocs.pages import labs

        context = self.context

        def resolve(source: str) -> str | None:
            file = files.get_file_from_path(source)
            return file.url_relative_to(page.file) if file else None

        def absolute(source: str) -> str | None:
            address = resolve(source)
            return urljoin(page.canonical_url, address) if address and page.canonical_url else None

        html = labs.slim(page.content or "")
        page.meta.setdefault("description", escape(labs.describe(html)))
        html = labs.typeset(html, context.report)
        html = labs.link(html, page.file.src_uri, resolve, context.report)
        plots = {f"{context.page}, plot {i}": plot for i, plot in enumerate(labs.plots(html), 1)}
        context.draw_posters(plots)
        html = labs.illustrate(html, context.posters.get)
        page.content = labs.offer(html, page.file.src_uri)
        lab = Path(page.file.abs_src_path or "")
        target = Path(page.file.abs_dest_path).with_name(f"{lab.stem}.ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(labs.notebook(lab.read_text("utf-8"), page.file.src_uri, absolute), "utf-8")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """End the build where a setting makes no sense, a plot is never done, or required posters can't be drawn."""
    try:
        yield
    except (SettingError, EndlessError) as error:
        raise PluginError(str(error)) from None
    except BrowserError as error:
        raise PluginError(f"posters are required: {error}") from None


def _code_digest() -> str:
    """A digest of this package's code."""
    return observe.digest(b"".join(path.read_bytes() for path in sorted(observe.PACKAGE.rglob("*.py"))))[:16]


def _complain(text: str) -> None:
    """Tell an error without ending the server: under `strict`, mkdocs counts what is logged and stops."""
    click.secho(f"ERROR    -  {text}\n", fg="red", err=True)
