# `make demo` and `make test` do all their own set-up on a fresh Debian 12 or Ubuntu 24.04.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
# Telemetry of every dependency is off.
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false

# On PATH, else where infra/bootstrap.sh puts it. Looked up when a recipe runs: the bootstrap may have just made it.
UV = $$(infra/bootstrap.sh uv)
RUN = $(UV) run --frozen
COVERED ?= 90
SECONDS_EACH ?= 600
SAMPLE ?= 0
JOBS ?= 2

.PHONY: help bootstrap bootstrap-test demo test test-long fuzz mutants lint pytest bench up down wheel-check

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: bootstrap ## The whole life of the sample documents; ONCE=1 stops everything at the end
	@$(RUN) minutier demo $(if $(filter-out 0,$(ONCE)),--once)

test: bootstrap-test ## Lint, all tests, coverage gates, and the built wheel
	@$(MAKE) --no-print-directory lint pytest

test-long: bootstrap-test ## Chaos runs, ten thousand mutations, fuzzing of every parser (two hours or so)
	@$(RUN) pytest -m long $(ARGS)
	@$(MAKE) --no-print-directory fuzz

fuzz: bootstrap ## Fuzz the parsers and the verifier; SECONDS_EACH=600 TARGETS='token bundle' for some of them
	@$(RUN) --group fuzz python -m tests.fuzz.run --seconds $(SECONDS_EACH) $(TARGETS)

mutants: bootstrap ## Mutation testing of the verification code (hours); MODULES='der evidence', SAMPLE=40 for some of it
	@$(RUN) --group mutants python tests/mutation/run.py --sample $(SAMPLE) $(MODULES)

lint: bootstrap ## Format, lint, types, direction of imports
	@$(RUN) ruff format --check
	@$(RUN) ruff check
	@$(RUN) mypy
	@$(RUN) lint-imports

pytest: ## Tests with coverage; ARGS='-k word' for some of them
	@$(RUN) pytest -m "not long" -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=xml $(ARGS)
	@$(RUN) coverage report --include='minutier/*' --fail-under=$(COVERED) >/dev/null \
		|| { echo "coverage of minutier/ is under $(COVERED) %" >&2; exit 1; }
	@$(RUN) coverage report --include='storage/*' --fail-under=$(COVERED) >/dev/null \
		|| { echo "coverage of storage/ is under $(COVERED) %" >&2; exit 1; }

bench: bootstrap-test ## Measure: documents a second, seconds to proof, seconds to read
	@$(RUN) python -m benchmarks $(ARGS)

up: bootstrap ## Start the embedded services
	@$(RUN) minutier up

down: ## Stop them
	@$(RUN) minutier down

wheel-check: bootstrap ## Build the wheel, install it alone, check who owns which name
	@$(RUN) pytest tests/unit/test_wheel.py

bootstrap:
	@infra/bootstrap.sh run

bootstrap-test:
	@infra/bootstrap.sh test
