# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
MADE := .venv/.made
SITE_MADE := .venv/docs/.made
# Most tests wait more than they compute, and run beside each other; the real engine takes all cores, alone.
WORKERS ?= 4
BESIDE := -n $(WORKERS) --dist worksteal
# What failed beside others is told, and run once more alone: only what fails there, too, is a failure.
AGAIN := $(BIN)/pytest --last-failed --last-failed-no-failures none
# Else each worker rewrites the asserts of all tests each time: two thirds of what collecting them takes.
unexport PYTHONDONTWRITEBYTECODE
FAST := not engine and not systemd and not matrix and not scale and not browser and not roots and not gpu
UNITS := systemd and not engine and not matrix and not scale and not browser and not roots and not gpu
REAL := engine and not matrix and not scale and not browser and not roots and not gpu
DRIVER := .venv/.browser
TIMES ?= 10
LOOPS ?= $(shell nproc)
# sglang or vllm: what `make demo` and `make engine` take; the environment does not choose.
ENGINE := sglang

# python, wheelhouse, deb, image; all where nothing is said
DISTS :=

.PHONY: help demo test test-engines docs pages playground playground-test stress faults scale roots gpu engine engines lint dist lock format screens bench clean
help:
	@echo "make demo     bring the real SGLang server up on this machine's CPU, ask it something, take it down;"
	@echo "              ENGINE=vllm: the real vLLM"
	@echo "make test     lint, types and tests: all that need neither a real engine nor systemd"
	@echo "make test-engines  those with the real engines, and with a systemd of their own (as root)"
	@echo "make playground  the page that judges what is pasted in a browser, in build/site/playground (npm, PyPI)"
	@echo "make playground-test  drives it in Chromium (Debian: chromium, chromium-driver)"
	@echo "make docs     the site of README.md and docs/, in build/site; its links are checked"
	@echo "make pages    write the pages again that are made from code and tables"
	@echo "make stress   the tests TIMES=10 times in a row, beside LOOPS=$(LOOPS) loops that take every core (hours)"
	@echo "make faults   every fault, in the stand-in and in the real engines; writes docs/faults.md (most of an hour);"
	@echo "              and 100 rounds of up, down, restart and kill from eight shells"
	@echo "make scale    several real servers: replicas behind the gateway, one model over two network namespaces, a container"
	@echo "              (as root; half an hour)"
	@echo "make roots    each way to install, from nothing to a service and back, on Debian 12 and 13 with nothing on them"
	@echo "              (as root; mmdebstrap; most of an hour)"
	@echo "make gpu      what needs an NVIDIA GPU, of any kind; ENGINE_PYTHON=an interpreter with torch for CUDA: its ranks, too"
	@echo "make dist     wheel, sdist, wheelhouse, Debian package and, with BASE=, the container; in dist/ (docs/install.md)"
	@echo "make lock     the newest release of each package that goes into them: packaging/requirements.txt"
	@echo "make format   ruff format and the fixes it is sure of"
	@echo "make screens  the pictures of README and docs, from real runs: docs/screens"
	@echo "make bench    ratios: command line, start, disk, idle cost, recovery, requests lost (half an hour; docs/performance.md)"
	@echo "make clean    remove this folder's environment (the engines stay in the cache)"

$(MADE): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit("error  Python %d.%d, wanted 3.11 or later\nfix    make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "making .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1" 2>&1 | grep -v "^WARNING" || true
	@$(BIN)/python -c 'import sys; from importlib.metadata import version; v = version("pip"); sys.exit(0 if tuple(map(int, v.split(".")[:2])) >= (25, 1) else f"error  pip {v}, wanted 25.1 or later, and it could not be upgraded\nfix    reach a package index (PIP_INDEX_URL), then make again")'
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

# Of its own: what builds the site is no tool of the tests.
$(SITE_MADE): pyproject.toml $(MADE)
	@echo "making .venv/docs"
	@$(PYTHON) -m venv .venv/docs
	@.venv/docs/bin/python -m pip install --quiet --upgrade "pip>=25.1" 2>&1 | grep -v "^WARNING" || true
	@.venv/docs/bin/python -m pip install --quiet --group docs
	@touch $@

docs: $(SITE_MADE)
	@$(BIN)/python scripts/lay_site.py lay build/pages
	.venv/docs/bin/zensical build --clean --strict
	$(BIN)/python scripts/lay_site.py links build/site

pages: $(MADE)
	$(BIN)/glm5-serve checks --markdown > docs/checks.md
	$(BIN)/python scripts/vllm_page.py
	$(BIN)/python scripts/commands_page.py
	$(BIN)/python scripts/profile_page.py

demo: $(MADE)
	@$(BIN)/glm5-serve demo --engine $(ENGINE)

engine: $(MADE)
	@$(BIN)/glm5-serve demo --prepare --engine $(ENGINE)

engines: $(MADE)
	@$(BIN)/glm5-serve demo --prepare --engine sglang --engine vllm

lint: $(MADE)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

test: lint
	$(BIN)/pytest $(BESIDE) -m "$(FAST)" || $(AGAIN) -m "$(FAST)"

test-engines: engines
	$(BIN)/pytest $(BESIDE) -m "$(UNITS)" || $(AGAIN) -m "$(UNITS)"
	$(BIN)/pytest -m "$(REAL)" || $(AGAIN) -m "$(REAL)"

playground: $(MADE)
	$(BIN)/python playground/build.py build/site/playground

$(DRIVER): pyproject.toml $(MADE)
	@$(BIN)/python -m pip install --quiet --group browser
	@touch $@

playground-test: $(DRIVER)
	$(BIN)/pytest -m browser || $(AGAIN) -m browser

stress: engines
	$(BIN)/python tests/rig/stress.py --times $(TIMES) --loops $(LOOPS) $(BESIDE)

faults: engines
	GLM5_SERVE_FAULTS=write $(BIN)/pytest -m "matrix or not matrix" tests/serve/test_faults.py tests/serve/test_canary_real.py
	GLM5_SERVE_ROUNDS=100 $(BIN)/pytest tests/serve/test_storm.py

scale: engine
	$(BIN)/pytest -m scale

roots: engine
	$(BIN)/pytest -m roots

gpu: $(MADE)
	$(BIN)/pytest -m gpu

dist: $(MADE)
	$(BIN)/python scripts/dist.py $(DISTS)

lock: $(MADE)
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --output-file packaging/requirements.txt pyproject.toml

format: $(MADE)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screens: engine
	$(BIN)/python tests/rig/screens.py

bench: $(MADE) engines
	$(BIN)/python bench/cli.py
	$(BIN)/python bench/doctor.py
	$(BIN)/python bench/own.py
	$(BIN)/python bench/start.py
	$(BIN)/python bench/readahead.py
	$(BIN)/python bench/idle.py
	$(BIN)/python bench/top.py
	$(BIN)/python bench/recovery.py
	$(BIN)/python bench/drain.py
	$(BIN)/python bench/rolling.py
	$(BIN)/python bench/canary.py

clean:
	rm -rf .venv build dist
