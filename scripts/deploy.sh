#!/bin/sh
exec "${BIN:-.venv/bin}/python" "$(dirname "$0")/deploy.py" "$@"
