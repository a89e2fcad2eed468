.DEFAULT_GOAL := help
.PHONY: help demo test slow fuzz check bench bench-clusters bench-consent bench-duplicates bench-erase bench-features bench-plan bench-predict bench-publish bench-ray bench-segments bench-value servers cluster-tests warehouse-tests lock format clean browser browser-tests hosts

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Interpreter of the environment; the first fitting one on the PATH when not given: make PYTHON=python3.12 test
PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
# Ray 2.60 has no build for Python 3.15.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

# Processes of the tests: one more than two processors keep busy, as tests wait for disks and other processes.
WORKERS ?= 3

# More options for pytest: make test ARGS="-k rfm"
ARGS ?=

# Workers start with the driver's interpreter, without a token, and report to nobody.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0
export RAY_AUTH_MODE := disabled
export RAY_USAGE_STATS_ENABLED := 0
# Hundreds of processes import the same modules: compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Segment the customers of a grocer: real data, tables under demo-out/
	$(BIN)/tamis demo --out demo-out

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

slow: $(READY) ## Run the tests that take minutes (kills, mutants, histories, the other executor)
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile $(ARGS)

fuzz: $(READY) ## Look for examples that break a property: ten times as many as the tests try, new ones each time
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -m "hypothesis and not cluster" -n $(WORKERS) $(ARGS)

