# Two commands matter: `make retrain` and `make test`. Each sets up what it needs first.
SHELL := /bin/bash
PYTHON ?= python3.11
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export DO_NOT_TRACK = 1

.PHONY: retrain test test-slow test-long test-vllm vllm-env bench lint lock lock-vllm setup

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@test -x .venv/bin/uv || ($(PYTHON) -m venv .venv && .venv/bin/python -m pip install -q uv==0.13.9)
	@.venv/bin/uv pip install -q --python .venv/bin/python -r requirements.lock
	@.venv/bin/uv pip install -q --python .venv/bin/python --no-deps -e .
	@touch $@

retrain: setup
	@.venv/bin/quarkmed retrain

test: setup
	.venv/bin/python -m pytest

test-slow: setup
	.venv/bin/python -m pytest -m "slow and not long"

# The longest ones: whole runs on real servers, killed and restarted; processes that train side by side.
test-long: setup
	.venv/bin/python -m pytest -m long

# vLLM (CPU build) needs an environment of its own: docs/decisions/002-dependencies.md.
vllm-env: var/vllm/.ready

var/vllm/.ready: infra/vllm/cpu-requirements.txt infra/vllm/cpu-overrides.txt pyproject.toml | .venv/.ready
	@.venv/bin/uv venv -q --clear --python .venv/bin/python var/vllm
	@.venv/bin/uv pip install -q --python var/vllm/bin/python --override infra/vllm/cpu-overrides.txt -r infra/vllm/cpu-requirements.txt
	@.venv/bin/uv pip install -q --python var/vllm/bin/python --no-deps -e .
	@touch $@

test-vllm: vllm-env
	var/vllm/bin/python -m pytest --timeout 1800 tests/generation

lint: setup
	.venv/bin/ruff check .

bench: setup
	@.venv/bin/python -m bench.$(NAME)

lock:
	.venv/bin/uv pip compile -q --python 3.11 --no-annotate --no-emit-index-url --no-emit-find-links requirements.in -o requirements.lock
	sed -i 's/+cpu//' requirements.lock

lock-vllm:
	.venv/bin/uv pip compile -q --python 3.11 --no-annotate --no-header --no-emit-index-url --no-emit-find-links --override infra/vllm/cpu-overrides.txt infra/vllm/cpu-requirements.in -o infra/vllm/cpu-requirements.txt
	sed -i 's/+cpu//' infra/vllm/cpu-requirements.txt
