# What one does with the project: make env, test, bench, peers, ledger, docs, newcomer, browser,
# sanitize, oracle, packaging, kill, lint, clean.
# Everything runs in .venv, made once and renewed when what it is built from changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard kernels/*.pyx kernels/*.pxd kernels/*.h \
	autodiff/*.pyx autodiff/*.pxd autodiff/*.h)
ORACLE := .venv-oracle
PEERS := .venv-peers
SANITIZED := build/sanitized
PYTEST := $(BIN)/python -m pytest
PIP := -m pip --disable-pip-version-check install --quiet

.PHONY: env build test bench peers ledger docs newcomer browser sanitize oracle packaging kill lint clean

env: $(VENV)/.built

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

# Editable, with build isolation: what a user's `pip install` does.
$(VENV)/.built: $(VENV)/.made $(SOURCES)
	$(BIN)/python $(PIP) --editable '.[test,dev]'
	touch $@

build: env

# The suite on the compiled core, then what the plain core must give as well.
test: env
	AUTODIFF_CORE= $(PYTEST) tests --durations=20
	AUTODIFF_CORE=plain $(PYTEST) tests/autodiff tests/kernels tests/nn -q

bench: env
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

# This engine beside others, which live in an environment of their own.
peers:
	test -d $(PEERS) || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) --editable '.[peers]'
	$(PEERS)/bin/python -m benchmarks peers

# What counting bytes costs, beside a build that counts none.
ledger: env
	AUTODIFF_LEDGER=0 $(BIN)/python $(PIP) --no-deps --upgrade --target build/no-ledger .
	$(BIN)/python -m benchmarks ledger build/no-ledger

# The documentation as a site in build/site: warnings are errors, every link is followed.
# Search needs a server: python -m http.server -d build/site
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	$(BIN)/python docs/_tools/site_links.py build/site

$(VENV)/.docs: $(VENV)/.built
	$(BIN)/python $(PIP) --editable '.[docs]'
	touch $@

# A new user's first minutes, in a clone of the last commit: what the README says, timed.
newcomer:
	rm -rf build/newcomer && git clone --quiet . build/newcomer
	$(MAKE) -C build/newcomer env PYTHON=$(PYTHON)
	cd build/newcomer && start=$$(date +%s) && $(MAKE) bench && \
		$(BIN)/python docs/_tools/blocks.py README.md && \
		echo "from make bench to the end of the README: $$(($$(date +%s) - start)) s after the build"

# The pages in headless Chromium (packages chromium and chromium-driver); skipped without it.
browser: env
	$(PYTEST) tests/browser -q -rs

# Address and undefined-behaviour sanitizers, in a build of its own.  Python itself leaks on
# exit and is not instrumented: hence the preload and no leak check.
sanitize: env
	AUTODIFF_SANITIZE=1 AUTODIFF_ARCH=x86-64-v3 $(BIN)/python $(PIP) \
		--no-deps --upgrade --target $(SANITIZED) .
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	PYTHONPATH=$(SANITIZED) PYTHONSAFEPATH=1 PYTHONMALLOC=malloc \
		$(PYTEST) tests/kernels tests/autodiff -q -x -p no:benchmark

# Against other engines: heavy, so in an environment apart and never part of `test`.
oracle:
	test -d $(ORACLE) || $(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python $(PIP) --editable '.[oracle]'
	$(ORACLE)/bin/python -m pytest tests/oracle -q

# A wheel: what it holds, how it installs, with and without a compiler; other people's Cython.
packaging: env
	$(PYTEST) tests/test_packaging.py -m slow --durations=0

# A training run killed at 50 random moments: always a valid checkpoint, the same end bit for bit.
kill: env
	AUTODIFF_KILLS=50 $(PYTEST) tests/nn/test_kill.py -q -s

lint: env
	$(BIN)/ruff check .

clean:
	rm -rf build dist *.egg-info $(VENV) $(ORACLE) $(PEERS)
	find kernels autodiff -name '*.so' -delete
