# Each target does its own set-up; it needs Python 3.11 or newer and make.
PYTHON ?= python3
WORKERS ?= 2
# The demonstration is small, and the GPUs of a shared machine are in use; 1 takes one per worker.
GPUS_PER_WORKER ?= 0
PYTEST_WORKERS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help demo test check docs docs-test format

help:  ## this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14
	@echo "new here: make demo, then docs/tutorial.md"

demo: $(STAMP)  ## one comparison on synthetic records, from WFDB files to a verdict
	$(BIN)/ecgopt run studies/demo.toml --workers $(WORKERS) --gpus-per-worker $(GPUS_PER_WORKER)

test: $(STAMP)  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal -q

check: $(STAMP)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

docs: $(STAMP)  ## the documentation as a site in site/, warnings as errors
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -d build/doctrees docs site

docs-test:  ## every command of README and tutorial, in order, in a fresh clone
	$(PYTHON) tests/support/newcomer.py

format: $(STAMP)  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamp comes last, so an interrupted installation is taken up again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ecgopt needs Python >= 3.11, but $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "installing torch and $$(grep -c == requirements.lock) packages into .venv: about 3 GB, more with the CUDA build of torch; some minutes"
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
