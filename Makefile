# Two commands set everything up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
HUB_VENV ?= .venv-hub
LABEL_STUDIO_VENV ?= .venv-label-studio
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip install --quiet --native-tls --python $(BIN)/python --compile-bytecode
PIN := $(BIN)/uv pip compile --quiet --native-tls --universal --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade

# The types and the pure modules of the review page are checked where there is Node.
NODE_STAMP := $(if $(shell command -v npm),node_modules/page.stamp)

.DEFAULT_GOAL := help
.PHONY: help demo test pytest test-hub test-clients lint style types format client docs pictures bench bench-quality pin

help: ## Show the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/run.stamp: pyproject.toml constraints/run.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement constraints/run.txt
	$(PIP) --no-deps --editable .
	@touch $@

node_modules/page.stamp: package.json
	npm install --silent --no-package-lock
	@touch $@

# uv takes a quarter of pip's time. Where it does not reach what pip is configured to, pip does it.
$(VENV)/test.stamp: $(VENV)/run.stamp constraints/uv.txt constraints/test.txt
	command -v curl > /dev/null || { apt-get update -qq && apt-get install -qq -y curl; }
	command -v chromium > /dev/null || { apt-get update -qq && apt-get install -qq -y chromium; }
	$(PIP) --require-hashes --requirement constraints/uv.txt
	$(UV) --require-hashes --requirement constraints/test.txt || \
		$(PIP) --require-hashes --requirement constraints/test.txt
	@touch $@

demo: $(VENV)/run.stamp ## Set up, then label real pictures from a few examples
	$(BIN)/lookalike --store demo-store demo

test: style ## Set up, then check style and types and run every test, four files at a time
	$(MAKE) --no-print-directory --keep-going --jobs 2 types pytest

# Hundreds of processes begin in the tests. Where Python may not write bytecode, each would compile
# the package again, for 0.4 s.
pytest: $(VENV)/test.stamp
	$(BIN)/python -m compileall -q src
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 4 --dist loadfile \
		--no-loadscope-reorder --durations 40

test-hub: ## Test the extras on torch, in an environment of their own (about 6 GB)
	$(PYTHON) -m venv $(HUB_VENV)
	$(HUB_VENV)/bin/pip install --quiet --disable-pip-version-check pytest \
		--editable '.[open-clip,sentence-transformers,timm,video]'
	$(HUB_VENV)/bin/python -m pytest tests/hub

test-clients: $(VENV)/test.stamp $(LABEL_STUDIO_VENV)/run.stamp ## Test with a real Label Studio, in an environment of its own
	LABEL_STUDIO_VENV=$(LABEL_STUDIO_VENV) OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest tests/clients

$(LABEL_STUDIO_VENV)/run.stamp: constraints/label-studio.txt $(VENV)/test.stamp
	$(PYTHON) -m venv $(LABEL_STUDIO_VENV)
	$(BIN)/uv pip install --quiet --native-tls --python $(LABEL_STUDIO_VENV)/bin/python \
		--require-hashes --requirement $<
	@touch $@

lint: style types ## Check style and types

style: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp $(NODE_STAMP)
	$(BIN)/mypy
	if command -v npm > /dev/null; then npm run --silent check && npm test --silent; fi

format: $(VENV)/test.stamp ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

client: $(VENV)/test.stamp ## Make the client's verbs from the library's
	$(BIN)/python tools/make_client.py

docs: $(VENV)/test.stamp ## Make the generated parts of docs/ and build the pages into site/
	$(BIN)/python tools/make_docs.py
	$(BIN)/python tools/draw_packages.py
	$(BIN)/python -m mkdocs build --strict

pictures: $(VENV)/test.stamp ## Take the pictures of the review page that the docs show
	$(BIN)/python tools/take_pictures.py

bench: $(VENV)/test.stamp ## Measure speed and memory (BENCH=--quick: in a minute)
	$(BIN)/python benchmarks/run.py $(or $(BENCH),--output docs/performance.md)

bench-quality: $(VENV)/test.stamp ## Compare the decision rule with others (needs LOOKALIKE_DATA)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/quality.py $(or $(BENCH),--output docs/quality.md)

pin: $(VENV)/test.stamp ## Take the newest versions
	$(PIN) pyproject.toml --output-file constraints/run.txt
	$(PIN) pyproject.toml --extra test --extra docs --constraint constraints/run.txt \
		--output-file constraints/test.txt
	echo uv | $(PIN) - --output-file constraints/uv.txt
	echo label-studio | $(PIN) - --output-file constraints/label-studio.txt
