# Every target sets up its own virtual environment; PYTHON chooses the interpreter, VENV the folder.
PYTHON ?= python3
VENV ?= .venv
FUZZ_SEED ?= 0

VERSION := $(shell $(PYTHON) -c 'import sys; print("py%d%d" % sys.version_info[:2])')
# Versions known to work together. An interpreter without such a file takes the newest that pyproject.toml allows.
CONSTRAINTS := $(wildcard constraints-$(VERSION).txt)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet $(addprefix --constraint ,$(CONSTRAINTS))
PYTEST := $(BIN)/python -m pytest
# Each of two processes takes one half of the tests in order, so that it compiles what its tests share once, then the other's rest.
PARALLEL := -n 2 --dist worksteal

.PHONY: quickstart test test-fast test-slow fuzz check types figures results clean

# Huge pages spare a training step on a CPU its page faults, a fifth of its time; other systems ignore the variable.
quickstart: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
quickstart: $(VENV)/.installed  ## train, evaluate and sample from a small model, on any machine
	$(BIN)/python train.py configs/quickstart.py --workdir runs/quickstart
	$(BIN)/python eval.py configs/quickstart.py --workdir runs/quickstart --split test
	$(BIN)/python -m efficient_attn sample --workdir runs/quickstart --prompt 'def '

test: $(VENV)/.installed-dev  ## the test suite
	$(PYTEST) $(PARALLEL) -m 'not slow and not fuzz'

test-fast: $(VENV)/.installed-dev  ## the part that a second interpreter runs
	$(PYTEST) $(PARALLEL) -m 'fast and not slow and not fuzz'

test-slow: $(VENV)/.installed-dev  ## checks that take minutes
	$(PYTEST) -m slow

fuzz: $(VENV)/.installed-dev  ## many more random examples; FUZZ_SEED=1, 2, ... draws others
	$(PYTEST) $(PARALLEL) -m fuzz --fuzz-seed $(FUZZ_SEED)

check: $(VENV)/.installed-dev  ## format, lint, examples of the documents, register of results
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(PYTEST) -q --doctest-glob='*.md' README.md docs
	$(BIN)/python -m efficient_attn results --check

types: $(VENV)/.installed-dev  ## static types; pyright may fetch its own parts once
	$(BIN)/pyright --pythonpath $(BIN)/python efficient_attn

figures: $(VENV)/.installed  ## draw the figures of the documents
	$(BIN)/python -m efficient_attn figures

results: $(VENV)/.installed  ## write docs/results.md from the register
	$(BIN)/python -m efficient_attn results

clean:  ## remove the virtual environments and caches
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) --editable '.[plots,tensorboard]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) --editable '.[plots,tensorboard,dev]'
	touch $@
