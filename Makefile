# From a fresh clone each target makes all it needs: .tools (uv, by way of the machine's python3 and pip), then .venv.
# On the machine: python3 (3.11 or later), pip, make. A second call finds the stamps and goes straight to work.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format dist bench aimock clean setup

UV := .tools/bin/uv
BIN := .venv/bin
AIMOCK := .cache/aimock/node_modules/.bin/llmock
ARGS ?=

# Where the tests find the foreign server, once `make aimock` has brought it; empty means there is none.
export LLMCORE_AIMOCK ?= $(wildcard $(CURDIR)/$(AIMOCK))
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# npm trusts what the system trusts, as uv does here (system-certs) and pip by itself.
export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
# Whatever the caller's shell says of other environments must not lead this one astray.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH UV_PROJECT_ENVIRONMENT UV_PYTHON VIRTUAL_ENV

help: ## show this list
	@awk -F ' *:.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/.stamp ## the main job on one screen: no key, no service
	@$(BIN)/llmcore demo $(ARGS)

test: .venv/.stamp ## the whole suite, what was skipped listed at its end (ARGS="tests/test_x.py -k word")
	@$(BIN)/pytest $(ARGS)

lint: .venv/.stamp ## ruff (rules and format) and mypy --strict
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy . || status=1; \
	exit $$status

format: .venv/.stamp ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dist: .venv/.stamp ## wheels of the host and of every plugin, in dist/
	@rm -rf dist
	@$(UV) build --quiet --all-packages --wheel --no-build-isolation --python $(BIN)/python --out-dir dist
	@ls dist

bench: .venv/.stamp ## what it costs, against its peers (ARGS="imports uncached"); see benchmarks/README.md
	@$(BIN)/python -m benchmarks $(ARGS)

aimock: $(AIMOCK) ## a foreign OpenAI-compatible server for the tests that want one (needs npm)

setup: .venv/.stamp ## only the environment

clean: ## remove everything that make has made
	rm -rf .venv .tools .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis uv.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/.stamp: scripts/bootstrap
	@scripts/bootstrap .tools
	@touch $@

.venv/.stamp: .tools/.stamp pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@echo "Setting up .venv (once; again when a pyproject.toml changes)" >&2
	@$(UV) sync --quiet --python .tools/bin/python
	@touch $@

$(AIMOCK):
	@npm install --loglevel=error --fetch-retries=1 --no-audit --no-fund --no-save --no-package-lock --prefix .cache/aimock @copilotkit/aimock@1.43
