# make demo    the tour: real photographs packed, a network trained, verified and used (about four minutes on 2 cores)
# make test    style, types and the suite, then the tests against the real MXNet
# make .venv   the environment alone: source .venv/bin/activate
# make check   ruff format, ruff lint, mypy --strict
# make bench   the speed claims, each side in one run
PYTHON ?= python3
VENV := .venv
MXVENV := .venv-mxnet
RUN := $(VENV)/bin/python
MXRUN := MXNET_SUBGRAPH_BACKEND=NONE $(MXVENV)/bin/python
PYTEST := -m pytest -n 2 --dist worksteal
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test test-all test-mxnet check format bench clean .venv .venv-mxnet

help:
	@sed -n '1,5s/^# //p' Makefile

.venv: $(VENV)/.ready
$(VENV)/.ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "mxface needs Python 3.10 or newer; say which: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev,onnx]'
	@touch $@

# MXNet 1.9.1 was built for x86-64 Linux and numpy 1.23, so for Python up to 3.11: elsewhere this makes no environment, aloud.
.venv-mxnet: constraints-mxnet.txt pyproject.toml
	@if ! $(PYTHON) -c 'import sys, platform; sys.exit(not ((3, 10) <= sys.version_info < (3, 12) and sys.platform == "linux" and platform.machine() == "x86_64"))'; then \
	  echo "SKIPPED: the real MXNet needs Python 3.10 or 3.11 on x86-64 Linux; its tests do not run here (make PYTHON=python3.11 … if you have one)" >&2; \
	elif [ ! -e $(MXVENV)/.ready ] || [ constraints-mxnet.txt -nt $(MXVENV)/.ready ]; then \
	  $(PYTHON) -m venv $(MXVENV) && $(MXVENV)/bin/python -m pip install --disable-pip-version-check -q -c constraints-mxnet.txt -e '.[mxnet]' pytest pytest-xdist hypothesis psutil && touch $(MXVENV)/.ready; \
	fi

demo: .venv
	@$(RUN) -m mxface.demo

test: check
	$(RUN) $(PYTEST)
	@$(MAKE) --no-print-directory test-mxnet

test-all: check
	$(RUN) $(PYTEST) --slow
	@$(MAKE) --no-print-directory test-mxnet SLOW=--slow

# the whole suite once more there: MXNet's tests, and everything else with numpy 1.23 and OpenCV 4.10
test-mxnet: .venv-mxnet
	@if [ -e $(MXVENV)/.ready ]; then $(MXRUN) $(PYTEST) $(SLOW); fi

check: .venv
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

format: .venv
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: .venv .venv-mxnet
	@for script in bench/bench_*.py; do echo "== $$script"; $(RUN) $$script || exit 1; done

clean:
	rm -rf $(VENV) $(MXVENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist src/*.egg-info
