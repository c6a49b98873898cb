# make demo     two nodes on this PC answer from documents, one is killed, the other goes on (KEEP=1: leave them running)
# make test     everything that CI runs
# make check    the static half of it: style, types, floors, the systemd unit
# make bench    the measurements (ARGS="latency --quick")
# make fuzz     random bytes against every decoder that strangers reach (FUZZ_S=60: seconds for each of the five)
# make install  the virtual environment .venv with all that the above need; they call it by themselves
# make soak     faults and questions without end, and a verdict (MINUTES=60; needs root for network namespaces)
# make clean    remove what was built, measured and demonstrated; DEEP=1: the virtual environment too
#
# PYTHON=python3.12          the interpreter for a new .venv
# EXTRAS=cognitive           only these parts of pyproject.toml's optional dependencies
# TORCH_INDEX=https://…      a package index with CPU builds of torch, where the default one brings CUDA (several GB)
# SYSTEM_PACKAGES=keep       never call apt-get, only say what is missing

SHELL  := /bin/bash
PYTHON ?= python3
EXTRAS ?= cognitive,transformers,processing,dev
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?= all --quick
FUZZ_S ?= 60
MINUTES ?= 60
export PYTHON TORCH_INDEX SYSTEM_PACKAGES

.DEFAULT_GOAL := help
.PHONY: help install install-test demo test check bench fuzz soak clean freeze

help:
	@sed -n '/^#/!q; s/^# \?//p' $(MAKEFILE_LIST)

install:
	@packaging/system-packages.sh run
	@packaging/python-packages.sh $(VENV) $(EXTRAS) editable

install-test:
	@packaging/system-packages.sh test
	@packaging/python-packages.sh $(VENV) $(EXTRAS) editable

demo: install
	@PYTHONPATH=. $(BIN)/python packaging/demo.py $(if $(KEEP),--keep)

test: install-test check
	@echo "== tests"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: install-test
	@echo "== style"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== floors"
	@$(BIN)/lint-imports
	@echo "== systemd unit"
	@packaging/systemd/check.sh

bench: install
	@$(BIN)/python -m bench $(ARGS)

soak: install-test
	@$(BIN)/python -m bench faults --minutes $(MINUTES)

fuzz: install-test
	@$(BIN)/python -m tests.fuzz.corpus .bench/fuzz/corpus
	@for target in datagram hello frames token txt; do \
	    mkdir -p .bench/fuzz/found/$$target; \
	    $(BIN)/python -m tests.fuzz.fuzz_$$target .bench/fuzz/found/$$target .bench/fuzz/corpus/$$target \
	        -max_total_time=$(FUZZ_S) -artifact_prefix=.bench/fuzz/ || exit 1; \
	done

clean:
	rm -rf build dist .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
	$(if $(DEEP),rm -rf $(VENV) *.egg-info)

# Renews packaging/constraints.txt from what is installed, after an upgrade that passed the tests.
freeze:
	@{ grep '^#' packaging/constraints.txt; $(BIN)/python -m pip --disable-pip-version-check list --format=freeze \
	    --exclude-editable --exclude pip --exclude setuptools | sed 's/+[a-z0-9]*$$//'; } > .constraints.new \
	    && mv .constraints.new packaging/constraints.txt
