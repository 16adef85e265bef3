# Two commands matter: `make retrain` and `make test`. Each sets up what it needs first.
SHELL := /bin/bash
PYTHON ?= python3.11
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export DO_NOT_TRACK = 1

.PHONY: retrain test test-slow bench lint lock setup

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
	.venv/bin/python -m pytest -m slow

lint: setup
	.venv/bin/ruff check .

bench: setup
	@.venv/bin/python -m bench.$(NAME)

lock:
	.venv/bin/uv pip compile -q --python 3.11 --no-annotate --no-emit-index-url --no-emit-find-links requirements.in -o requirements.lock
	sed -i 's/+cpu//' requirements.lock
