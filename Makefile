# Two commands on a fresh machine: `make eval` and `make test`.

PYTHON ?= python3
VENV   := .venv
MODEL  ?= minilm bm25
TASKS  ?= core
INDEX  ?= exact
BASELINE ?= results/minilm
EXAMPLES ?= 10000
SEED   ?= 0
# what was asked for: a study, a board and a gate have defaults of their own
MODELS  = $(if $(filter-out default file,$(origin MODEL)),$(foreach m,$(MODEL),--model '$(m)'))
ASKED   = $(MODELS) $(if $(filter-out default file,$(origin TASKS)),$(foreach t,$(TASKS),--task '$(t)'))
PIP     = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(VENV)/constraints.txt

# what each command takes; what is given and none takes is refused
TAKES_eval := MODEL TASKS INDEX ARGS
TAKES_ann := MODEL TASKS ARGS
TAKES_leaderboard := MODEL TASKS ARGS
TAKES_gate := MODEL BASELINE ARGS
TAKES_check := $(TAKES_gate)
TAKES_test := ARGS
TAKES_wheel := ARGS
TAKES_fuzz := EXAMPLES SEED ARGS
TAKES_soak := ARGS
TAKES_bench := ARGS
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(origin $v)),$v))
IDLE := $(filter-out PYTHON $(foreach goal,$(MAKECMDGOALS),$(TAKES_$(goal))),$(GIVEN))
$(if $(IDLE),$(error $(IDLE): no part of make $(or $(MAKECMDGOALS),help)))

# the builds of faiss and torch that fit the driver, as in gpu-cuda13; nothing is asked without a GPU,
# but for an environment that was made for some, which stays
CONSTRAINTS := constraints.txt constraints-gpu.txt constraints-cuda12.txt
MADE := $(filter-out $(VENV)/ready-cpu,$(wildcard $(VENV)/ready-gpu* $(VENV)/ready-cpu*))
SEES_GPU := test '$(MADE)' || command -v nvidia-smi >/dev/null 2>&1 || test -e /dev/nvidiactl
NEW := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ASK := ($(SEES_GPU)) && $(NEW) && $(PYTHON) -I harness/builds.py name $(VENV)
BUILDS := $(or $(if $(filter-out help clean,$(MAKECMDGOALS)),$(shell $(ASK))),cpu)
STAMP := $(VENV)/ready-$(BUILDS)
DESCRIBE = $(VENV)/bin/python -c 'from harness import accelerators; print(accelerators.describe())'

.DEFAULT_GOAL := help
.PHONY: help setup eval ann leaderboard gate check test wheel lint fuzz soak bench clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 13

setup: $(VENV)/ready  ## create .venv with what an evaluation needs, for the GPUs that are there
	@$(if $(filter setup,$(MAKECMDGOALS)),$(DESCRIBE))

eval: setup  ## measure MODEL='a b' on TASKS='c d' with INDEX; no arguments: the embedded default
	@$(VENV)/bin/harness eval $(foreach m,$(MODEL),--model '$(m)') $(foreach t,$(TASKS),--task '$(t)') --index '$(INDEX)' $(ARGS)

ann: setup  ## set HNSW beside exact search: MODEL on TASKS, other settings in ARGS
	@$(VENV)/bin/harness ann $(ASKED) $(ARGS)

leaderboard: setup  ## rank the systems of all records under results/; given a MODEL, measure it first
	@$(VENV)/bin/harness leaderboard results $(ASKED) --html results/leaderboard.html $(ARGS)

gate: setup  ## test MODEL (minilm) against BASELINE (results/minilm); fails if it is worse
check: setup  ## the old name of gate
gate check:
	@$(if $(filter check,$@),echo "make check is now called make gate" >&2)
	@$(VENV)/bin/harness gate $(or $(MODELS),--model minilm) --baseline '$(BASELINE)' $(ARGS)

test: $(VENV)/ready-dev  ## run the tests
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

wheel: $(VENV)/ready-dev  ## hold the code to the real wheel of faiss-gpu, which needs no GPU (1.6 GB, once)
	@$(VENV)/bin/python -m tests.wheels $(ARGS)

lint: $(VENV)/ready-dev  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

fuzz: $(VENV)/ready-dev  ## try every reader on damaged files for about an hour: EXAMPLES each, drawn by SEED
	HARNESS_FUZZ_EXAMPLES='$(EXAMPLES)' HARNESS_FUZZ_SEED='$(SEED)' $(VENV)/bin/python -m pytest tests/fuzz $(ARGS)

soak: $(VENV)/ready-dev  ## kill every command at each of its file operations (half an hour)
	$(VENV)/bin/python -m tests.soak $(ARGS)

bench: $(VENV)/ready-dev  ## measure against MTEB and faiss (minutes)
	$(VENV)/bin/python benchmarks/against_mteb.py $(ARGS)

clean:  ## remove .venv, also one for GPUs, and caches; records and the store of embeddings stay
	rm -rf $(VENV) .venv-faiss-gpu .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find harness tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# an environment that was made for other builds has another stamp, and is made again
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(NEW) || \
	  { echo "retrieval-harness needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@rm -f $(VENV)/ready*
	@$(PYTHON) -m venv $(VENV)
	@$(PYTHON) -I harness/builds.py prepare $(VENV) $(BUILDS)
	@$(PIP) --editable '.[$(firstword $(subst -, ,$(BUILDS))),minilm]'
	@$(if $(filter setup,$(MAKECMDGOALS)),,$(DESCRIBE))
	@touch $@

$(VENV)/ready: $(STAMP)
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/ready-ci: $(VENV)/ready-dev
	@$(PIP) --editable '.[dev,ci]'
	@touch $@
