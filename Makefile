# Targets work on a bare machine with Python 3.11 and make; everything is installed into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help app demo test proof bench browser images install lint format notebooks docs coverage wheel docker clean

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
WORKERS ?= 2
# The tests in the browser share one worker.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup
# The first interpreter that is at least 3.11 and can make a virtual environment; PYTHON=… overrides it.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME)  ## generate a study, train on 4 labels, score, write demo/ anew with a report (about 10 minutes)
	rm -rf demo
	$(BIN)/maskmatch demo demo

app: $(RUNTIME)  ## open the app in the browser; STUDY=… shows one study alone
	$(BIN)/maskmatch app $(STUDY)

test: lint browser  ## what every change must pass: format, lint, types, import contracts, default tests
	$(PYTEST)

proof: $(DEV) browser  ## the long proofs, up to an hour
	$(PYTEST) -m "proof and not alone"
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "proof and alone"

browser: $(DEV)  ## find Chromium for the tests in the browser, else install it; they are skipped where that fails
	@$(BIN)/python tests/browser/chromium.py

images: $(DEV) browser  ## take the pictures of the pages in docs/images anew, on the way of the whole loop
	PICTURES=$(CURDIR)/docs/images OMP_NUM_THREADS=1 $(BIN)/pytest -m proof tests/browser/test_journey.py
	$(BIN)/python tests/browser/loop_picture.py

install: $(DEV)  ## make or refresh .venv with everything for development

lint: $(DEV)  ## format, lint, types and import contracts, without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)  ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(DEV)  ## regenerate the notebooks from their .py sources and run them
	$(BIN)/python notebooks/build.py

coverage: $(DEV)  ## which lines of maskmatch_med the default tests run, the browser's left out; fails below 90 %
	$(PYTEST) --ignore=tests/browser --cov --cov-report=term:skip-covered --cov-report=html

wheel: $(DEV)  ## build dist/: the sdist, and the wheel from it
	rm -rf dist
	$(BIN)/python -m build

bench: $(DEV)  ## the speed benchmarks, each against its peer in turns: about ten minutes on two cores
	$(BIN)/python -m benchmarks --rounds 3

docs: $(DEV)  ## build the documentation into site/, to be opened from the disk or served as files
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

docker:  ## build the container image maskmatch-med
	docker build -t maskmatch-med .

clean:  ## remove .venv, caches and the demo
	rm -rf $(VENV) demo site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python of at least 3.11 with venv was found; install it, or name it: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(RUNTIME) $@
