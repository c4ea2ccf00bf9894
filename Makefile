# `make help` lists the targets. Everything runs in a virtual environment that make builds itself;
# choose the interpreter with PYTHON=python3.12 and the folder with VENV=….

PYTHON ?= python3
VENV ?= .venv
PYTHONS ?= python3.11 python3.12 python3.13
PYTEST_FLAGS ?=
# One process runs all tests of a file, which share programs and fixtures.
PYTEST = $(BIN)/pytest -n 2 --dist loadfile
# To look for these tests in all files would take longer than to run them.
FLOAT32 = $(shell grep -l "mark.float32" tests/test_*.py)
SIZE ?= full
JOBS ?= 9
BIN = $(VENV)/bin
COMMA = ,
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq
# Python compiles a module when it is first imported, and keeps that for the processes to come.
# Half of an installation's time would go into compiling all modules of all packages.
PIP_INSTALL = $(PIP) install --no-compile
unexport PYTHONDONTWRITEBYTECODE
# What make test-lowest installs: the lower bounds of pyproject.toml.
LOWEST = .cache/lowest.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help:  ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

.PHONY: demo
demo: $(VENV)/.demo  ## From two photographs to JEPA against MAE: tables, figures and data in runs/demo/
	$(BIN)/jepa-sim demo

.PHONY: explore
explore: $(VENV)/.explore  ## Sliders over the closed form in the browser; RUN=path of a stored sweep
	$(BIN)/jepa-sim explore $(RUN)

.PHONY: systems
systems: $(VENV)/.test  ## Run every system of notebooks/systems
	@for system in notebooks/systems/*.toml; do \
	    echo "== $$system"; \
	    $(BIN)/jepa-sim sweep $$system --overwrite --quiet || exit 1; \
	done

.PHONY: test
test: $(VENV)/.test  ## Tests in float64, but for the slow ones, then those marked float32 without 64-bit types
	$(PYTEST) -m "not slow and not release" $(PYTEST_FLAGS)
	$(PYTEST) --precision=32 $(PYTEST_FLAGS) $(FLOAT32)

.PHONY: test-slow
test-slow: $(VENV)/.test  ## Tests marked slow, or release
	$(PYTEST) -m "slow or release" $(PYTEST_FLAGS)

.PHONY: lint
lint: $(VENV)/.lint  ## Formatting, style, types, and which module may import which
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.bench  ## Benchmarks against peers: goals, times and growth, in runs/bench/
	$(BIN)/pytest benchmarks -o addopts= --benchmark-only --benchmark-quiet -q $(PYTEST_FLAGS)

.PHONY: bench-gpu
bench-gpu: $(VENV)/.bench  ## The device's benchmarks in one call (under 8 minutes on one GPU; SIZE=small to try)
	$(BIN)/python -m benchmarks.device --size $(SIZE)

.PHONY: docs
docs: $(VENV)/.docs  ## The documentation, with its notebooks run, in build/site/docs/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -j $(JOBS) -c docs -b html . build/site

.PHONY: notebooks
notebooks: $(VENV)/.docs  ## Run every notebook as a script, and say how long it takes
	@for notebook in notebooks/*.py; do \
	    begin=$$(date +%s); \
	    MPLBACKEND=agg EQX_ON_ERROR=nan $(BIN)/python $$notebook > /dev/null || exit 1; \
	    echo "$$notebook: $$(( $$(date +%s) - begin )) s"; \
	done

.PHONY: check
check: test test-slow demo docs lint  ## Everything, before a release

# Each environment is new, and holds nothing but what the wheel asks for.
RELEASE = build/release
.PHONY: check-wheel
check-wheel:  ## Build wheel and source distribution, and try the wheel alone in a new environment
	rm -rf $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)/builder
	$(RELEASE)/builder/bin/python -m pip install -qq build
	$(RELEASE)/builder/bin/python -m build --outdir $(RELEASE)/dist . > $(RELEASE)/log
	$(PYTHON) -m venv $(RELEASE)/user
	$(RELEASE)/user/bin/python -m pip install -qq $(RELEASE)/dist/*.whl
	env -u PYTHONPATH $(RELEASE)/user/bin/python tests/wheel.py $(RELEASE)/dist

.PHONY: test-all-pythons
test-all-pythons:  ## Tests under each of PYTHONS="python3.11 python3.12 …"
	@for python in $(PYTHONS); do \
	    echo "== $$python"; \
	    $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$${python##*/} || exit 1; \
	done

.PHONY: test-lowest
test-lowest: $(LOWEST)  ## Tests with the oldest versions that pyproject.toml admits
	PIP_CONSTRAINT=$(abspath $(LOWEST)) $(MAKE) --no-print-directory test VENV=.venv-lowest

.PHONY: clean
clean:  ## Remove environments, caches and results
	rm -rf .venv .venv-* .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf .benchmarks build dist runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOWEST): pyproject.toml
	@mkdir -p $(@D)
	@sed -nE 's/.*"([A-Za-z0-9_-]+)>=([0-9.]+).*/\1==\2/p' $< | grep -v -e hatchling > $@

$(VENV)/bin/python:
	@echo "Creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: EXTRAS = demo
$(VENV)/.explore: EXTRAS = explore
$(VENV)/.test: EXTRAS = demo,test
$(VENV)/.lint: EXTRAS = demo,test,lint
$(VENV)/.bench: EXTRAS = demo,test,bench
$(VENV)/.docs: EXTRAS = docs
# All that continuous integration needs.
$(VENV)/.ci: EXTRAS = demo,docs,lint,test
$(VENV)/.demo $(VENV)/.explore $(VENV)/.test $(VENV)/.lint $(VENV)/.bench $(VENV)/.docs $(VENV)/.ci: pyproject.toml | $(VENV)/bin/python
	@echo "Installing jepa_sim[$(EXTRAS)] into $(VENV) (the first time takes about a minute)"
	@$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@ $(patsubst %,$(VENV)/.%,$(subst $(COMMA), ,$(EXTRAS)))