servers: ## Install the servers that tests start: PostgreSQL, of Debian and its kin
	@for folder in /usr/lib/postgresql/*/bin; do test -x $$folder/initdb && exit 0; done; \
	command -v initdb >/dev/null && exit 0; \
	command -v apt-get >/dev/null || { echo 'Install PostgreSQL: its server is not here, and neither is apt-get.' >&2; exit 1; }; \
	sudo=; test "$$(id -u)" = 0 || sudo=sudo; \
	$$sudo apt-get update --quiet && $$sudo apt-get install --quiet --yes --no-install-recommends postgresql

browser: ## Install the browser that tests open: Chromium, of Debian and its kin
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	    command -v $$name >/dev/null && exit 0; done; \
	command -v apt-get >/dev/null || { echo 'Install Chromium: it is not here, and neither is apt-get.' >&2; exit 1; }; \
	sudo=; test "$$(id -u)" = 0 || sudo=sudo; \
	$$sudo apt-get update --quiet && $$sudo apt-get install --quiet --yes --no-install-recommends chromium fonts-dejavu-core

browser-tests: $(READY) browser ## Open the pages of reports in a browser; a browser that is not there is a failure
	TAMIS_REQUIRE_SERVERS=1 $(BIN)/python -m pytest -m browser tests/browser $(ARGS)

warehouse-tests: $(READY) servers ## Run the tests of warehouses; a server that is not there is a failure
	TAMIS_REQUIRE_SERVERS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/warehouse tests/jobs/test_load.py $(ARGS)

hosts: ## Install what tests make hosts of, network namespaces: iproute2, of Debian and its kin
	@command -v ip >/dev/null && exit 0; \
	command -v apt-get >/dev/null || { echo 'Install iproute2: it is not here, and neither is apt-get.' >&2; exit 1; }; \
	sudo=; test "$$(id -u)" = 0 || sudo=sudo; \
	$$sudo apt-get update --quiet && $$sudo apt-get install --quiet --yes --no-install-recommends iproute2

cluster-tests: $(READY) hosts ## Run the tests on clusters of several nodes and hosts, as root; what cannot be made is a failure
	TAMIS_REQUIRE_SERVERS=1 $(BIN)/python -m pytest -m cluster $(ARGS)

check: $(READY) ## Check formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY) ## Measure against what one would write by hand (BENCH_USERS, BENCH_EVENTS, BENCH_DAYS)
	$(BIN)/python -m benchmarks.end_to_end

bench-clusters: $(READY) ## Measure k-means against scikit-learn and faiss (BENCH_ROWS, BENCH_K, BENCH_ITERATIONS, BENCH_FAISS)
	$(BIN)/python -m benchmarks.clusters

bench-consent: $(READY) ## Measure what consents and objections add to a score run (BENCH_USERS, BENCH_EVENTS, BENCH_DAYS, BENCH_TURNS)
	$(BIN)/python -m benchmarks.consent

bench-duplicates: $(READY) ## Find planted duplicates among contacts (BENCH_CONTACTS)
	$(BIN)/python -m benchmarks.duplicates

bench-erase: $(READY) ## Erase people of a published date (BENCH_USERS, BENCH_EVENTS, BENCH_DAYS)
	$(BIN)/python -m benchmarks.erase

bench-features: $(READY) ## Measure the features against DuckDB, Polars and a scan (the same, and BENCH_TURNS, BENCH_GROWTH)
	$(BIN)/python -m benchmarks.features

bench-plan: $(READY) ## Measure this machine, and compare what plans say with three real runs (BENCH_SIZES, BENCH_TURNS)
	$(BIN)/python -m benchmarks.plan

bench-predict: $(READY) ## Measure the scores of a model against LightGBM (BENCH_ROWS, BENCH_TREES, BENCH_LEAVES, BENCH_TURNS)
	$(BIN)/python -m benchmarks.predict

bench-publish: $(READY) ## Measure a publish against one call of Polars (BENCH_USERS, BENCH_TURNS)
	$(BIN)/python -m benchmarks.publish

bench-ray: $(READY) ## Measure the score job on a local Ray, and empty tasks (the same as bench, and BENCH_TASKS)
	$(BIN)/python -m benchmarks.on_ray

bench-segments: $(READY) ## Measure a hundred rules against one DuckDB query (BENCH_USERS, BENCH_TURNS)
	$(BIN)/python -m benchmarks.segments

bench-value: $(READY) ## Value customers, against one customer at a time (BENCH_CUSTOMERS, BENCH_SAMPLE)
	$(BIN)/python -m benchmarks.value

format: $(READY) ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Pin new dependencies in requirements.lock (all anew: make lock ARGS=--upgrade)
	@uv=$$(command -v uv) || { uv=.tools/bin/uv; test -x $$uv || { \
	    python=$$($(FIND_PYTHON)) && $$python -m venv .tools && .tools/bin/python -m pip install --quiet uv; }; } && \
	$$uv pip compile pyproject.toml --output-file requirements.lock --quiet $(ARGS) \
	    --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

clean: ## Remove the environment, caches and the demo's output
	rm -rf $(VENV) .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist demo-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Prints the first interpreter that fits, or says what is missing.
define FIND_PYTHON
{ for python in $(CANDIDATES); do \
    if $$python -c '$(FITS)' 2>/dev/null; then command -v $$python; exit 0; fi; \
  done; \
  echo 'Tamis needs Python 3.11 to 3.14; none of these is: $(CANDIDATES).' >&2; \
  echo 'Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)' >&2; \
  exit 1; }
endef

# One environment for every target. An interrupted installation has no stamp and is taken up again.
$(READY): pyproject.toml requirements.lock
	@rm -f $@
	@if $(BIN)/python -c '$(FITS)' 2>/dev/null; then exit 0; fi; \
	python=$$($(FIND_PYTHON)) || exit 1; \
	echo "Making $(VENV) with $$python"; \
	if command -v uv >/dev/null; then uv venv --quiet --clear --python "$$python" $(VENV); \
	else "$$python" -m venv --clear $(VENV); fi
	@echo 'Installing the locked packages'; \
	if command -v uv >/dev/null; then \
	    install="uv pip install --quiet --python $(BIN)/python"; compile=--compile-bytecode; \
	else \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null || exit 1; \
	    install="$(BIN)/python -m pip --disable-pip-version-check install --quiet"; compile=; \
	fi; \
	$$install $$compile --require-hashes -r requirements.lock && \
	$$install --no-deps --no-build-isolation --editable .
	@touch $@
