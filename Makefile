# Every target sets up what it needs in .venv: `make test` on a fresh clone is enough.
#   PYTHON=/path/to/python3.12   the interpreter to build .venv with
#   TORCH='torch==2.7.1'         the torch to install, instead of the one chosen for this machine
#   ARGS='-k peaks'              more arguments for pytest, the demo or the benchmark

PYTHON ?=
TORCH ?=
ARGS :=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help setup demo test test-all lint bench
.DELETE_ON_ERROR:

help:
	@echo 'make setup      .venv with everything in it'
	@echo 'make demo       synthetic station-days, two candidates, picks, evaluation'
	@echo 'make test       the quick tests'
	@echo 'make test-all   every test'
	@echo 'make lint       style, types, the four floors, container and cluster files'
	@echo 'make bench      measures speed'

setup: $(READY)

demo: $(READY)
	$(BIN)/tidepick demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -m 'not slow' $(ARGS)

test-all: $(READY)
	$(BIN)/python -m pytest $(ARGS)

# One thread for each numerical library, as Ray gives an actor that has one CPU.
bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/docker-compose.yml
	@if docker compose version >/dev/null 2>&1; then compose='docker compose'; \
	elif docker-compose version >/dev/null 2>&1; then compose='docker-compose'; \
	else compose=; fi; \
	if [ -n "$$compose" ]; then \
		echo "$$compose -f docker/docker-compose.yml --profile run config -q"; \
		$$compose -f docker/docker-compose.yml --profile run config -q; \
	else \
		echo 'docker-compose.yml: checked by the schema only, no docker compose on this machine'; \
	fi
	$(BIN)/check-jsonschema infra/ray-aws.yaml --schemafile \
		"$$($(BIN)/python -c 'import importlib.util as u, os; print(os.path.join(os.path.dirname(u.find_spec("ray").origin), "autoscaler", "ray-schema.json"))')"

# A pyenv shim can exist and refuse to run, and Debian's python3 can lack venv: try, then choose.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "$(VENV): $$("$$python" --version), $$(command -v "$$python")"; \
			exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo 'tidepick needs Python 3.11 or newer with its venv module, and found none that runs among:' >&2; \
	echo '  $(or $(PYTHON),python3.13 python3.12 python3.11 python3)' >&2; \
	echo 'Install one (Debian: apt install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3' >&2; \
	exit 1

$(READY): pyproject.toml constraints.txt docker/torch-requirement.sh $(wildcard workers/kernel/*) | $(BIN)/python
	torch='$(TORCH)'; \
	if [ -z "$$torch" ]; then torch=$$(sh docker/torch-requirement.sh $(BIN)/python); fi; \
	echo "torch: $$torch"; \
	$(BIN)/python -m pip install --disable-pip-version-check "$$torch" -e '.[dev]' -c constraints.txt
	@$(BIN)/python -c 'from workers.compiled import library; import sys; library() or sys.exit( \
		"note: no C compiler (cc) was found, so torch does the CPU kernel'"'"'s work, three times slower;" \
		" install one and say make -B setup")' || true
	@touch $@
