# `make` lists the commands. Needs git, make and Python 3.11 or newer; everything else is installed here.

PYTHON := $(or $(shell command -v python3 2>/dev/null),python)
# The pattern stands for a name with blanks and quotes, which Copier renders.
PACKAGES := template/*requirements*/packages.py
BIN := .venv/bin
DEMO := demo/my-ai-project

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk -F ':[^#]*## ' '/^[[:alnum:]_.-]+:[^#]*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what this repository needs, and its git hooks
	@rm -f .venv/ready
	@$(MAKE) --no-print-directory .venv/ready
	@$(BIN)/pre-commit install --install-hooks

.venv/ready: requirements.txt dev-requirements.txt
	@$(PYTHON) $(PACKAGES) --root . install
	@touch $@

.PHONY: demo
demo: .venv/ready ## Make a project, run its notebook, commit it, build its image
	@BIN=$(abspath $(BIN)) sh docs/demo.sh $(DEMO)

.PHONY: test
test: .venv/ready ## Run the tests; those of images where a container engine answers
	@$(BIN)/pytest --numprocesses auto --dist loadgroup

.PHONY: test-all
test-all: .venv/ready ## Run the tests for every combination of answers, not only all pairs
	@$(BIN)/pytest --numprocesses auto --dist loadgroup --all-answers

.PHONY: lint
lint: .venv/ready ## Run the checks of the commit hook on all files
	@$(BIN)/pre-commit run --all-files

.PHONY: lock
lock: .venv/ready ## Make this repository's locks fit their .in files again
	@$(BIN)/python $(PACKAGES) --root . lock

.PHONY: locks
locks: .venv/ready ## Do the same for the locks that projects start with (UPGRADE=1: newest versions)
	@for stack in $(notdir $(wildcard locks/*)); do echo "$$stack:"; \
	  $(BIN)/python $(PACKAGES) --root locks/$$stack $(if $(UPGRADE),upgrade,lock) \
	  && rm -rf build/$$stack && $(BIN)/copier copy --quiet --defaults --vcs-ref HEAD \
	    --data stack=$$stack --data dependency_manager=uv . build/$$stack \
	  && if [ ! -e locks/$$stack/uv/uv.lock ]; then rm build/$$stack/uv.lock; fi \
	  && $(BIN)/uv lock --project build/$$stack $(if $(UPGRADE),--upgrade) \
	  && mkdir -p locks/$$stack/uv && cp build/$$stack/uv.lock locks/$$stack/uv || exit; done

.PHONY: bench
bench: .venv/ready ## Measure what users wait for
	@for benchmark in project hook image; do $(BIN)/python -m benchmarks.$$benchmark || exit; done
