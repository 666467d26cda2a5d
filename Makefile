# The door to the house. Each target needs only Python 3.11 or newer, make and a C compiler: it makes .venv by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
ARGS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

# Prints a Python that is new enough and can make virtual environments; $(PYTHON) if given, else the first that works.
define FIND_PYTHON
found=; \
for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14); do \
  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
    found=$$candidate; break; \
  fi; \
done; \
if [ -z "$$found" ]; then \
  echo "error: no Python 3.11 or newer with its venv module among: $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)" >&2; \
  echo "  hint: install it (Debian and Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12" >&2; \
  exit 1; \
fi
endef

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9_-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A virtual environment whose Python works; one that does not (its Python is gone, or it was half made) is made anew.
.PHONY: working-venv
working-venv:
	@if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "making $(VENV) with $$("$$found" --version)" >&2; \
	  "$$found" -m venv --clear $(VENV); \
	fi

# Two stamps: what the product needs, and that plus the tools. The larger one counts as the smaller.
$(VENV)/.runtime: pyproject.toml | working-venv
	@echo "installing Penstock into $(VENV)" >&2
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | working-venv
	@echo "installing Penstock and its tools into $(VENV)" >&2
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.runtime $@

.PHONY: install
install: $(VENV)/.dev ## make .venv with Penstock and its tools

.PHONY: venv
venv: install

.PHONY: up
up: $(VENV)/.runtime ## run examples/quickstart.yaml: http://127.0.0.1:8080/v1, key penstock-demo (Ctrl-C stops it)
	@exec $(BIN)/penstock up examples/quickstart.yaml $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## run the tests that need no real engine (ARGS='-k routing' picks some)
	@$(BIN)/python -m pytest -n 2 -m "not e2e" $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## lint, format, types, layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.dev ## format, and mend what lint can mend
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.dev ## measure the gateway beside other gateways; table and JSON (minutes; leave the machine alone)
	@$(BIN)/python -m bench.run $(ARGS)

.PHONY: e2e
e2e: $(VENV)/.dev ## install real vLLM (CPU, 0.6 GB) into .venv-vllm, run the tests with it, the quickstart and a browser
	@$(BIN)/python tests/e2e/engine/install.py
	@$(BIN)/python -m pytest -m e2e -o faulthandler_timeout=900 tests $(ARGS)

.PHONY: docs
docs: $(VENV)/.dev ## write docs/fleet-file.md and docs/doctor.md anew from the types and the rules
	@$(BIN)/penstock spec reference > docs/fleet-file.md.new
	@mv docs/fleet-file.md.new docs/fleet-file.md
	@$(BIN)/penstock doctor --page > docs/doctor.md.new
	@mv docs/doctor.md.new docs/doctor.md

GOLDEN := tests/plan/test_record.py tests/simulate/fleet/test_record.py tests/plan/manifests/test_engine.py tests/plan/manifests/test_render.py \
  tests/plan/manifests/monitoring/test_runbooks.py tests/operate/testing/test_behaviours.py

.PHONY: chaos
chaos: $(VENV)/.dev ## kill, freeze and restart engines and the gateway under load; exit 1 on any loss (ARGS='--real .venv-vllm')
	@$(BIN)/python -m bench.chaos $(ARGS)

.PHONY: sim
sim: $(VENV)/.dev ## let real gateways run in virtual worlds that fail: make sim SEED=0 N=500
	@$(BIN)/python -m bench.sim --seed $(or $(SEED),0) --count $(or $(N),500) $(ARGS)

.PHONY: golden
golden: $(VENV)/.dev ## write golden plans, simulations, manifests, runbooks and tables anew; review the difference like code
	@PENSTOCK_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q $(GOLDEN)

.PHONY: wheel
wheel: $(VENV)/.dev ## build the wheel, install it as the container image does into an empty folder, serve a chat from it
	@rm -rf dist build/image && mkdir -p build
	@$(BIN)/python -m build --wheel --outdir dist . > build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@PYTHON=$(BIN)/python image/install.sh build/image dist/penstock-*.whl
	@image/check.sh build/image

.PHONY: lock
lock: $(VENV)/.dev ## write image/constraints.txt anew: the newest versions that pyproject.toml takes
	@rm -rf build/lock && $(BIN)/python -m venv build/lock
	@build/lock/bin/python -m pip install --quiet --disable-pip-version-check --no-input .
	@{ echo "# Versions of everything in the container image; written by \`make lock\`, installed by image/install.sh."; \
	   build/lock/bin/python -m pip freeze --exclude penstock --exclude pip --exclude setuptools; } > image/constraints.txt

.PHONY: clean
clean: ## remove .venv and everything built or cached
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .penstock bench/build
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
