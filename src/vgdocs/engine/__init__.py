"""From scripts to records: runs a figure's script, judges its claims and keeps what was measured.

It knows nothing of pages, of who builds them or of gradients. Its door is `library.Library`: the figures of a project
with their records. `figure` says what a script is and `record` what is kept of a measurement.
"""
