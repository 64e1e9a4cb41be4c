# Two commands do all set-up by themselves, given Python 3.12 or later, git and make:
#   make demo    trains a network on real data, flows it back, writes a report
#   make test    lint, formatting, types, imports, tests
# The environment lives in .venv and is brought up to date when pyproject.toml or constraints.txt change.

VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin
PYTHON  := $(BIN)/python

PROGRAMS     := $(abspath $(VENV))/.jax-cache-empty
DEMO_OUT     ?= runs/demo
DEMO_COMMAND ?= $(BIN)/brg-prob run models/cosnet.py --data data/soi_monthly.csv --tune --out $(DEMO_OUT)

# Two processes on two cores, each with a spinning BLAS of two threads, are several times slower than one each.
tests unit slow more programs: export OPENBLAS_NUM_THREADS = 1
# The two processes share what they compile, and a file with its fixtures belongs to one of them. Nearly all time
# is compilation of programs that run for milliseconds: they are compiled with little optimisation.
tests unit slow more programs: export XLA_FLAGS := --xla_backend_optimization_level=0 $(XLA_FLAGS)
tests unit slow more programs: export JAX_COMPILATION_CACHE_DIR = $(abspath $(VENV))/.jax-cache
tests unit slow more programs: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
tests unit slow more programs: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1

PIP := $(PYTHON) -m pip --disable-pip-version-check --no-input -qq

# A copied checkout brings an environment that points elsewhere, and an upgraded system one that does not start:
# both are made anew.
SOUND := $(shell grep -qsx 'command = .* -m venv.* $(abspath $(VENV))' $(VENV)/pyvenv.cfg && $(PYTHON) -c '' 2>/dev/null && echo yes)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint format format-check types imports unit slow tests programs doctest docs picture exam more bench constraints clean distclean

help:
	@sed -n 's/^## \([a-z-]*\): */  make \1	/p' $(MAKEFILE_LIST) | expand -t 22

## demo: train a network on real data, flow it back and write a report
demo: $(VENV)/.run
	$(DEMO_COMMAND)
	@echo
	@echo "The report: $(abspath $(DEMO_OUT))/report.html"

## test: all checks below, in this order, slow tests included
test: lint format-check types imports tests doctest

## lint: style and docstrings
lint: $(VENV)/.test
	$(BIN)/ruff check .

## format-check: formatting, changing nothing
format-check: $(VENV)/.test
	$(BIN)/ruff format --check .

## format: put the formatting right
format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## types: types of the library
types: $(VENV)/.test
	$(BIN)/mypy

## imports: the floors of the house
imports: $(VENV)/.test
	$(BIN)/lint-imports --no-logo

## tests: every test
tests: $(VENV)/.test
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

## unit: the quick tests
unit: $(VENV)/.test
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"

## slow: the slow tests
slow: $(VENV)/.test
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m slow

## programs: the tests with nothing compiled; how many programs each room compiles, and how long that takes
programs: $(VENV)/.test
	rm -rf $(PROGRAMS)
	JAX_COMPILATION_CACHE_DIR=$(PROGRAMS) $(PYTHON) -m pytest -p tests.programs -n $(WORKERS) --dist loadfile \
		--no-loadscope-reorder
	rm -rf $(PROGRAMS)

# In a process of its own: the examples must hold as a reader runs them, without the tests' float64.
## doctest: the examples in the docstrings
doctest: $(VENV)/.test
	$(PYTHON) -m pytest --doctest-modules brg_prob models

## docs: the documentation as HTML, in build/docs
docs: $(VENV)/.docs
	$(PYTHON) -m sphinx --quiet --fail-on-warning docs build/docs
	@echo "The documentation: $(abspath build/docs)/index.html"

## picture: the README's picture of the demo's report (needs Chromium)
picture: $(VENV)/.test
	$(PYTHON) docs/report_picture.py $(DEMO_OUT) docs/figures/report.png

## exam: large runs against answers known from elsewhere, an hour or more; writes docs/exams
exam: $(VENV)/.test more
	$(PYTHON) -m exams

## more: more of the same as some tests; part of exam
more: $(VENV)/.test
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile -m exam

## bench: the benchmarks
bench: $(VENV)/.bench
	$(PYTHON) -m benchmarks

## constraints: write the versions of the present environment to constraints.txt
constraints: $(VENV)/.test $(VENV)/.docs $(VENV)/.bench
	{ sed -n '/^#/p' constraints.txt; $(PYTHON) -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$'; } > constraints.new
	mv constraints.new constraints.txt
	touch $(VENV)/.run $(VENV)/.test $(VENV)/.docs $(VENV)/.bench

## clean: remove caches and built files
clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

## distclean: the environment too (runs/ stays)
distclean: clean
	rm -rf $(VENV)

# The first of these that truly runs and is new enough (a pyenv shim exists for versions that do not).
$(PYTHON): $(if $(SOUND),,anew)
	@for python in python3.12 python3 python; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then \
	    echo "Environment in $(VENV), with $$($$python --version)"; \
	    exec $$python -m venv --clear $(abspath $(VENV)); \
	  fi; \
	done; \
	echo "make: no Python 3.12 or later with venv was found as python3.12, python3 or python: install one (on Debian with its -venv package)" >&2; exit 1

.PHONY: anew
anew:

# $(1): stamp, $(2): what to install, $(3): stamps that are met by it
define install
$(VENV)/.$(1): $(PYTHON) pyproject.toml constraints.txt
	@echo "Installing brg_prob ($(1)), a few minutes the first time"
	@$$(PIP) install --constraint constraints.txt --editable '$(2)'
	@touch $(foreach stamp,$(1) $(3),$(VENV)/.$(stamp))
endef
$(eval $(call install,run,.))
$(eval $(call install,test,.[test],run))
$(eval $(call install,docs,.[docs],run))
$(eval $(call install,bench,.[bench],run))
