"""A hook of MkDocs: the site's scripts travel without the comments and the indents that they are read with."""

import rjsmin
from jinja2 import Environment
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_env(env: Environment, /, *, config: MkDocsConfig, files: Files) -> None:
    for script in files.javascript_files():
        if not script.src_uri.endswith(".min.js"):
            files.remove(script)
            files.append(File.generated(config, script.src_uri, content=rjsmin.jsmin(script.content_string)))
