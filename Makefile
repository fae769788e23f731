# Everything runs from one virtual environment, .venv, made with Python's own tools.
# Paths stay relative and programs start as `python -m`, so the checkout may lie below a folder with a space in its name.

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 3

VENV := .venv
RUN := $(VENV)/bin/python
CODE := litestar_filestore example_app benchmarks tests docs/conf.py

# A stamp is newer than pyproject.toml when what it stands for is installed; nothing is installed twice.
HAVE_VENV := $(VENV)/.have-venv
HAVE_RUN := $(VENV)/.have-run
HAVE_TEST := $(VENV)/.have-test
HAVE_BENCH := $(VENV)/.have-bench
HAVE_FLOORS := $(VENV)/.have-floors
HAVE_LINT := $(VENV)/.have-lint
HAVE_DOCS := $(VENV)/.have-docs

PIP_INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check
PYTEST := $(RUN) -m pytest

.DEFAULT_GOAL := help
.NOTPARALLEL: # two pip processes in one environment break it
.PHONY: help run run-s3 test test-all test-floors conformance stress bench bench-full check lint format type docs docs-serve clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: $(HAVE_RUN) ## Serve the example app (PORT=8000)
	@echo 'Example app: http://127.0.0.1:$(PORT)'
	@$(RUN) -m litestar --app example_app.app:app run --host 127.0.0.1 --port '$(PORT)'

# The servers are those of the tests, and so are the packages that drive them.
run-s3: $(HAVE_TEST) ## Serve the example app on Ceph and PostgreSQL, where those are installed (PORT=8000)
	@$(RUN) -m tests.example_app.run_on_servers --port '$(PORT)'

test: $(HAVE_TEST) ## Run the tests (ARGS=... goes to pytest, WORKERS=0 runs them in one process)
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m 'not slow and not stress' $(ARGS)

test-all: $(HAVE_TEST) ## Run what `make test` leaves out: every server, kill, size and database (half an hour)
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m 'slow and not stress' $(ARGS)

conformance: $(HAVE_TEST) ## Run the definition of a driver against every backend and server
	$(PYTEST) -m conformance $(ARGS)

stress: $(HAVE_TEST) ## Run minutes of concurrency, kills and cancellations
	$(PYTEST) -m 'stress and not conformance' $(ARGS)

test-floors: $(HAVE_FLOORS) ## Run a selection of the tests on the oldest versions that pyproject.toml allows (a minute)
	$(RUN) -m tests.floors $(ARGS)

bench: $(HAVE_BENCH) ## Compare with peers and judge by the targets (9 minutes)
	$(RUN) -m benchmarks.driver $(ARGS)
	$(RUN) -m benchmarks.resumable

bench-full: $(HAVE_BENCH) ## The same for all sizes, and memory and ledger at size (an hour)
	$(RUN) -m benchmarks.driver --full $(ARGS)
	# They fail above their limits.
	$(RUN) -m benchmarks.resumable
	$(RUN) -m benchmarks.uploads
	$(RUN) -m benchmarks.ledger_sizes
	$(RUN) -m benchmarks.memory

check: lint type docs ## Run every check that needs no server: lint, type, docs

lint: $(HAVE_LINT) ## Check style and spelling
	$(RUN) -m ruff check $(CODE)
	$(RUN) -m ruff format --check $(CODE)
	$(RUN) -m codespell_lib

format: $(HAVE_LINT) ## Repair what can be repaired by itself
	$(RUN) -m ruff format $(CODE)
	$(RUN) -m ruff check --fix $(CODE)

# The tests are type-checked too, so their libraries have to be there.
type: $(HAVE_LINT) $(HAVE_TEST) $(HAVE_DOCS) ## Check types with mypy and pyright
	$(RUN) -m mypy
	$(RUN) -m pyright --pythonpath $(RUN)

# --fresh-env: a page that was not read again would not repeat its warning.
docs: $(HAVE_DOCS) ## Build the documentation, warnings are errors
	$(RUN) -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet docs docs/_build/html

docs-serve: docs ## Build the documentation and serve it (PORT=8000)
	@echo 'Documentation: http://127.0.0.1:$(PORT)'
	@$(RUN) -m http.server --bind 127.0.0.1 --directory docs/_build/html '$(PORT)'

clean: ## Remove everything that was built or installed here
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --clear: an interrupted attempt left no stamp and is started over.
$(HAVE_VENV):
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PYTHON: 3.11 or newer is needed, this is " + sys.version)'
	'$(PYTHON)' -m venv --clear $(VENV)
	$(PIP_INSTALL) 'pip>=25.1' # the first that knows --group
	@touch $@

# The project is installed in place: changed code needs no new installation.
$(HAVE_RUN): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group run --editable .
	@touch $@

$(HAVE_TEST): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group test --editable '.[all]'
	@touch $@

$(HAVE_BENCH): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group bench --editable '.[all]'
	@touch $@

$(HAVE_FLOORS): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group floors
	@touch $@

$(HAVE_LINT): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group lint
	@touch $@

$(HAVE_DOCS): pyproject.toml | $(HAVE_VENV)
	$(PIP_INSTALL) --group docs --editable .
	@touch $@
