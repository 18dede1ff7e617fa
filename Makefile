# Every target sets up what it needs: a virtual environment in .venv, pinned by
# constraints.txt. PYTHON chooses the interpreter that makes it (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: train test test-slow mutants lint constraints clean

train: $(READY)
	$(BIN)/python -m experiments.cartpole_ppo

test: export TEST_COMPILATION := quick
test: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --durations=15

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --durations=15

# Breaks the losses in a thousand small ways; fails if 5% of them go unnoticed.
mutants: $(READY)
	$(BIN)/python -m tests.losses.mutate

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt \
		--editable ".[dev,reverb]"
	touch $(READY)

# Renews the pins, for every supported Python at once.
constraints: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
		--extra dev --extra reverb --no-annotate --no-header --no-emit-index-url \
		--no-emit-find-links --no-emit-package tfp-nightly \
		--output-file constraints.txt pyproject.toml

clean:
	rm -rf .venv build dist runs
