SHELL := /bin/bash
# Two commands do all set-up: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
DATASET ?= movielens
EVENTS ?= 200000
SEED ?= 1
RUNS := runs/$(DATASET)
FIT = $(BIN)/trainer fit --marts data/marts/$(DATASET) --seed $(SEED) --force --stage
VARS := --vars '{dataset: $(DATASET)}'

.PHONY: demo ladder test tests check lint lint-python lint-sql lock contract proof chaos bench bench-warehouse bench-trainer docs clean

# ---- installs: ranges in pyproject.toml, the exact versions of everything in constraints.txt
# Python compiles what it imports; pip would compile all 23,000 modules, some 36 CPU seconds.
# Newer versions of pip pass on what setuptools says to authors of editable packages: ignored.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "Error: Python 3.11, 3.12 or 3.13 is needed; found '$(PYTHON)': make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv --upgrade-deps .venv  # Python 3.11 brings a pip of 2023, which takes a quarter longer

.venv/installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e '.[all]'
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) -e '.[dev]'
	@touch .venv/installed $@

# ---- constraints.txt anew, for Python 3.11 to 3.13 at once; it keeps what still fits, LOCK=--upgrade takes the newest
lock:
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate --custom-compile-command 'make lock' $(LOCK) --output-file constraints.txt pyproject.toml

# ---- the path, end to end: raw log -> marts -> two priors, trees as of the day, trees and a network as of the instant -> a report
demo: .venv/installed
ifeq ($(DATASET),simulated)
	$(BIN)/warehouse simulate --events $(EVENTS) --out data/raw/simulated
else ifeq ($(DATASET),movielens)
	$(BIN)/warehouse fetch movielens
endif
	$(BIN)/dbt build $(VARS)
	$(FIT) 00_floor --run $(RUNS)/00_floor
	$(FIT) 00_gbdt --run $(RUNS)/00_gbdt_v1 --mart training_examples_v1
	$(FIT) 00_gbdt --run $(RUNS)/00_gbdt
	$(FIT) 01_dnn --run $(RUNS)/01_dnn
	$(BIN)/trainer report --runs $(RUNS)/00_floor --runs $(RUNS)/00_gbdt_v1 --runs $(RUNS)/00_gbdt --runs $(RUNS)/01_dnn --output $(RUNS)/report.html

# ---- every rung over three seeds, each step with its interval
ladder: .venv/installed
	$(BIN)/trainer ladder --dataset $(DATASET) --seeds 3

# ---- checks: a file's tests stay together, the slow files (tests/conftest.py) start first; two workers of one thread each
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# The linters run beside the first tests, on what these leave of the cores while they wait.
test: .venv/installed-dev
	@$(MAKE) --no-print-directory --jobs 3 lint tests

tests: .venv/installed-dev
	MAKEFLAGS= $(PYTEST) --durations 10

# ---- a first look: the Python linters and the tests of all files that aren't slow
check: lint-python
	$(PYTEST) -m 'not slow'

lint: lint-python lint-sql

lint-sql: .venv/installed-dev
	$(BIN)/sqlfluff lint warehouse --disable-progress-bar 2>&1 | grep -v -e nanobind -e leaked -e skipped -e refleaks; exit $${PIPESTATUS[0]}

lint-python: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# ---- a mart's yml takes over what the features' yml says of their columns
contract: .venv/installed
	$(BIN)/python -m warehouse.contract

# ---- the point-in-time proofs by themselves: warehouse prove on a small simulated log, brute force, and the mutants with what caught each
PROOF := target/proof
proof: .venv/installed-dev
	rm -rf $(PROOF) && mkdir -p $(PROOF) && cp -r warehouse dbt_project.yml profiles.yml $(PROOF)
	$(BIN)/warehouse simulate --events 20000 --out $(PROOF)/data/raw/simulated
	cd $(PROOF) && $(CURDIR)/$(BIN)/dbt --quiet run --vars '{dataset: simulated}' --select +stg_events
	cd $(PROOF) && $(CURDIR)/$(BIN)/warehouse prove --vars '{dataset: simulated}'
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -v -rP tests/warehouse/test_mutants.py tests/warehouse/test_point_in_time.py tests/warehouse/test_any_feature.py tests/warehouse/test_prove.py | grep -E 'PASS|FAIL|ERROR|^mutant|^proven|^not brute|passed|failed'; exit $${PIPESTATUS[0]}

# ---- kill -9 at random moments, full disks, two at once; CHAOS_SEED=2 draws others, CHAOS_KILLS=10 fewer, CHAOS_SECONDS=150 more
chaos: .venv/installed-dev
	$(BIN)/python -m pytest tests/chaos -n 2 --maxschedchunk 1

# ---- measurements: ratios to peers in one run (downloads the peers into a throw-away folder)
bench: .venv/installed
	$(BIN)/python benchmarks/embeddings/run.py --marts data/marts/$(DATASET)

bench-warehouse: .venv/installed-dev
	$(BIN)/python benchmarks/warehouse/run.py

bench-trainer: .venv/installed
	$(BIN)/python benchmarks/trainer/run.py

docs: .venv/installed
	$(BIN)/warehouse docs $(VARS)

clean:
	rm -rf target logs
