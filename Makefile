# AgentLM: set up, serve, check, test. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check
# gpu or cpu, by what the machine has; `make install KIND=cpu` overrules.
KIND ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
LOCK := deploy/lock/$(KIND).txt
MODEL ?= smollm2-135m
PORT ?= 8000
PROFILE ?= full
ARGS ?=
# A worker for each core, but few enough that their models fit in memory (tests/conftest.py groups).
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadgroup

SOURCES := core server finetune tools environments clients
# A folder's time changes when a file is added to it: then the package is installed again.
# The folder clients is spelt clients/. here, because `make clients` is something else.
FOLDERS := $(shell find $(SOURCES:%=%/.) -path server/./ui -prune -o -type d -not -name __pycache__ -print)
# What the page is built from: its own source, and the API that its types are made of.
PAGE := core/look.css $(shell find server/ui -name node_modules -prune -o -name dist -prune -o \
    -type f -not -name .built -not -name 'openapi.json*' -not -name schema.d.ts -print)
API := $(shell find server/routes server/openai server/http core -maxdepth 1 -name '*.py')

.PHONY: help install model graph page serve check docs test test-slow ui-test reproduce bench-dataset bench-env bench-gpu bench-page bench-serve bench-store bench-swap bench-tools bench-train clients lock clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

install: model graph page  ## set everything up: Debian packages, environment, default model, page

serve: install  ## set up, then serve MODEL=smollm2-135m on PORT=8000; more flags in ARGS="…"
	@$(VENV)/bin/agentlm-serve --model $(MODEL) --port $(PORT) $(ARGS) || [[ $$? -eq 130 ]]

check: $(VENV)/.packages  ## formatting, types and import directions
	@rm -rf build && $(MAKE) build/.installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: build/.installed  ## the pages of docs/ as a site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

test: install $(VENV)/.debian-test  ## every test but the slow ones, with real vLLM and DeepSpeed
	@rm -rf build && $(MAKE) build/.installed
	$(VENV)/bin/pytest $(SIDE_BY_SIDE) $(ARGS)

test-slow: install $(VENV)/.debian-test  ## the slow tests
	@rm -rf build && $(MAKE) build/.installed
	$(VENV)/bin/pytest -m slow $(ARGS)

ui-test: install $(VENV)/.debian-test  ## the page end to end, in Chromium against a real server
	$(VENV)/bin/pytest -m ui tests/page tests/bench $(ARGS)

reproduce: install  ## do the experiment again: PROFILE=full (20 h) or quick (90 min); goes on after a kill
	@$(VENV)/bin/agentlm reproduce --profile $(PROFILE) $(ARGS)

bench-dataset: install  ## what selecting from the log and building a data set cost
	$(VENV)/bin/python tests/bench/bench_dataset.py $(ARGS)

bench-env: install  ## what the environments cost without a model
	$(VENV)/bin/python -m agentlm.environments.bench $(ARGS)

bench-page: install $(VENV)/.debian-test  ## first view and frames a second of the page, on a long log
	$(VENV)/bin/python tests/bench/bench_page.py $(ARGS)

bench-serve: install  ## AgentLM beside vLLM's own server and a LangGraph agent on it
	$(VENV)/bin/python tests/bench/bench_serve.py $(ARGS)

bench-store: install  ## what the log costs beside the disk, and how it grows
	$(VENV)/bin/python tests/bench/bench_store.py $(ARGS)

bench-swap: install  ## what promoting a model costs those who are being answered
	$(VENV)/bin/python tests/bench/bench_swap.py $(ARGS)

bench-tools: install  ## what a call of each tool costs
	$(VENV)/bin/python tests/bench/bench_tools.py $(ARGS)

bench-train: install  ## our trainer beside TRL's on the same rows: sft, dpo, grpo
	$(VENV)/bin/python tests/bench/bench_train.py $(ARGS)
	$(VENV)/bin/python tests/bench/bench_train_rewarded.py

bench-gpu: install  ## a quarter of an hour on one GPU: the trainer's tests, then beside TRL at Llama-2-7B's shape
	$(VENV)/bin/pytest tests/finetune/test_packing.py tests/finetune/test_losses.py tests/finetune/test_distill.py tests/finetune/test_fewer_bits.py
	$(VENV)/bin/python tests/bench/bench_train.py --shape llama-2-7b --kinds lora --repeat 1
	$(VENV)/bin/python tests/bench/bench_train_rewarded.py --shape llama-2-7b --repeat 1

clients: install  ## the field's client libraries against a scripted server: who can do what
	@PYTHONPATH=tests $(VENV)/bin/python -m client_matrix $(ARGS)

lock: $(VENV)/bin/python  ## resolve pyproject.toml anew into deploy/lock/cpu.txt and gpu.txt
	@for kind in cpu gpu; do \
	    echo "Resolving the $$kind lock"; \
	    $(VENV)/bin/python deploy/lock/make_lock.py $$kind > build.lock; \
	    mv build.lock deploy/lock/$$kind.txt; \
	done

page: server/ui/.built  ## build the page at / (server/ui) with Node from a package index

# Where Node can't be had there is no mark: the next time tries again.
server/ui/.built: $(PAGE) $(API) deploy/page | build/.installed
	@deploy/page $(VENV)/bin/python

clean:  ## remove the environment and everything built
	rm -rf $(VENV) .venv-clients build dist server/ui/node_modules server/ui/dist server/ui/.built *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.debian-%: deploy/debian-packages | $(VENV)/bin/python
	@deploy/debian-packages $*
	@touch $@

$(VENV)/bin/python:
	@deploy/needs $(KIND) .
	@deploy/debian-packages serve
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is older than 3.11; name another: make install PYTHON=…"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade pip

# --no-deps because pip can't leave out a dependency; deploy/lock/exclude.txt names those and why.
# The cpu lock means the CPU build of torch. PyTorch keeps such builds (2.13.0+cpu) in an index of
# its own; where pip's default index has only the CUDA build, add that one by PIP_EXTRA_INDEX_URL:
# a build with a local version is preferred to one without, so the same pin then finds it.
$(VENV)/.packages: $(LOCK) | $(VENV)/bin/python $(VENV)/.debian-serve
	@deploy/install-lock $(LOCK) $(PIP)
	@$(VENV)/bin/python -c 'import torch' || { echo "torch does not load:" \
	    "pip found a build for other hardware; see the note in the Makefile"; exit 1; }
	@touch $@

build/.installed: pyproject.toml $(FOLDERS) $(VENV)/.packages
	@rm -rf build
	@$(PIP) install -qq --no-deps --no-build-isolation \
	    --config-settings editable_mode=strict --editable .
	@touch $@

# What these make is the user's and outlives this checkout, so they look instead of trusting a mark.
model: build/.installed
	@$(VENV)/bin/agentlm models pull smollm2-135m

graph: build/.installed $(VENV)/.debian-serve  ## build the knowledge graph of WordNet and GeoNames
	@$(VENV)/bin/python -m agentlm.tools.graph.build
