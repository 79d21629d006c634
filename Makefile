# In a fresh clone each target first creates .tools (uv, installed with the python3 and pip of the machine), and then .venv.
# Required on the machine: python3 (3.11 or later), pip and make. Later calls find the stamp files and skip these steps.

.DEFAULT_GOAL := help
.PHONY: help demo test quick lowest shuffle soak ray figures fleet clients lint format dist bench docs aimock axe pictures requirements clean setup

UV := .tools/bin/uv
BIN := .venv/bin
AIMOCK := .cache/aimock/node_modules/.bin/llmock
AXE := .cache/axe/node_modules/axe-core/axe.min.js
ARGS ?=
PINNED ?=
export ADDRESS ?=
export REF ?= HEAD
# Two workers for each core, because tests spend nearly half of their time waiting (for processes, servers, a TTL).
WORKERS := $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
# The whole suite runs on every core; with ARGS, the selected tests run in one process.
JOBS ?= $(if $(ARGS),0,$(WORKERS))

# The path of the third-party server for the tests; empty if `make aimock` has not installed it.
export LLMCORE_AIMOCK ?= $(wildcard $(CURDIR)/$(AIMOCK))
# The path of axe-core, which checks the accessibility of pages; empty if `make axe` has not installed it.
export LLMCORE_AXE ?= $(wildcard $(CURDIR)/$(AXE))
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# Let npm trust the certificates of the system, like uv (system-certs) and pip.
export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)
# Variables of the caller that would select another environment.
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH PYTHONUNBUFFERED UV_PROJECT_ENVIRONMENT UV_PYTHON VIRTUAL_ENV

help: ## show this list
	@awk -F ' *:.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/.stamp ## a demonstration on one screen, without a key and without a service
	@$(BIN)/llmcore demo $(ARGS)

test: .venv/.stamp ## the whole suite, with a list of the skipped tests at its end (ARGS="tests/cache -k word")
	@$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

quick: .venv/.stamp ## the tests that are not slow and start no process and no server; about a minute on two idle cores
	@$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal -m "not slow and not process and not server" $(ARGS)

lowest: .venv/.stamp ## the conformance kits, with the wheels and the lowest versions of their dependencies (ARGS="openai_optimized --all")
	@$(BIN)/python -m tests.lowest $(ARGS)

shuffle: .venv/.stamp ## the conformance kits in random orders, also in parallel (ARGS="storage_fs --seeds 2 --first 7")
	@$(BIN)/python -m tests.shuffle $(ARGS)

soak: .venv/.stamp ## five minutes of random calls, cancelled at random, against servers that fail (ARGS="--seconds 60 --seed 1")
	@$(BIN)/python -m tests.soak $(ARGS)

figures: .venv/.stamp ## the figures of batches (ARGS="million --items 100000", or budget, pace, bad, kills, engines)
	@$(BIN)/python -m tests.batch_figures $(ARGS)

fleet: .venv/.stamp ## 1,000 runs of 8 processes that share a budget while servers and connections fail (ARGS="--runs 50 --seed 1")
	@$(BIN)/python -m tests.kits.fleet $(ARGS)

ray: .cache/ray/.stamp ## the tests of the engine `ray`, in a separate environment with Ray, which takes 370 MB
	@.cache/ray/bin/python -m pytest plugins/engine_ray $(ARGS)

clients: .venv/.stamp ## clients of other projects against the gateway, including those of npm (ARGS="openai npm-ai")
	@$(BIN)/python -m tests.gateway_clients $(ARGS)

lint: .venv/.stamp ## ruff (rules and format), mypy --strict, and the files for GitHub, also with actionlint if it is installed
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy . || status=1; \
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml || status=1; \
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml || status=1; \
	$(BIN)/zizmor --offline --quiet .github || status=1; \
	! command -v actionlint >/dev/null || actionlint || status=1; \
	exit $$status

format: .venv/.stamp ## format the code, and apply the fixes of ruff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dist: .venv/.stamp ## wheels of the host and of every plugin, in dist/ (ADDRESS=https://HOST/OWNER/NAME REF=v0.1.0: with project URLs)
	@rm -rf dist
	@$(UV) build --quiet --all-packages --wheel --no-build-isolation --python $(BIN)/python --out-dir dist
	@$(if $(ADDRESS),$(BIN)/python scripts/project_urls.py --address "$$ADDRESS" --ref "$$REF" dist/*.whl,:)
	@ls dist

bench: .venv/.stamp ## the benchmarks, compared with other libraries (ARGS="imports uncached"); see benchmarks/README.md
	@$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/.stamp ## the documentation site, in .cache/docs/site; a broken link, a missing picture or a false docstring fails it
	@$(BIN)/python -m scripts.stage_docs .cache/docs
	@cd .cache/docs && $(CURDIR)/$(BIN)/zensical build --strict --clean
	@echo "Search needs a server. To read the site at http://127.0.0.1:8000/ run:"
	@echo "  $(BIN)/python -m http.server --bind 127.0.0.1 --directory .cache/docs/site"

aimock: $(AIMOCK) ## a third-party OpenAI-compatible server for some tests (needs npm)

axe: $(AXE) ## axe-core, which checks the accessibility of the dashboard (needs npm)

pictures: .venv/.stamp ## pictures of the dashboard in all sizes, in .cache/pictures, and the picture of its guide (needs chromium)
	@LLMCORE_PICTURES=$(CURDIR)/.cache/pictures $(BIN)/pytest -q plugins/dashboard/tests/test_dashboard_browser.py -k "pictures or axe" --timeout 600
	@cp .cache/pictures/guide.png docs/guides/dashboard.png

requirements: .tools/.stamp ## update requirements-dev.txt: the newest version of every dependency
	@$(UV) lock --quiet --upgrade --python .tools/bin/python
	@{ echo "# Written by \`make requirements\`; \`make setup PINNED=1\` installs these versions."; \
	$(UV) export --quiet --python .tools/bin/python --all-packages --all-extras --all-groups \
		--no-emit-workspace --no-hashes --no-annotate --no-header; } > requirements-dev.txt.new
	@mv requirements-dev.txt.new requirements-dev.txt

setup: .venv/.stamp ## only the environment (PINNED=1: with the versions of requirements-dev.txt)
	@$(if $(PINNED),$(UV) pip install --quiet --python $(BIN)/python --requirements requirements-dev.txt,:)

clean: ## remove everything that make has created
	rm -rf .venv .tools .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis uv.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/.stamp: scripts/bootstrap
	@scripts/bootstrap .tools
	@touch $@

.venv/.stamp: .tools/.stamp pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@echo "Setting up .venv (again only after a pyproject.toml changes)" >&2
	@$(UV) sync --quiet --python .tools/bin/python
	@touch $@

# --no-config: the configuration of uv in pyproject.toml excludes Ray, to keep it out of .venv.
.cache/ray/.stamp: .tools/.stamp pyproject.toml plugins/engine_ray/pyproject.toml
	@$(UV) venv --quiet --clear --no-config --python .tools/bin/python .cache/ray
	@$(UV) pip install --quiet --no-config --system-certs --python .cache/ray/bin/python hypothesis pytest pytest-timeout \
		--editable . --editable plugins/testing --editable plugins/openai_optimized --editable plugins/engine_ray
	@touch $@

$(AIMOCK):
	@npm install --loglevel=error --fetch-retries=1 --no-audit --no-fund --no-save --no-package-lock --prefix .cache/aimock @copilotkit/aimock@1.43

$(AXE):
	@npm install --loglevel=error --fetch-retries=1 --no-audit --no-fund --no-save --no-package-lock --prefix .cache/axe axe-core@4.14
