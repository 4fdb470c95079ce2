# Everything starts here: `make help`. Variables are set on the command line: make sweep PATCH=8,4 ARGS="--epochs 2"
PYTHON  ?= python3
RECIPE  ?= shapes.deit_nano,shapes.adventurer_nano
PATCH   ?= 16,8,4,2,1
RESULTS ?= results
ARGS    ?=
EXTRAS  ?= dev
UV      := uv==0.13.8

# PYTHONNOUSERSITE: only what the lock names is imported, not what the user's home happens to hold.
export PYTHONNOUSERSITE := 1
# mamba-ssm without what nvcc compiles: its Triton kernels need no more. Its build imports torch.
export MAMBA_FORCE_BUILD := TRUE
export MAMBA_SKIP_CUDA_BUILD := TRUE
RUN   := .venv/bin/python
BUILT := --no-build-isolation-package patch-scaling --no-build-isolation-package mamba-ssm \
         --no-build-isolation-package causal-conv1d
STAMP := .venv/.installed-$(EXTRAS)

.DEFAULT_GOAL := help
.PHONY: help setup sweep laws report paper plan claims docs notebooks test test-slurm lowest lint bench gpu-report lock clean

help: ## show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Variables: RECIPE=$(RECIPE)"
	@echo "             PATCH=$(PATCH) RESULTS=$(RESULTS) ARGS=\"--epochs 2\" EXTRAS=$(EXTRAS)"

setup: $(STAMP) ## make .venv from requirements.lock (once; EXTRAS=dev,dense for more)

$(STAMP): requirements.lock pyproject.toml scaling/backbones/ssd/tile_kernels.cpp scaling/backbones/ssd/tile_kernels.h
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "setup: $(PYTHON) is older than 3.10; name a newer one: make setup PYTHON=python3.12" >&2; exit 2; }
	@test -x $(RUN) || $(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "setup: $(PYTHON) has no venv module; on Debian: apt install python3-venv" >&2; exit 2; }
	@echo "setup: installing what requirements.lock names into .venv (once, about 6 GB with torch)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check $(UV)
	@.venv/bin/uv pip install --quiet --python $(RUN) --compile-bytecode -c requirements.lock setuptools packaging torch
	@.venv/bin/uv pip install --quiet --python $(RUN) --compile-bytecode -c requirements.lock \
	  $(BUILT) -e ".[$(EXTRAS)]"
	@touch $@

sweep: $(STAMP) ## train every recipe at every patch size, fit the laws, plot them
	@$(RUN) experiments/sweep.py $(RECIPE) $(if $(filter file,$(origin PATCH)),,--patch $(PATCH)) --results "$(RESULTS)" $(ARGS)

laws: $(STAMP) ## fit the laws to the runs in RESULTS again
	@$(RUN) analysis/fit_laws.py --results "$(RESULTS)" $(ARGS)

report: $(STAMP) ## one HTML page of the runs in RESULTS: laws, curves, table, pictures, failures, checklist
	@$(RUN) experiments/report.py --results "$(RESULTS)" $(ARGS)

paper: $(STAMP) ## Tables 1 to 7 and Figures 1 to 4 of the paper, with the runs in RESULTS next to them
	@$(RUN) analysis/fit_laws.py --published $(if $(filter file,$(origin RESULTS)),,--results "$(RESULTS)") --out "$(RESULTS)/paper" $(ARGS)

plan: $(STAMP) ## hours, memory and price of RECIPE, before training (ARGS="--gpu a100 --price 2.5")
	@$(RUN) experiments/plan.py $(RECIPE) $(if $(filter file,$(origin PATCH)),,--patch $(PATCH)) --results "$(RESULTS)" $(ARGS)

claims: $(STAMP) ## claims of the source texts against arithmetic and measurements: docs/claims.md
	@$(RUN) -m analysis.claims $(ARGS)

docs: $(STAMP) ## write every figure and table of README.md and docs/ from the records, and docs/ as a web site
	@$(RUN) experiments/docs.py $(ARGS)
	@$(RUN) experiments/website.py --out "$(RESULTS)/site"

notebooks: $(STAMP) ## execute notebooks/ and keep their outputs in them
	@$(RUN) notebooks/execute.py

test: $(STAMP) ## the whole test suite: no GPU, no network, nothing outside this folder
	@$(RUN) -m pytest -q -n 2 --dist worksteal tests $(ARGS)

test-slurm: $(STAMP) ## sweeps on a real SLURM, started on this machine (Debian, as root; elsewhere skipped)
	@PATCH_TEST_SLURM=1 $(RUN) -m pytest -q -n 0 -rs tests/slurm $(ARGS)

lowest: $(STAMP) ## the test suite on the oldest versions that pyproject.toml allows, in .venv/lowest
	@.venv/bin/uv venv --quiet --clear --python $(RUN) .venv/lowest
	@.venv/bin/uv pip install --quiet --python .venv/lowest/bin/python --resolution lowest-direct 'setuptools<81' -e .
	@.venv/bin/uv pip install --quiet --python .venv/lowest/bin/python --resolution lowest-direct $(BUILT) -e ".[dev]"
	@.venv/lowest/bin/python -m pytest -q -n 2 --dist worksteal tests $(ARGS)

lint: $(STAMP) ## ruff (lint and format) and mypy
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench: $(STAMP) ## measure framework overhead, data loading, the mixer, speed options
	@$(RUN) experiments/benchmark.py $(ARGS)

gpu-report: $(STAMP) ## all that needs a CUDA device: tests, kernels by length, Table 6, memory
	@$(RUN) experiments/gpu_report.py --out "$(RESULTS)/gpu_report" $(ARGS)

lock: ## resolve requirements.lock again from pyproject.toml
	@.venv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --generate-hashes \
	  --no-emit-package patch-scaling --no-header --no-annotate --quiet -o requirements.lock --upgrade

clean: ## remove .venv (results stay)
	rm -rf .venv
