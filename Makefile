# make            what there is
# make demo       train the embedded model and see what it learnt
#
# BACKEND=cpu|cuda12|cuda13 and PYTHON=python3.12 decide instead of what is found.

VENV := .venv
BIN := $(VENV)/bin
BENEATH := pyproject.toml .ci/venv
# Naming a backend asks for that one, whatever .venv holds.
STAMP := $(VENV)/.installed$(BACKEND:%=-%)
TESTS ?=
# Each of these starts processes of its own; the others share one JupyterLab and go one by one.
TWO_AT_A_TIME := tests/unit tests/conformance tests/faults

.DEFAULT_GOAL := help
.PHONY: help venv demo lab test faults check lint format types pyright imports docs clean
# A stamp is only written when the whole recipe went well.
.DELETE_ON_ERROR:

help:
	@echo "make demo    train the embedded model in a notebook, and show before and after"
	@echo "make lab     JupyterLab with the first notebook"
	@echo "make test    every test (TESTS=tests/unit for some)"
	@echo "make faults  kill workers hundreds of times, and write the counts into docs/reliability.md"
	@echo "make check   ruff, mypy, pyright and the direction of imports"
	@echo "make format  let ruff put the code into shape"
	@echo "make docs    write the tables of docs/ anew"
	@echo "make clean   remove what these made, .venv included"

# What a user needs, and what a developer needs on top.
$(STAMP): $(BENEATH)
	@.ci/venv
	@touch $@

$(STAMP)-dev: $(BENEATH)
	@.ci/venv test dev
	@touch $(STAMP) $@

venv: $(STAMP)-dev

demo: $(STAMP)
	@$(BIN)/python -m lora_nb.demo.show

lab: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab notebooks/01_quickstart.ipynb

test: $(STAMP)-dev
ifneq ($(TESTS),)
	@$(BIN)/python -m pytest --nbval $(TESTS)
else
	@status=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TWO_AT_A_TIME) || status=1; \
	$(BIN)/python -m pytest --nbval tests/browser notebooks || status=1; \
	exit $$status
endif

# A slice of the same is in every `make test`.
faults: $(STAMP)-dev
	@LORA_NB_FAULTS=whole $(BIN)/python -m pytest tests/faults/test_faults_kills.py

check: lint types pyright imports

lint: $(STAMP)-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(STAMP)-dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: $(STAMP)-dev
	@$(BIN)/mypy --strict

pyright: $(STAMP)-dev
	@$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(STAMP)-dev
	@$(BIN)/lint-imports

docs: $(STAMP)-dev
	@$(BIN)/python -m lora_nb.config.docs
	@$(BIN)/python -m lora_nb.commands.docs

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
