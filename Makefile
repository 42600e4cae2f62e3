# make demo   set up, then classify a handwritten digit on emulated chips
# make test   set up, then run the tests
# make lint   ruff and mypy --strict
# make clean  remove .venv and caches

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN := gcc-avr avr-libc simavr libsimavr-dev libelf-dev gcc libc6-dev
QEMU := qemu-user qemu-system-arm
FUZZER := clang libclang-rt-dev
BROWSER := chromium

.PHONY: demo test lint clean tools qemu browser fuzzer

demo: $(VENV)/chips tools
	$(BIN)/tinymaix demo

test: $(VENV)/dev tools qemu browser fuzzer
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

# Compilers and emulators that are Debian packages. Without the right to install them, all else works.
tools:
	@if ! command -v avr-gcc >/dev/null || [ ! -e /usr/include/simavr/sim_avr.h ]; then \
		$(call install,$(DEBIAN),AVR chips); \
	fi

qemu:
	@if ! command -v qemu-aarch64 >/dev/null || ! command -v qemu-system-arm >/dev/null; then \
		$(call install,$(QEMU),the tests of Helium and NEON and of vectors on RISC-V); \
	fi

browser:
	@if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then \
		$(call install,$(BROWSER),the tests of pages in a browser); \
	fi

fuzzer:
	@if ! command -v clang >/dev/null; then \
		$(call install,$(FUZZER),the test of the device library under libFuzzer); \
	fi

# Packages and what they are for, as a command of the shell.
define install
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing $(1)"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null || \
		echo "could not install them; $(2) are left out"; \
else \
	echo "For $(2): sudo apt-get install $(1)   (going on without)"; \
fi
endef

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
