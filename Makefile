# Needs python3 (3.10 or later) with pip, and make. Everything else goes into .venv.
#
#   make test       what a change has to pass      make demo   see it at work
#   make lint       style and types                make bench  measured figures
#   make help       the rest

PYTHON ?= python3
PYTEST_ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
LOCK := requirements/dev.lock
BENCH_LOCK := requirements/bench.lock
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHONS := 3.10 3.11 3.12 3.13
UNIT_ONLY := -m "not system and not stress and not bench"

# A version's interpreter: the first candidate that runs and is that version.
# (A version manager's shim may be on PATH for a version it does not offer.)
find_python = $(firstword $(foreach candidate,$(shell type -P python$(1)) \
	$(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python),$(if $(filter $(1),$(shell \
	$(candidate) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)),\
	$(candidate))))

# Tests of what lives in Redis need a real server. Without one they are skipped, and in
# CI, where the variable CI is set, they fail.
define have_redis
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends \
				redis-server >/dev/null; }; } || { \
		echo "redis-server is missing, and the tests that need it do not run." \
			"Install it (Debian: apt install redis-server)." >&2; \
		[ -z "$${CI:-}" ]; }
endef

# Makes the environment $(1) with the interpreter $(2) and installs the locked set.
define install
	@echo "installing into $(1) (once, until the lock or pyproject.toml changes)"
	@command -v $(2) >/dev/null || { \
		echo "$(2) is not there. Name another one: make PYTHON=python3.11 ..." >&2; \
		exit 1; }
	@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "memguard needs Python 3.10 or later; $(2) is $$($(2) --version 2>&1)." \
			"Name another one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(2) -c 'import ensurepip, venv' 2>/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq python3-venv >/dev/null; } || { \
		echo "$(2) cannot make virtual environments." \
			"Install its venv module (Debian: apt install python3-venv)." >&2; exit 1; }; }
	@$(2) -m venv $(1)
	@$(1)/bin/python -m pip install -qq --disable-pip-version-check -r $(LOCK)
	@$(1)/bin/python -m pip install -qq --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $(1)/.installed
endef

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

.PHONY: venv
venv: $(STAMP)  ## the environment in .venv, from the lock file

$(STAMP): $(LOCK) pyproject.toml
	$(call install,$(VENV),$(PYTHON))

.PHONY: lock
lock: venv  ## new versions into the lock files
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.10 \
		--all-extras --group dev --no-header pyproject.toml -o $(LOCK)
	@$(MAKE) --no-print-directory lock-bench

.PHONY: lock-bench
lock-bench: venv  ## new versions of what the benchmarks compare with
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.10 \
		--group pyproject.toml:bench -c $(LOCK) --no-header -o $(BENCH_LOCK)

.PHONY: redis
redis:  ## redis-server, which some tests start, where it can be installed
	$(have_redis)

.PHONY: test
test: venv redis  ## every test, system tests in their bounded form
	$(BIN)/python -m pytest -m "not bench" $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: venv redis  ## no real processes, no stress
	$(BIN)/python -m pytest $(UNIT_ONLY) $(PYTEST_ARGS)

.PHONY: matrix
matrix: venv redis  ## the long form of the system tests
	$(BIN)/python -m pytest -m system --long $(PYTEST_ARGS)

.PHONY: soak
soak: venv redis  ## the long form of the stress tests
	$(BIN)/python -m pytest -m stress --long $(PYTEST_ARGS)

# The default environment's own version is tested by `make test` and is left out here.
# Two at a time: each of them waits for timers and processes most of the time.
.PHONY: test-all-pythons
test-all-pythons: venv redis  ## the fast tests on every other Python from 3.10 to 3.13
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	others=(); \
	for version in $(PYTHONS); do \
		[ "$$version" = "$$own" ] || others+=("test-python-$$version"); \
	done; \
	$(MAKE) --no-print-directory --output-sync=recurse -j2 "$${others[@]}"

.PHONY: test-python-%
test-python-%: FORCE
	@$(if $(call find_python,$*),\
		$(MAKE) --no-print-directory .venvs/$*/.installed && \
		echo "== Python $*" && \
		.venvs/$*/bin/python -m pytest $(UNIT_ONLY) -p no:cacheprovider $(PYTEST_ARGS),\
		echo "== Python $*: not on this machine, not tested")

.venvs/%/.installed: $(LOCK) pyproject.toml
	$(call install,.venvs/$*,$(call find_python,$*))

.PHONY: lint
lint: venv  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: venv  ## puts style and format right where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: demo
demo: venv  ## a Flask service and an asyncio service under load, stopped and audited
	$(BIN)/python examples/demo.py

# Ratios are wanted on a second Python too, where its environment has been made.
.PHONY: bench
bench: $(VENV)/.bench-installed \
	$(patsubst %/bin/python,%/.bench-installed,$(wildcard .venvs/3.13/bin/python))
bench:  ## measured figures, next to those of others
	$(BIN)/python benchmarks/run.py

# The figures are compared with other libraries; nothing else needs those.
$(VENV)/.bench-installed: $(BENCH_LOCK) $(STAMP)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r $(BENCH_LOCK)
	@touch $@

.venvs/%/.bench-installed: $(BENCH_LOCK) .venvs/%/.installed
	@.venvs/$*/bin/python -m pip install -qq --disable-pip-version-check -r $(BENCH_LOCK)
	@touch $@

.PHONY: docs
docs: venv redis  ## writes the made parts of the reference, and runs every example
	$(BIN)/python docs/make_reference.py
	$(BIN)/python -m memguard._telemetry.reference docs/reference/metrics.md
	$(BIN)/python -m pytest tests/test_docs.py tests/requirements $(PYTEST_ARGS)

.PHONY: FORCE
FORCE:
