# Two commands do everything: `make demo` and `make test`. Both make their own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# By files, whose tests share emulators and servers; in the order of tests/conftest.py, not by how many tests a file has:
# those that take longest have few. Four for two cores, as a third of the time is spent waiting; the quick tests hardly
# wait, and each process takes six seconds to collect them.
WORKERS := 4
QUICK_WORKERS := 2
BY_FILES := --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-quick lint benchmark clean

demo: $(VENV)/.samples  ## build the sample models, serve them, invoke them, stop; with KEEP=1 they stay until Ctrl-C
	$(BIN)/python samples/house_prices/demo.py $(if $(KEEP),--keep)

test: $(VENV)/.tests  ## install all that the tests need, and run them
	$(BIN)/python -m tests.support.real_servers.provision
	$(BIN)/python -m pytest --numprocesses $(WORKERS) $(BY_FILES)

test-quick: $(VENV)/.tests  ## those that need no emulator process, no Docker, no real server
	$(BIN)/python -m pytest --numprocesses $(QUICK_WORKERS) $(BY_FILES) tests/unit tests/services

lint: $(VENV)/.tests  ## what CI checks besides
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

benchmark: $(VENV)/.tests  ## measure the hot path; needs wrk
	$(BIN)/python -m tests.support.real_servers.provision
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV)

$(VENV)/.samples: setup.cfg | $(VENV)/.made
	@echo "Installing localmme and what its samples need into $(VENV): a minute or two the first time ..."
	$(BIN)/pip install --quiet --editable '.[samples]'
	touch $@

$(VENV)/.tests: setup.cfg | $(VENV)/.made
	$(BIN)/pip install --quiet --editable '.[tests]'
	touch $@ $(VENV)/.samples

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "localmme needs Python 3.10 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	touch $@
