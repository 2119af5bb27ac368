# `make` lists the commands. Needs git, make and Python 3.11 or newer; everything else is installed here.

PYTHON := $(or $(shell command -v python3 2>/dev/null),python)
# This repository locks as projects with requirements.txt do.
TOOLS := template/{% if dependency_manager == 'requirements' %}tools{% endif %}
PACKAGES := template/tools/packages.py
TORCH := "template/tools/{% if stack == 'deep-learning' %}pintorch.py{% endif %}"
BIN := .venv/bin
DEMO := demo/my-ai-project
# Warnings are errors, such as a link to a heading that is gone.
SPHINX := build/docs/bin/sphinx-build --quiet --fail-on-warning --keep-going
LANGUAGE := en

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
	@PYTHONPATH="$(TOOLS)" $(PYTHON) $(PACKAGES) --root . install
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

.PHONY: test-cuda
test-cuda: .venv/ready ## Build the image for CUDA and try it, which needs no GPU and 30 GB of disk
	@$(BIN)/pytest --numprocesses 0 --cuda -rA tests/image/test_cuda_image.py

.PHONY: lint
lint: .venv/ready ## Run the checks of the commit hook on all files
	@$(BIN)/pre-commit run --all-files

.PHONY: lock
lock: .venv/ready ## Make this repository's locks fit their .in files again
	@PYTHONPATH="$(TOOLS)" $(BIN)/python $(PACKAGES) --root . lock
	@$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	  --output-file docs/requirements.txt docs/requirements.in

build/docs/ready: docs/requirements.txt .venv/ready
	@$(BIN)/uv venv --quiet --clear build/docs
	@$(BIN)/uv pip sync --quiet --require-hashes --python build/docs docs/requirements.txt
	@touch $@

.PHONY: docs
docs: build/docs/ready ## Build the site in build/site, in English and in French
	@$(BIN)/python docs/describe.py
	@$(BIN)/python docs/translations.py
	@$(SPHINX) docs build/site
	@$(SPHINX) --define language=fr --conf-dir docs docs/fr build/site/fr
	@echo "Open build/site/index.html"

.PHONY: docs-serve
docs-serve: build/docs/ready ## Show the site, and build it again while you write (LANGUAGE=fr: the French one)
	@build/docs/bin/sphinx-autobuild --open-browser --port 0 --conf-dir docs --define language=$(LANGUAGE) \
	  $(if $(filter fr,$(LANGUAGE)),docs/fr,docs) build/serve

.PHONY: pictures
pictures: ## Draw the pictures of docs/pictures again, after an edit of a .dot file
	@for drawing in docs/pictures/*.dot; do docs/draw "$$drawing" || exit; done

.PHONY: recording
recording: build/docs/ready ## Run the demonstration, and draw what the terminal shows for the README
	@build/docs/bin/python docs/record.py
	@$(BIN)/python docs/photograph.py

.PHONY: locks
locks: .venv/ready ## Do the same for the locks that projects start with (UPGRADE=1: newest versions)
	@BIN=$(BIN) locks/relock $(if $(UPGRADE),upgrade,lock)

.PHONY: torch
torch: .venv/ready ## Give projects for the CPU another torch (VERSION=2.13.0; TORCH_INDEX: a mirror), then `make locks`
	@for about in includes/torch.toml locks/deep-learning/pyproject.toml; do $(BIN)/python $(TORCH) cpu $(VERSION) \
	  --file locks/deep-learning/requirements.in --about $$about || exit; done

.PHONY: hooks
hooks: .venv/ready ## Make this repository's hooks of those that projects get, and keep its own
	@rm -rf build/hooks && $(BIN)/copier copy --quiet --defaults --vcs-ref HEAD . build/hooks
	@sed -n '/Yours below/,$$p' .pre-commit-config.yaml | sed 1d > build/own-hooks
	@sed "s,python\, tools/packages.py,env\, \"PYTHONPATH=$(TOOLS)\"\, python\, tools/packages.py\, --root\, .,; \
	  s, tools/, template/tools/," \
	  build/hooks/.pre-commit-config.yaml | cat - build/own-hooks > build/all-hooks
	@mv build/all-hooks .pre-commit-config.yaml

.PHONY: bench
bench: .venv/ready ## Measure what users wait for
	@for benchmark in project hook image server tutorial; do $(BIN)/python -m benchmarks.$$benchmark || exit; done
