"""From records to pages, whoever builds them.

Its doors are the Markdown extension `vgdocs.markdown` (figure blocks and cited numbers), which works under any builder,
the MkDocs plugin `vgdocs`, which is comfort, and the pytest plugin, which makes each claim a test. `site_check` reads
what was built. Only `mkdocs` and `pytest` import the tools that they are named for.
"""
