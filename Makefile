# What a person types. Each target sets up what it needs on first use
# (tools/bootstrap.py) and starts at once after that. ARGS="…" is passed on.

IN := @$(SHELL) tools/run.sh

# The theme's notice of its successor is not about this site.
export NO_MKDOCS_2_WARNING = 1

.PHONY: help demo demo-cluster test browser check check-lint check-types bench slow-reader soak simulate mutants matrix docs coverage constraints dist dist-check version release-check clean combinations bench-transports

help:
	@echo "make demo         start the chat demo and print its address"
	@echo "make demo-cluster three instances over a real broker, to break and watch heal  (TRANSPORT=nats)"
	@echo "make test         run every test          (ARGS='-k rooms' is passed to pytest)"
	@echo "make browser      the demo in a real browser (ARGS='-k outage' is passed to pytest)"
	@echo "make check        lint, format, types, layers"
	@echo "make bench        measure                 (ARGS is passed to benchmarks/run.py)"
	@echo "make bench-transports  every transport in one table and chart, renewed in the docs"
	@echo "make slow-reader  one client of 1000 stops reading: memory and latencies"
	@echo "make soak         10,000 clients come and go: what is left of them?  (ARGS='--loop uvloop')"
	@echo "make simulate     fleets in trouble, judged by their history  (SEEDS=10000, ARGS='--seed 7')"
	@echo "make matrix       every scenario on every transport  (ARGS='--only kafka' for one of them)"
	@echo "make docs         build the documentation into site/"
	@echo "make coverage     branch coverage of the packages"
	@echo "make mutants      what the tests notice   (ARGS='hub router' for some modules)"
	@echo "make constraints  renew constraints.txt   (ARGS='--upgrade-package ruff' for one)"
	@echo "make dist         all wheels and sdists into dist/, checked"
	@echo "make dist-check   are the archives in dist/ those of the tag? before an upload"
	@echo "make combinations  install those in every combination, lowest and newest, and try them"
	@echo "make version      VERSION=0.2.0 becomes the version of all packages"
	@echo "make release-check  what is still between this commit and its release"
	@echo "make clean        remove everything that make has made"

demo:
	$(IN) demo python -m wsrooms.demo $(ARGS)

# From the command line alone, as VERSION below: somebody's environment may have it for another
# program, such as examples/deploy/server.py.
TRANSPORT = redis
TRANSPORTS = $(filter-out core,$(patsubst packages/wsrooms-%/,%,$(wildcard packages/*/)))
demo-cluster:
	$(if $(filter $(TRANSPORTS),$(TRANSPORT)),,$(error TRANSPORT is one of $(TRANSPORTS), not "$(TRANSPORT)"))
	$(IN) demo-cluster-$(TRANSPORT) python -m demo_cluster $(TRANSPORT) $(ARGS)

# Tests mostly wait, so several processes share them, file by file. WORKERS=0: one process, in
# order, where what measures time or memory has nobody beside it.
WORKERS ?= 3
test:
	$(IN) test python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

browser:
	$(IN) browser python -m pytest tests/browser $(ARGS)

check: check-lint check-types

check-lint:
	$(IN) check ruff check .
	$(IN) check ruff format --check .
	$(IN) check python tools/api.py --check
	$(IN) check lint-imports --no-logo
	$(IN) check python tools/layers.py --check
	$(IN) check python tools/constraints.py --check
	$(IN) check python tools/errors_page.py --check
	$(IN) check python benchmarks/run.py many --check
	$(IN) check python -m tests.matrix --check

check-types:
	$(IN) check pyright --warnings
	$(IN) check python tools/check_types.py
	$(IN) check mypy $(wildcard packages/*/src tests tools examples benchmarks demo_cluster)
	$(IN) check python tools/check_wrong.py

bench:
	$(IN) bench python benchmarks/run.py $(ARGS)

bench-transports:
	$(IN) bench python benchmarks/run.py transports --reps 1 --write $(ARGS)

slow-reader:
	$(IN) bench python tools/slow_reader.py $(ARGS)

soak:
	$(IN) soak python tools/soak.py $(ARGS)

SEEDS ?= 1000
simulate:
	$(IN) test python tools/simulate.py --seeds $(SEEDS) $(ARGS)

# Its two pages and their record are written by it alone.
matrix:
	$(IN) test python -m tests.matrix $(ARGS)

docs:
	$(IN) docs mkdocs build --strict $(ARGS)

# Of each package: packages/wsrooms-core is tested by tests/core, and so on.
PACKAGE_TESTS = $(wildcard $(patsubst packages/wsrooms-%/,tests/%,$(wildcard packages/*/)))
coverage:
	$(IN) coverage coverage run -m pytest $(PACKAGE_TESTS) tests/transports tests/conformance $(ARGS)
	$(IN) coverage coverage report

mutants:
	$(IN) mutants python tools/mutants.py $(ARGS)

constraints:
	$(IN) constraints python tools/constraints.py $(ARGS)

dist:
	$(IN) dist python tools/make_dist.py $(ARGS)

dist-check:
	$(IN) dist python tools/make_dist.py --check $(ARGS)

combinations:
	$(IN) dist python -m tests.brokers run \
		python tools/combinations.py $(ARGS) {redis_url} {nats_url} {kafka_url}

VERSION =
version:
	$(if $(VERSION),,$(error make version needs the number: make version VERSION=0.2.0))
	$(IN) dist python tools/release.py $(VERSION)

release-check:
	$(IN) dist python tools/release.py --check

clean:
	rm -rf .venv .deps .bootstrap .mutants .matrix site dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
