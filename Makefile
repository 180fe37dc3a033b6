# The commands of this project; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
NPM := $(shell command -v npm 2>/dev/null)
SEEDS := 101..110 # that no claim was tuned on

export NO_MKDOCS_2_WARNING := 1 # Material's notice about its own future, at each start

.DEFAULT_GOAL := help
.PHONY: help serve build offline speed test coverage check-all lint format deploy reproduce clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

serve: $(VENV)/.site ## measure the figures and serve the site on http://localhost:8000
	$(BIN)/mkdocs serve --livereload

build: $(VENV)/.site ## build the site strictly into site/ and check it
	$(BIN)/mkdocs build --strict
	$(BIN)/vgdocs check site

offline: $(VENV)/.site ## build a copy of the site to unzip and open without a server: build/offline.zip
	rm -rf build/offline build/offline.zip
	OFFLINE=true VERSIONS=false SITE_URL= $(BIN)/mkdocs build --strict --site-dir build/offline/vanishing-gradient
	$(BIN)/python -m zipfile -c build/offline.zip build/offline/vanishing-gradient
	@echo "build/offline.zip is ready; open index.html in the folder that it unpacks to"

speed: $(VENV)/.test ## measure every page: bytes, paints, shifts, Lighthouse; ARGUMENTS="--help" tells more
	$(BIN)/python scripts/speed.py $(ARGUMENTS)

test: $(VENV)/.test ## measure the figures and run all tests but the slow ones, in a random order
	$(BIN)/vgdocs run
	$(BIN)/python -m pytest --numprocesses 2 --shuffle new

coverage: $(VENV)/.test ## list the lines and branches of the package that no test enters; build/coverage/html shows them
	$(BIN)/vgdocs run
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m "not slow and not browser"
	$(BIN)/python -m coverage combine --quiet
	@rm -f build/coverage/data.* # of processes that were killed while they wrote
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report

check-all: $(VENV)/.test test ## that, the slow tests, and every claim on ten seeds it was not tuned on
	$(BIN)/vgdocs run --seed $(SEEDS)
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test $(if $(NPM),node_modules/.package-lock.json) ## style, formatting and types, of the JavaScript too
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(if $(NPM),npm run --silent check,@echo "The JavaScript was not checked: npm is not installed"; test -z "$$CI")

format: $(VENV)/.test ## mend what can be mended mechanically
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

deploy: $(VENV)/.site ## publish a version on the branch gh-pages: make deploy VERSION=1.0 (or VERSION=dev)
	@$(BIN)/python scripts/deploy.py "$(VERSION)"

reproduce: $(VENV)/bin/python ## measure a release's figures anew and compare: make reproduce VERSION=1.0
	@$(BIN)/python scripts/reproduce.py "$(VERSION)" $(ARGUMENTS)

clean: ## remove the built site and all measurements
	rm -rf site build .vgdocs

$(VENV)/.site: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the site's tools (PyTorch among them; this takes a minute or two) ..."
	$(PIP) -e '.[site,experiments]' -c constraints.txt
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the site and its tests need (PyTorch among them; this takes a minute or two) ..."
	$(PIP) -e '.[site,experiments,test]' -c constraints.txt
	@touch $@ $(VENV)/.site

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
