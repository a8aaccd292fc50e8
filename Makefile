# Every target does its own set-up in .venv, from the hashed requirement files. Needs Python 3.11 or later and a package index.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo
DEMO ?=
TESTS ?=
WORKERS ?= 2

.PHONY: help demo test check format bench up down locks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.run ## watch a synthetic organisation's insiders being caught; keeps what it made in ./demo
	$(BIN)/daywatch demo --out $(OUT) $(DEMO)

test: $(VENV)/.dev ## run the tests, with real servers where there are some
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(TESTS)

check: $(VENV)/.dev ## format, lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## put the source into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## measure how fast the parts are on this machine
	$(BIN)/python bench/run.py

up: ## start Apache Kafka, Redis and the workers with Docker Compose
	docker compose up --build --detach

down: ## stop what `make up` started; its data stays
	docker compose down

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make locks" pyproject.toml requirements/build.in

locks: $(VENV)/.dev ## work out the hashed requirement files anew
	$(LOCK) --upgrade --extra embedded --output-file requirements/run.txt
	$(LOCK) --upgrade --extra embedded --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes --requirement requirements/run.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes --requirement requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.run
