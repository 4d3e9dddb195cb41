# Needs only python3 (3.11 or newer), git and make. Everything is installed into .venv, and installed
# again only when pyproject.toml, the checkout's place or the interpreter has changed.

.POSIX:
.PHONY: help reconcile test lint bench clean

SHELL = /bin/sh
PYTHON = python3
BIN = .venv/bin
ARGS =

help:
	@echo 'make reconcile   run the main job on desired/ at HEAD; the stores are below var/'
	@echo 'make test        run every test (ARGS="-k ledger" passes arguments to pytest)'
	@echo 'make lint        format, lint, types and import rules'
	@echo 'make bench       run the benchmarks, each beside its peer'
	@echo 'make clean       remove the environment and caches; never var/'

reconcile:
	@PYTHON='$(PYTHON)' sh tools/environment.sh
	@sh tools/reconcile.sh

test:
	@PYTHON='$(PYTHON)' sh tools/environment.sh test
	@sh tools/test.sh $(ARGS)

lint:
	@PYTHON='$(PYTHON)' sh tools/environment.sh test lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench:
	@PYTHON='$(PYTHON)' sh tools/environment.sh test benchmark
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build dist reconciler.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
