# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv

# Tests begin a hundred processes: each would compile every module anew where Python may not keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check clean

demo: $(VENV)/ready
	$(VENV)/bin/brainfm demo --out demo

test: $(VENV)/ready
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

check: $(VENV)/ready
	$(VENV)/bin/ruff format --check brainfm tests benchmarks
	$(VENV)/bin/ruff check brainfm tests benchmarks
	$(VENV)/bin/mypy

# Made again when the dependencies change.
$(VENV)/ready: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $(VENV)/ready

clean:
	rm -rf $(VENV) demo runs
