# `make demo` and `make test` need nothing but Python 3.10 or newer; they make or reuse .venv.
PYTHON ?= python3
BIN := .venv/bin
# LPIPS network weights lying beside the checkout are used when nothing else is said.
INTROSHIFT_LPIPS_WEIGHTS ?= $(wildcard ../shared/weights/alexnet_features.safetensors)
ifneq ($(INTROSHIFT_LPIPS_WEIGHTS),)
export INTROSHIFT_LPIPS_WEIGHTS
endif

# Of the kills and other faults of each kind; mounting file systems needs root.
TIMES ?= 100
# Of the fuzzing; a folder of pictures in INTROSHIFT_FUZZ_PICTURES is damaged, too.
MINUTES ?= 5

.PHONY: demo test test-browser test-slow test-page fuzz faults lint docs clean

demo: .venv/installed
	$(BIN)/introshift demo demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-browser: .venv/installed
	$(BIN)/python -m pytest -m browser

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

# The page in a browser, in an environment of its own: Gradio takes older versions of Pillow, whose
# pixels differ by some levels from those of the golden files.
test-page: .venv-page/installed
	.venv-page/bin/python -m pytest tests/ui

fuzz: .venv/installed
	$(BIN)/python -m tests.fuzz.run --minutes $(MINUTES)

faults: .venv/installed
	$(BIN)/python -m tests.faults.run kill translate --times $(TIMES)
	$(BIN)/python -m tests.faults.run kill shards --times $(TIMES)
	$(BIN)/python -m tests.faults.run kill train --times $(TIMES)

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# build/site/index.html; every page, link and anchor is checked, and no other machine is asked.
docs: .venv/installed
	$(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --strict --clean

# With the newest pip: older ones take many minutes to find versions of moto's and s3fs's packages that
# fit each other.
.venv-page/installed: pyproject.toml
	$(PYTHON) -m venv --upgrade-deps .venv-page
	.venv-page/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev,ui]"
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv --upgrade-deps .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-page build dist *.egg-info
