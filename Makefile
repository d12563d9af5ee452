# Two commands do everything: `make demo` and `make test`. Both set up .venv first.

PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready
DOCS_READY = .venv/.docs-ready
PIP = -m pip install --quiet --disable-pip-version-check
# Wheels alone, each by its hash: nothing is built, so no foreign code runs while it is installed.
LOCKED = $(PIP) --require-hashes --no-deps --only-binary :all:
TOOLS = .venv-release/bin
COMPILE = $(TOOLS)/uv pip compile --quiet --python-version 3.11.5 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"
# What a wheel is dated: the last commit, or what hatchling takes where there is none.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1580601600)

.PHONY: demo docs test test-all test-cuda trust mutation lowest lint types package lock audit size clean help

help:
	@echo "make demo      make scenes, train, evaluate, predict, report (5 minutes)"
	@echo "make test      lint, types and the everyday tests"
	@echo "make test-all  the slow tests too"
	@echo "make docs      the pages as a site, site/index.html"
	@echo "make lowest    the everyday tests with the lowest versions that are declared"
	@echo "make package   wheel and source, twice the same, installed afresh and tried; what is in them"
	@echo "make lock      the hashes of what the lock files pin"
	@echo "make audit     advisories on what is locked"
	@echo "make trust     kills, faults and damaged files, a tenth of the full counts"
	@echo "make mutation changes of the source that tests must notice; SAMPLE of each room"
	@echo "make test-cuda what holds on a GPU, where there is one"

$(READY): requirements.lock requirements-torch.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(LOCKED) -r requirements.lock
	$(BIN)/python $(PIP) -r requirements-torch.lock
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)
	$(BIN)/pixelwise demo -o demo

test: $(READY) lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" -q --durations=15

test-all: $(READY) lint types
	$(BIN)/python -m pytest -n auto --dist worksteal -q --durations=25

trust: $(READY)
	$(BIN)/python $(LOCKED) -r requirements-trust.lock
	PIXELWISE_TRUST=$${PIXELWISE_TRUST:-0.1} $(BIN)/python -m pytest -n auto --dist worksteal tests/trust tests/house/test_faults.py -q --durations=10

SAMPLE ?= 100
ROOMS ?= nets metrics losses training weights pages
mutation: $(READY)
	$(BIN)/python $(LOCKED) -r requirements-mutation.lock
	$(BIN)/python tests/trust/mutation.py reach build/mutation \
		$(ROOMS:%=tests/unit/%) tests/contract/test_heads.py tests/contract/test_runs.py
	$(BIN)/python tests/trust/mutation.py try build/mutation $(ROOMS) --sample $(SAMPLE)
	$(BIN)/python tests/trust/mutation.py table build/mutation

test-cuda: $(READY)
	PIXELWISE_TEST_CUDA=1 $(BIN)/python -m pytest tests/contract/test_cuda.py -q -rs

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs

types: $(READY)
	$(BIN)/mypy

$(DOCS_READY): $(READY) requirements-docs.lock
	$(BIN)/python $(LOCKED) -r requirements-docs.lock
	@touch $(DOCS_READY)

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

lowest: requirements-lowest.lock
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python $(LOCKED) -r requirements-lowest.lock
	.venv-lowest/bin/python $(PIP) -r requirements-torch.lock
	.venv-lowest/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal -m "not slow" -q \
		tests/unit tests/contract

package: $(READY) $(TOOLS)
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/python -m hatchling build -d dist/again
	for file in dist/again/*; do cmp $$file dist/$${file##*/} || exit 1; done; rm -r dist/again
	$(PYTHON) -m venv dist/env
	sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' requirements.lock requirements-torch.lock > dist/versions.txt
	dist/env/bin/python $(PIP) --only-binary :all: -c dist/versions.txt dist/*.whl
	cd dist && env/bin/pixelwise doctor && env/bin/pixelwise demo -o demo
	$(TOOLS)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		-o dist/sbom.cdx.json dist/env/bin/python
	cd dist && sha256sum *.whl *.tar.gz sbom.cdx.json > SHA256SUMS && cat SHA256SUMS

$(TOOLS): requirements-release.lock
	$(PYTHON) -m venv .venv-release
	$(TOOLS)/python $(LOCKED) -r requirements-release.lock
	@touch $(TOOLS)

# Versions stay as they are pinned: a new one is written into the file first, without its hashes.
lock: $(TOOLS)
	for file in requirements.lock requirements-bench.lock requirements-docs.lock \
		requirements-release.lock requirements-trust.lock requirements-mutation.lock; do \
		$(COMPILE) --no-deps $$file -o $$file || exit 1; done
	echo "torch ; sys_platform == 'never'" | $(COMPILE) --all-extras --group dev --override - \
		--resolution lowest-direct pyproject.toml -o requirements-lowest.lock
	echo "torch ; sys_platform == 'never'" | $(COMPILE) --extra serve --group container --override - \
		--constraint requirements.lock pyproject.toml -o requirements-serve.lock

# Strict: an advisory service that does not answer for a package is a failure, not a pass.
audit: $(TOOLS)
	$(TOOLS)/pip-audit --strict --disable-pip --require-hashes -r requirements.lock
	$(TOOLS)/pip-audit --strict --disable-pip --no-deps -r requirements-torch.lock

size: $(READY)
	@find src -name '*.py' | xargs wc -l | sort -n | tail -40

clean:
	rm -rf .venv .venv-lowest .venv-release demo build dist site .pytest_cache .mypy_cache .ruff_cache
