# Two commands from a fresh clone: `make demo` and `make test`. Both make the environment .venv on first use.
#
#   PYTHON=python3.12 make demo     another interpreter (3.11 or later)
#   TORCH="torch" make demo         another torch: the default is pinned to a build for CPUs

PYTHON ?= python3
TORCH ?= torch==2.13.0
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# two ranks on a laptop: one thread each, and no spinning while they wait for each other
RANKS_ENV := PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.PHONY: demo test docs reproduce reproduce-quick kills fuzz lint clean help

help:
	@echo "make demo    two bosons on two MPI ranks: a table of errors, figures, results.h5"
	@echo "make test    everything the project tests"
	@echo "make docs    these pages as a site, build/docs/html/index.html; examples in them are run"
	@echo "make reproduce        every published experiment beside what was published: docs/published.md, in hours;"
	@echo "                      it goes on where it was interrupted (JOBS=2: how many runs side by side)"
	@echo "make reproduce-quick  less of it, in a quarter of an hour: runs/reproduce/quick/published.md"
	@echo "make kills   200 runs or ranks killed at random moments: every one must be resumed exactly"
	@echo "make fuzz    thousands of random inputs: a plan or an error that names the key"
	@echo "make lint    ruff and mypy only"
	@echo "make clean   remove .venv and tool caches (never runs/)"

# the demo owns runs/demo, and so may replace it
demo: $(VENV)/.demo
	@$(RANKS_ENV) DSMSIM_PROGRESS=$$([ -t 2 ] && echo bar || echo lines) \
	  mpirun -n 2 dsmsim run inputs/two_bosons.toml --out runs/demo --overwrite

test: $(VENV)/.test lint docs
	$(RANKS_ENV) pytest
	$(RANKS_ENV) timeout 600 mpirun -n 2 python -m pytest -q -x --with-mpi tests/mpi
	$(RANKS_ENV) timeout 600 mpirun -n 3 python -m pytest -q -x --with-mpi tests/mpi

# warnings are errors; -E: references follow the program, which Sphinx does not see
docs: $(VENV)/.docs
	$(RANKS_ENV) sphinx-build -q -E -W --keep-going -b doctest docs build/docs/doctest
	$(RANKS_ENV) sphinx-build -q -E -W --keep-going -b html docs build/docs/html

# more of what the tests do a little of: 200 kills at random moments; ten times as many random inputs
kills: $(VENV)/.test
	$(RANKS_ENV) DSMSIM_KILLS=200 pytest --timeout 3600 tests/faults/test_random_kills.py

fuzz: $(VENV)/.test
	$(RANKS_ENV) DSMSIM_FUZZ=10 pytest --timeout 3600 tests/config/test_fuzz.py tests/cli/test_cli_fuzz.py

# what is finished is kept, so that this can be stopped and started again at any time
reproduce: $(VENV)/.test
	$(RANKS_ENV) python -m tools.reproduce run --jobs $(JOBS)
	$(RANKS_ENV) python -m tools.reproduce page --docs

reproduce-quick: $(VENV)/.test
	$(RANKS_ENV) python -m tools.reproduce run --profile quick --jobs $(JOBS)
	$(RANKS_ENV) python -m tools.reproduce page --profile quick

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[mpi,plot,report]"
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[mpi,plot,report,test]"
	@touch $(VENV)/.demo $@

$(VENV)/.docs: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
