# Everything a checkout needs, on Debian or Ubuntu with nothing but make installed: `make demo`, `make test`.
# All paths are relative, so that a checkout may live in a folder with blanks.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-cluster test-mysql lint man soak servers mysql clean

# The interpreter the environment is made with; empty means the newest suitable one found, or the system's package.
PYTHON ?=
# Test processes at once, each with servers of its own: most tests wait for a disk or a clock. Files in their order, since
# those with the fewest and longest tests, which would come last by their number, are among the first then.
WORKERS ?= 4

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
export PIP_ROOT_USER_ACTION := ignore
# The tests start the program some thousand times: compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | column -t -s @ 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

demo: .venv/.runtime ## a tour on the embedded database; needs no server
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/demo.sh

test: .venv/.installed servers lint ## everything a change must pass, but for what needs clusters
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore=tests/cluster

test-cluster: .venv/.installed servers ## the tests that start clusters of servers
	@$(BIN)/python -m pytest tests/cluster

test-mysql: .venv/.installed ## the tests of the database, on the MySQL of `make mysql`
	@FLIGHTCTL_TEST_SERVER=mysql $(BIN)/python -m pytest tests/cluster/test_group_replication.py tests/integration tests/concurrency

lint: .venv/.installed ## style, format and types
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy

man: .venv/.runtime ## manual pages, in build/man
	@$(BIN)/python -m flightctl help --man build/man

soak: .venv/.installed servers ## the long storms
	@FLIGHTCTL_SOAK=1 $(BIN)/python -m pytest -m soak

servers: # MariaDB and Redis for the tests, when they are missing
	@bash tests/install-servers.sh

mysql: ## a MySQL server in build/mysql, beside the system, for the tests of Group Replication
	@bash tests/fetch-mysql.sh build/mysql

clean: ## removes the environment and everything built
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage *.egg-info
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +

# An environment with the tests' tools serves the demo as well.
.venv/.runtime: pyproject.toml | $(BIN)/python
	@if [ ! -e .venv/.installed ]; then echo "Installing flightctl into .venv"; $(PIP) install -e .; fi
	@touch $@

.venv/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing flightctl and the tools for its tests into .venv"
	@$(PIP) install -e '.[dev]'
	@touch $@

$(BIN)/python:
	@bash tests/make-venv.sh "$(PYTHON)"
