# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PORT ?= 8000
MODEL ?=
RECIPE ?= libreoffice-help-en-fr
TRAIN_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
TORCH_INDEX ?=
PYTHON ?=

NATIVE := $(wildcard translator/engines/native/*.cpp translator/engines/native/*.h translator/engines/native/*.py) hatch_build.py

VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay together: some build on one another, and costly fixtures are made once. The order is that of the
# files, since by default the files with the fewest tests, of which some take minutes, would come last.
IN_PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt

.PHONY: help
help: ## List the commands and the variables
	@grep -hE '^[a-z-]+:.*## ' Makefile | sort | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16 | sed 's/^/  make /'
	@printf '\nVariables, as in "make run PORT=9000":\n'
	@printf '  %-13s %s\n' \
	  PORT 'where the service listens on 127.0.0.1 ($(PORT))' \
	  MODEL 'the model directory that is served or measured (all shipped models; measured: en-fr)' \
	  RECIPE 'what make train trains: a shipped recipe or a TOML file ($(RECIPE))' \
	  TRAIN_FLAGS 'further options for training, such as "--set optimisation.epochs=1"' \
	  PYTEST_FLAGS 'further options for pytest, such as "-k search"' \
	  BENCH_FLAGS 'further options for the benchmarks but bench-long, such as "--rounds 1"' \
	  TORCH_INDEX 'another package index for PyTorch alone, such as the one of its CPU-only builds' \
	  PYTHON 'the Python to make $(VENV) with, 3.11 or newer (found by itself)'

.PHONY: run
run: $(VENV)/.serve ## Serve the shipped models, or MODEL, on http://127.0.0.1:8000
	@$(call foreground,$(BIN)/python -m service --port $(PORT) $(if $(MODEL),--model $(MODEL)))

.PHONY: test
test: $(VENV)/.dev ## Run the tests, some 15 minutes on two cores
	$(BIN)/python -m pytest $(IN_PARALLEL) $(PYTEST_FLAGS)

.PHONY: test-all
test-all: $(VENV)/.dev ## Run all tests: the slow ones, those in a browser and the fuzzing too
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest $(IN_PARALLEL) --timeout 3600 -m "" $(PYTEST_FLAGS)

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types and which package may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.dev ## Put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: train
train: $(VENV)/.train ## Train RECIPE, measure it on its test set; the model is in runs/NAME/model
	@model="$$($(BIN)/python -m training train $(RECIPE) $(TRAIN_FLAGS))" && \
	prepared="prepared/$$(basename "$$(dirname "$$model")")" && \
	$(BIN)/python -m training evaluate --model "$$model" --update-card \
	  --source "$$prepared/test.source.txt" --reference "$$prepared/test.target.txt" && \
	printf '\nServe it with:  make run MODEL=%s\n' "$$model"

.PHONY: bench
bench: $(VENV)/.bench ## Measure decoding against the machine's limits, and the service under load, in 10 minutes
	$(BIN)/python -m tests.benchmarks $(BENCH_FLAGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.dev ## Install the peers and measure against them
	$(BIN)/python -m tests.benchmarks.peers $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(BENCH_FLAGS)

.PHONY: bench-training
bench-training: $(VENV)/.dev ## Install the peers and measure training against them, with pairs of corpora/multi30k-en-de
	$(BIN)/python -m tests.benchmarks.training_peers $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(BENCH_FLAGS)

.PHONY: bench-throughput
bench-throughput: $(VENV)/.train ## Measure how long the paper's training would take on this GPU
	$(BIN)/python -m tests.benchmarks.training_throughput $(BENCH_FLAGS)

.PHONY: bench-long
bench-long: $(VENV)/.dev ## Send 50,000 sentences through the service and see whether its memory stays flat
	$(BIN)/python -m tests.benchmarks.soak $(if $(MODEL),--model $(MODEL))

.PHONY: bench-soak
bench-soak: $(VENV)/.dev ## Load the service for half an hour with 80 % of what it can do: errors, memory, waits by the minute
	$(BIN)/python -m tests.benchmarks.steady_load $(if $(MODEL),--model $(MODEL)) $(BENCH_FLAGS)

.PHONY: bench-overload
bench-overload: $(VENV)/.dev ## Offer the service ten times what it can do: throughput, refusals, recovery
	$(BIN)/python -m tests.benchmarks.overload $(if $(MODEL),--model $(MODEL)) $(BENCH_FLAGS)

.PHONY: constraints
constraints: $(VENV)/.dev ## Write constraints.txt anew from what is installed in .venv
	$(BIN)/python -m pip --disable-pip-version-check freeze --all --exclude pip --exclude-editable \
	  | sed -E -e 's/^(torch==[0-9.]+)\+.*/\1/' -e '/^(nvidia|cuda|triton)/d' > constraints.new
	{ sed -n '/^#/p' constraints.txt; cat constraints.new; } > constraints.merged
	mv constraints.merged constraints.txt && rm constraints.new

.PHONY: requirements
requirements: $(VENV)/.dev ## Write deploy/requirements anew: what constraints.txt pins, with the hash of every file
	@$(call hashed,--extra serve pyproject.toml,serve)
	@$(call hashed,--extra train pyproject.toml,train)
	@$(call hashed,--extra cluster pyproject.toml,cluster)
	@printf 'hatchling\nziglang\n' | $(call hashed,-,build)

.PHONY: docs
docs: $(VENV)/.dev ## Write the pages on architecture and the reference, from the docstrings, to site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: coverage
coverage: $(VENV)/.dev ## Run the tests and say how much of each package they go through
	$(BIN)/python -m pytest --cov --cov-report= $(PYTEST_FLAGS)
	@for package in translator training service; do \
	  printf '%-12s%s %%\n' $$package "$$($(BIN)/coverage report --format=total --include="$$package/*")"; \
	done

.PHONY: licences
licences: $(VENV)/.dev ## Write the table of LICENCES.md anew: what is installed at run time, and under which licence
	@{ sed '/^| Name/,$$d' LICENCES.md; \
	  $(BIN)/pip-licenses --from=mixed --format=markdown --with-system --packages torch \
	    $$(sed -nE 's/^([a-z0-9._-]+)==.*/\1/p' deploy/requirements/serve.txt deploy/requirements/train.txt \
	    deploy/requirements/cluster.txt) \
	  | sed -E 's/^(\| torch .*[0-9])\+[a-z0-9]+ /\1 /'; } > LICENCES.new && mv LICENCES.new LICENCES.md

.PHONY: sbom
sbom: $(VENV)/.dev ## Write the service's bill of materials, dist/sbom.cdx.json, in CycloneDX's format
	@mkdir -p dist
	{ cat deploy/requirements/serve.txt; grep '^torch==' constraints.txt; } \
	  | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate \
	    --output-file dist/sbom.cdx.json -

.PHONY: audit
audit: $(VENV)/.dev ## Ask whether any version that is installed at run time is known to be vulnerable (needs the internet)
	@for extra in serve train cluster; do \
	  list=deploy/requirements/$$extra.txt; \
	  said="$$($(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement $$list 2>&1)"; status=$$?; \
	  printf '%s: %s\n' $$list "$$said"; \
	  if [ $$status != 0 ]; then \
	    case "$$said" in *'known vulnerabilit'*) ;; *) \
	      echo 'Nothing was found out: this asks PyPI itself over the internet, and a mirror of it does not know.' >&2 ;; \
	    esac; \
	    exit $$status; \
	  fi; \
	done

