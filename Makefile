# Two commands matter: `make demo` shows the main job, `make test` proves it. Everything they need is set up by them.
SHELL := /bin/bash
CACHE := $(or $(ORCHESTRATOR_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/orchestrator)
PYTHON ?= python3
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.9.0
UV := $(shell command -v uv 2>/dev/null || echo $(CACHE)/uv-$(UV_VERSION)/bin/uv)
RUN := $(UV) run --frozen --no-sync
BENCH := UV_PROJECT_ENVIRONMENT=.venv-bench $(UV)

.DEFAULT_GOAL := help
.PHONY: help setup tools demo down lint test kind-test audit chaos ha bench bench-cluster pictures generate clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(CACHE)/uv-$(UV_VERSION)/bin/uv:
	@echo "uv is not installed: putting uv $(UV_VERSION) into $(CACHE) (PyPI)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION) || { echo "python3 cannot make virtual environments: install python3-venv"; exit 1; }
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(UV) ## Make the virtual environment from uv.lock
	@$(UV) sync --frozen --quiet

tools: setup ## Get etcd, kube-apiserver, kubectl and Prometheus (built on first use)
	@$(RUN) orchestrator local tools

demo: setup ## The main job on this machine, in about four minutes (KEEP=1 leaves it up, GRAFANA=1 adds dashboards, CLUSTER=kind: in Pods)
	@$(if $(filter kind,$(CLUSTER)),$(RUN) pytest -m kind -v tests/kind/test_main_job.py $(ARGS), \
		$(RUN) orchestrator demo $(if $(KEEP),--keep) $(if $(GRAFANA),--grafana) $(ARGS))

down: setup ## End what `make demo KEEP=1` left up
	@$(RUN) orchestrator demo down

lint: setup ## ruff, mypy, import-linter, drift of generated files
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python -m orchestrator_operator.specs.crds --check
	@$(RUN) python -m orchestrator.door.openapi --check
	@$(RUN) python -m orchestrator_operator.reference --check
	@$(RUN) python -m dashboards --check

test: lint tools ## All the tests
	@$(RUN) pytest --numprocesses 3 --dist loadscope $(ARGS)

kind-test: setup ## Tests in Pods on a kind cluster, which is made and deleted (deploy/kind/README.md)
	@$(RUN) pytest -m kind tests/kind $(ARGS)

audit: $(UV) ## Compare the locked packages with PyPI's advisories (needs pypi.org's JSON API)
	@set -o pipefail; $(UV) export --frozen --quiet --all-extras --all-groups --no-emit-project \
		| $(UV) tool run --quiet pip-audit@$(PIP_AUDIT_VERSION) --disable-pip --require-hashes --strict \
			--requirement /dev/stdin $(ARGS) \
		|| { echo "not clean: an advisory stands above, or PyPI's advisories (pypi.org/pypi) could not be reached" >&2; exit 1; }

bench: $(UV) ## Speed, 25 minutes (ARGS=--quick: 4; WHAT=size|idle|queries|scaling|rollout|rollout-weights|rollout-counters|rollout-rivals|rollout-argo|clearing|cluster)
	@$(BENCH) sync --frozen --quiet --group bench --compile-bytecode
	@$(BENCH) run --frozen --no-sync python -m tests.benchmarks $(or $(WHAT),side-by-side) $(ARGS)

bench-cluster: ## Executions as resources on a real API server, beside Argo Workflows, 40 minutes (ARGS=--quick: a look)
	@$(MAKE) --no-print-directory bench WHAT=cluster

chaos: setup ## Tests under faults for ten minutes (MINUTES=60, SEED=… to begin with the same choices)
	@CHAOS_MINUTES=$(or $(MINUTES),10) CHAOS_SEED=$(SEED) $(RUN) pytest tests/machine/chaos \
		--timeout $$(( $(or $(MINUTES),10) * 60 + 1200 )) $(ARGS)

ha: setup tools ## How long nobody leads: failovers of every kind on this machine (LEASE=15 seconds)
	@FAILOVER_LEASE=$(or $(LEASE),15) $(RUN) pytest -s tests/e2e/test_failover.py --timeout 900 $(ARGS)

pictures: setup ## Take the docs' pictures anew, in a real browser (Debian's Chromium)
	@$(RUN) python -m tests.support.report_picture docs/images/rollout-report.png

generate: setup ## Write the generated files (CRDs, OpenAPI, docs/reference, dashboards, alerts)
	@$(RUN) python -m orchestrator_operator.specs.crds
	@$(RUN) python -m orchestrator_operator.reference
	@$(RUN) python -m orchestrator.door.openapi
	@$(RUN) python -m dashboards

clean: down ## Remove what is cached outside the checkout
	rm -rf $(CACHE)
