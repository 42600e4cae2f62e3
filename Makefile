# make demo   set up, then classify a handwritten digit on emulated chips
# make test   set up, then run the tests
# make lint   ruff and mypy --strict
# make clean  remove .venv and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN := gcc-avr avr-libc simavr libsimavr-dev libelf-dev gcc libc6-dev

.PHONY: demo test lint clean tools

demo: $(VENV)/chips tools
	$(BIN)/tinymaix demo

test: $(VENV)/dev tools
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/chips: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[chips]"
	@touch $@

$(VENV)/dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/chips

# The AVR compiler and emulator are Debian packages. Without the right to install them, all else works.
tools:
	@if ! command -v avr-gcc >/dev/null || [ ! -e /usr/include/simavr/sim_avr.h ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing $(DEBIAN)"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DEBIAN) >/dev/null || \
				echo "could not install them; AVR chips are left out"; \
		else \
			echo "For AVR chips: sudo apt-get install $(DEBIAN)   (going on without)"; \
		fi; \
	fi

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