.PHONY: clean
clean: ## Remove .venv and caches; corpora, prepared and runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist site
	rm -f translator/engines/native/libtranslator.so
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# What is installed, a stamp file for each part. PyTorch comes first and by itself, so that TORCH_INDEX is asked for
# nothing else; the project is installed as a link to this folder, so that edits count at once (those of the CPU engine's
# C++ sources when the installation is made again).

$(VENV)/.torch: constraints.txt
	@python="$(PYTHON)"; \
	suits() { "$$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if [ -z "$$python" ] && suits "$$candidate"; then python="$$candidate"; fi; \
	done; \
	if [ -z "$$python" ] || ! suits "$$python"; then \
	  fault='none was found'; if [ -n "$$python" ]; then fault="$$python is not one"; fi; \
	  echo "Python 3.11 or newer with its venv module is needed, and $$fault." \
	    "On Debian and Ubuntu: sudo apt install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$("$$python" --version); this is done once and takes some minutes."; \
	"$$python" -m venv $(VENV)
	$(INSTALL) $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.serve: $(VENV)/.torch pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) --editable '.[serve]'
	@touch $@

$(VENV)/.train: $(VENV)/.torch pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) --editable '.[train]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) --editable '.[bench]'
	@touch $@

# The development extras hold the others, so that one installation is enough for `make run` and `make train` as well.
$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) --editable '.[serve,train,plots,cluster,dev]'
	@touch $(VENV)/.serve $(VENV)/.train $@

# PyTorch and the CUDA packages that come with it are left out, because its builds differ by platform.
define hashed
{ echo '# Made by `make requirements`, to be installed by pip --require-hashes --no-deps; PyTorch comes by itself.'; \
  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint constraints.txt \
    --no-header --no-annotate --no-emit-index-url $(1) \
  | awk '/^[^ ]/ { kept = !/^(torch|nvidia-.*|cuda-.*|triton)==/ } kept'; } > deploy/requirements/$(2).new \
  && mv deploy/requirements/$(2).new deploy/requirements/$(2).txt
endef

# Run a command so that Ctrl-C reaches it and nothing else. A terminal sends the signal to its whole foreground process
# group, and make, if it is in it, ends with an error even where the command shuts down as it should. So on a terminal
# the command gets a group of its own; elsewhere it takes the shell's place and receives what make passes on.
define foreground
case "$$(ps -o stat= -p $$$$ 2>/dev/null)" in \
  *+*) set -m; $(1) & fg >/dev/null; status=$$?; \
       while [ -n "$$(jobs -s)" ]; do fg >/dev/null; status=$$?; done; exit $$status;; \
  *) exec $(1);; \
esac
endef
