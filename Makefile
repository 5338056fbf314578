# A fresh machine needs Python 3.11 or newer, and nothing else: every target installs what it uses.
PYTHON ?= python3
DATA ?= demo-output/data
FUZZ_SECONDS ?= 60
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow check proto settings notebooks peers fuzz clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo  ## Everything once, on real photos, from export to trained heads
	$(BIN)/penultimate demo --data $(DATA) --out demo-output

test: $(VENV)/.test  ## The whole test suite
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(VENV)/.test  ## What is left out of `make test`: every backbone of the catalogue
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/.test  ## Lint, types, layers, and whether generated code is current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.proto_is_current
	$(BIN)/python -m tests.generate_settings_docs --check

proto: $(VENV)/.test  ## Generate extractor/_pb from proto/
	$(BIN)/python -m tests.generate_proto

peers: $(VENV)/.runtime  ## The environment of the servers that the benchmarks compare with
	$(PYTHON) -m venv benchmarks/peers/.venv
	benchmarks/peers/.venv/bin/python -m pip install --disable-pip-version-check -r benchmarks/peers/requirements.txt \
	  "$$($(BIN)/python -m benchmarks.peers.runtime)"

settings: $(VENV)/.test  ## Write docs/settings.md from the code
	$(BIN)/python -m tests.generate_settings_docs

notebooks: $(VENV)/.test  ## Run docs/notebooks, and store what they show
	$(BIN)/python -m tests.run_notebook

fuzz: $(VENV)/.test  ## Coverage-guided fuzzing of what reads callers' bytes, a minute each, or FUZZ_SECONDS=600
	$(BIN)/python -m pip install --disable-pip-version-check "atheris>=3.0"
	for target in images messages door; do $(BIN)/python -m fuzz.$$target -max_total_time=$(FUZZ_SECONDS) || exit 1; done

clean:  ## Remove the environment and what the demo made
	rm -rf $(VENV) benchmarks/peers/.venv demo-output .fuzz

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; this is `$(PYTHON) --version`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "Python's venv module is missing. On Debian or Ubuntu: apt install python3-venv"; exit 1; }

# The runtime is chosen once, when the environment is made.
$(VENV)/.runtime: $(VENV)/bin/python extractor/backbones/runtimes.py
	@test -s $@ || $(BIN)/python extractor/backbones/runtimes.py > $@
	@touch $@

$(VENV)/.demo: $(VENV)/.runtime pyproject.toml
	@echo "Installing into $(VENV), once: the runtime, and PyTorch to export the network with."
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[$$(cat $<),export,demo]"
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[$$(cat $(VENV)/.runtime),export,demo,test]"
	@touch $@
