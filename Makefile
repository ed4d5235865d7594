# Everything goes through a virtual environment in .venv, made on first use; `make` alone lists the targets.

PYTHON  ?=
VENV    ?= .venv
ASAN    := .venv-asan
SECONDS ?= 60
TESTS   ?= tests

SOURCES := meson.build pyproject.toml README.md $(wildcard meson.options) \
           $(shell find src tools -not -path '*/__pycache__*' \( -type d -o -type f \))
# An environment that is there keeps the Python that it was made with.
ifneq ($(and $(PYTHON),$(wildcard $(VENV)/bin/python),$(filter-out clean help system,$(MAKECMDGOALS))),)
ifneq ($(realpath $(VENV)/bin/python),$(shell PYTHON="$(PYTHON)" tools/find_python.sh 2>/dev/null))
$(error $(VENV) has $(realpath $(VENV)/bin/python), not $(PYTHON): `make clean` first)
endif
endif
QUIET_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_QUIET=2

.DEFAULT_GOAL := help
.PHONY: help system dpdk install demo test test-asan test-drivers check fuzz bench paper clean
.DELETE_ON_ERROR:

help: ## list the targets
	@echo "Underpass: a user-space TCP stack for Python on AF_XDP, beside Linux"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

system: ## install the Debian packages that are missing (root)
	@PYTHON="$(PYTHON)" tools/system_packages.sh

# Meson looks for DPDK when it configures, so an earlier build's answer must go.
dpdk: ## the same with DPDK (190 packages), and Underpass built again: `underpass serve --io dpdk`, to compare with
	@tools/system_packages.sh --dpdk
	@rm -rf build/$(BUILD) $(VENV)/.installed
	@$(MAKE) --no-print-directory install

install: $(VENV)/.installed ## build Underpass and install it into .venv

demo: $(VENV)/.installed ## serve HTTP over AF_XDP in one namespace, ask from another, compare with nginx
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" underpass demo

test: $(VENV)/.installed $(VENV)/.dev ## run the tests against the installed wheel (TESTS=tests/tcp for a part)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m pytest $(TESTS)

test-cpython: $(VENV)/.installed $(VENV)/.dev ## run all of CPython's own tests of asyncio on our event loop
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" CPYTHON=all python -m pytest tests/aio/test_cpython.py

test-browser: $(VENV)/.installed $(VENV)/.dev ## test with Chromium, which it installs first (400 MB)
	@tools/system_packages.sh --browser
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python -m pytest tests/aio/test_browser.py

# A build takes seven minutes of two cores, tests/aio five.
test-pythons: ## run TESTS=tests/aio on each Python from 3.11 to 3.14 that is here (PYTHONS=newest: on one)
	@PYTHONS="$(PYTHONS)" tools/test_pythons.sh $(filter-out tests,$(TESTS))

# Python itself leaks on exit by design; everything else that ASan and UBSan find ends the process.
test-asan: $(ASAN)/.installed $(ASAN)/.dev ## run the tests on a build with AddressSanitizer and UBSan
	@PATH="$(CURDIR)/$(ASAN)/bin:$$PATH" PYTHONMALLOC=malloc \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  python -m pytest $(TESTS)

# Apart from `test`: it fetches 150 MB at first, and takes minutes. Where it cannot run, the first command says why.
test-drivers: $(VENV)/.installed $(VENV)/.dev ## test on the drivers of a guest's network cards, in qemu (root)
	@export PATH="$(CURDIR)/$(VENV)/bin:$$PATH"; python -m tests.drivers.packages && python -m pytest -m drivers tests/drivers

check: $(VENV)/.dev ## ruff, cython-lint, mypy --strict, layer order, sizes
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/check.sh

fuzz: $(VENV)/.dev ## fuzz every target for SECONDS=60 each
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python fuzz/run.py $(SECONDS)

bench: $(VENV)/.installed $(VENV)/.bench ## measure Underpass and nginx side by side (takes minutes, wants a quiet machine)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" underpass bench peers

PAPER ?= --json figures.json --plot figures.png --markdown docs/evaluation.md

paper: $(VENV)/.installed $(VENV)/.bench ## measure the paper's figures, DPDK's too, into docs/evaluation.md (an hour and a half)
	@$(VENV)/bin/python -c "import underpass.link.dpdk" 2>/dev/null || $(MAKE) --no-print-directory dpdk
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" underpass bench paper $(PAPER)

clean: ## remove what the other targets made here
	rm -rf build/release build/asan build/drivers build/python-* dist .venv .venv-asan .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The venv and the packages in it change only with pyproject.toml, so that everything else works without a network.
%/.tools: pyproject.toml tools/requirements.py | system
	@[ -x $(@D)/bin/pip ] || { python="$$(PYTHON="$(PYTHON)" tools/find_python.sh)" && \
	  echo "making $(@D) with $$python" && "$$python" -m venv $(@D); }
	@$(@D)/bin/python tools/requirements.py build run | $(QUIET_PIP) $(@D)/bin/pip install -r /dev/stdin
	@touch $@

%/.dev: %/.tools
	@echo "installing the development tools into $(@D)"
	@$(@D)/bin/python tools/requirements.py dev bench metrics programs | $(QUIET_PIP) $(@D)/bin/pip install -r /dev/stdin
	@touch $@

%/.bench: %/.tools
	@$(@D)/bin/python tools/requirements.py bench programs | $(QUIET_PIP) $(@D)/bin/pip install -r /dev/stdin
	@touch $@

BUILD = release
PIP_WHEEL = PATH="$(CURDIR)/$(@D)/bin:$$PATH" $(QUIET_PIP) pip install --no-build-isolation --no-deps --force-reinstall \
            --config-settings=build-dir=build/$(BUILD) $(BUILD_ARGS)

$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	@echo "building Underpass"
	@$(PIP_WHEEL) .
	@touch $@

$(ASAN)/.installed: BUILD = asan
$(ASAN)/.installed: BUILD_ARGS = --config-settings=setup-args=-Dsanitize=true
$(ASAN)/.installed: $(ASAN)/.tools $(SOURCES)
	@echo "building Underpass with AddressSanitizer and UBSan"
	@$(PIP_WHEEL) .
	@touch $@

.PRECIOUS: %/.tools %/.dev %/.bench
