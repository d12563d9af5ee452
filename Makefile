# Two commands do everything: `make demo` and `make test`. Both set up .venv first.

PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready
DOCS_READY = .venv/.docs-ready

.PHONY: demo docs test test-all test-cuda lint types package size clean help

help:
	@echo "make demo      make scenes, train, evaluate, predict, report (5 minutes)"
	@echo "make test      lint, types and the everyday tests"
	@echo "make test-all  the slow tests too"
	@echo "make docs      the pages as a site, site/index.html"
	@echo "make package   wheel and source, installed in a fresh environment and tried"
	@echo "make test-cuda what holds on a GPU, where there is one"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

demo: $(READY)
	$(BIN)/pixelwise demo -o demo

test: $(READY) lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" -q --durations=15

test-all: $(READY) lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -q --durations=25

test-cuda: $(READY)
	PIXELWISE_TEST_CUDA=1 $(BIN)/python -m pytest tests/contract/test_cuda.py -q -rs

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs

types: $(READY)
	$(BIN)/mypy

$(DOCS_READY): $(READY) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-docs.lock
	@touch $(DOCS_READY)

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

package: $(READY)
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(PYTHON) -m venv dist/env
	dist/env/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	dist/env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd dist && env/bin/pixelwise doctor && env/bin/pixelwise demo -o demo

size: $(READY)
	@find src -name '*.py' | xargs wc -l | sort -n | tail -40

clean:
	rm -rf .venv demo build dist site .pytest_cache .mypy_cache .ruff_cache
