# Everything starts from a bare clone: `make demo` to look, `make test` to check. `make help` lists the rest.

PYTHON ?= python3
PORT   ?= 8888
BIN    := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-themes soak bench bundle lint screenshots fixtures families notebooks hosts docs test-docs dist test-newest constraints clean test-oldest snapshots

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready node_modules/.ready ## Python in .venv and the front end's packages in node_modules

demo: .venv/.ready ## JupyterLab on the quickstart notebook with a real model (PORT=8888)
	@scripts/demo.sh $(PORT)

test: setup ## every test: front end, Python, browser, notebooks
	@scripts/test.sh

hosts: setup ## the tests on real servers that take longer (docs/hosts.md)
	@scripts/chromium.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m hosts tests/browser

test-themes: setup ## the browser tests in both themes, where `make test` has each in one
	@scripts/chromium.sh
	@EVERY_THEME=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not hosts" tests/browser

soak: setup ## faults of kernels, channels and pages many times over, into docs/reliability.md (ARGS="--quick")
	@$(BIN)/python scripts/soak.py $(ARGS)

test-oldest: ## the Python tests with the oldest supported versions (TORCH=2.4.0, PYTHON=python3.10)
	@PYTHON=$(PYTHON) TORCH=$(TORCH) scripts/oldest.sh

test-newest: ## the same tests with the newest of everything but PyTorch
	@VERSIONS=newest PYTHON=$(PYTHON) TORCH=$(TORCH) scripts/oldest.sh

docs: .venv/.ready ## the site, into build/docs/site: pages, live pages of the demo model, reference (ARGS="--quick")
	@$(BIN)/python scripts/docs.py $(ARGS)

test-docs: setup docs ## every page of the built site in Chromium, links, snippets
	@scripts/chromium.sh
	@DOCS_SITE=build/docs/site OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/docs tests/browser/test_docs_site.py

dist: setup ## what is published, into dist/: built, checked, tried with the oldest and the newest dependencies
	@PYTHON=$(PYTHON) TORCH=$(TORCH) scripts/dist.sh

bench: .venv/.ready ## side-by-side timings and memory, also into docs/performance.md (ARGS="--quick")
	@scripts/bench.sh $(ARGS)

bundle: node_modules/.ready ## rebuild visit_widget/static from js/
	@npm run --silent build

lint: setup ## formatting, lint and types of both languages
	@scripts/test.sh lint

screenshots: .venv/.ready ## redraw docs/images from the demo model, the moving one and the badges too
	@scripts/chromium.sh
	@$(BIN)/python scripts/screenshots.py
	@$(BIN)/python scripts/walk.py
	@$(BIN)/python scripts/badges.py

snapshots: .venv/.ready ## rewrite tests/browser/snapshots, what the pictures of a fixed set of graphs are made of
	@scripts/chromium.sh
	@RENEW_SNAPSHOTS=1 $(BIN)/python -m pytest -q tests/browser/test_snapshots.py

fixtures: .venv/.ready ## rewrite tests/fixtures from the demo model
	@$(BIN)/python scripts/fixtures.py

notebooks: .venv/.ready ## run the notebooks and store their pictures in them (ARGS=quickstart)
	@scripts/chromium.sh
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/notebooks.py $(ARGS)

families: .venv/.ready ## trace every family of models and write down which are exact
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/families.py

constraints: .venv/.ready ## pin what .venv holds now
	@$(BIN)/python scripts/freeze.py > constraints.txt

clean: ## remove what was built, downloaded and cached here (not the demo model)
	rm -rf .venv .venv-oldest .venv-newest node_modules dist build tests/browser/screenshots .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON=$(PYTHON) scripts/setup.sh
	@touch $@

node_modules/.ready: package.json package-lock.json
	@command -v npm > /dev/null || { echo "npm was not found: install Node.js 20.19 or newer (https://nodejs.org), then run this again." >&2; exit 1; }
	npm ci --no-fund --no-audit
	@touch $@
