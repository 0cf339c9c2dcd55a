# Everything happens in a virtual environment of its own, .venv; delete it to start anew.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BUILT_FROM := pyproject.toml setup.py backends/_folder.c
SEEDS ?= 200
JOBS ?= 2
MINUTES ?= 1
AUDIT ?=
HOURS ?= 24
TARGETS ?=
RUNS ?= 5
NAMES ?=
# photosync as people install it, without what is here for its development.
INSTALLED = PYTHONWARNINGS=ignore $(VENV)/installed/bin/python -m pip install --quiet

# The page is made anew whenever it is asked for.
.PHONY: docs/capabilities.md help demo test test-long lint format bench bench-quick matrix fuzz audit load soak clean

help:
	@echo "make demo       copy a sample phone, verify it, run again"
	@echo "make test       lint, types, import rules, all tests"
	@echo "make test-long  the long suites too: make test-long SEEDS=2000"
	@echo "make bench      measure beside rclone, s5cmd, aws, rsync and cp, and write docs/benchmarks.md"
	@echo "make bench-quick    the same much smaller, in three minutes; writes nothing"
	@echo "make matrix     write docs/trust.md: which test shows which fault"
	@echo "make fuzz       hostile input for every reader: make fuzz MINUTES=60 TARGETS=media"
	@echo "make load       200,000 files, 20 GB, a hundred runs in one process; make soak HOURS=24"
	@echo "make audit      sbom.json, and known weaknesses of dependencies (asks PyPI's service)"
	@echo "make format     format the code"

$(VENV)/demo-ready: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[samples]'
	@touch $@

$(VENV)/ready: $(BUILT_FROM)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

$(VENV)/bench-ready: $(VENV)/ready
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --group bench
	@touch $@

$(VENV)/installed/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)/installed
	$(INSTALLED) .
	@touch $@

demo: $(VENV)/demo-ready
	$(BIN)/photosync demo .demo

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow" --seeds $(SEEDS)

test-long: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --seeds $(SEEDS)

docs/capabilities.md: $(VENV)/ready
	$(BIN)/python -m photosync.testing.table > $@

# RUNS and NAMES choose less: make bench RUNS=3 NAMES="photos mid".
bench: $(VENV)/bench-ready $(VENV)/installed/ready
	@rm -rf build
	$(INSTALLED) --no-deps --force-reinstall .
	$(BIN)/python -m benchmarks $(NAMES) --runs $(RUNS) --json docs/benchmarks.json --svg docs/benchmarks.svg \
		--markdown docs/benchmarks.md

bench-quick: $(VENV)/bench-ready $(VENV)/installed/ready
	@rm -rf build
	$(INSTALLED) --no-deps --force-reinstall .
	$(BIN)/python -m benchmarks --quick

matrix: $(VENV)/ready
	$(BIN)/python -m tests.matrix

# Without a wheel for this machine the search is blind, and works all the same.
$(VENV)/fuzz-ready: $(VENV)/ready
	-$(BIN)/python -m pip install --quiet --group fuzz
	@touch $@

fuzz: $(VENV)/fuzz-ready
	$(BIN)/python -W ignore -m tests.fuzz --minutes $(MINUTES) $(TARGETS)

# FILES=…, GIGABYTES=… and RUNS=… before make change the sizes.
load: $(VENV)/ready
	$(BIN)/python -m pytest -m slow -s tests/load

soak: $(VENV)/ready
	$(BIN)/python -m tests.load.soak --hours $(HOURS)

# What users install, without the tools of development.
$(VENV)/runtime/ready: $(BUILT_FROM) $(VENV)/ready
	$(PYTHON) -m venv $(VENV)/runtime
	$(VENV)/runtime/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/runtime/bin/python -m pip install --quiet '.[sftp,webdav,s3crt,smb,adb,ptp,auto,notify,samples,crypt]'
	$(BIN)/python -m pip install --quiet --group audit
	@touch $@

# AUDIT="--vulnerability-service osv" asks another service.
audit: $(VENV)/runtime/ready
	$(BIN)/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible -o sbom.json $(VENV)/runtime
	$(BIN)/pip-audit --path $$($(VENV)/runtime/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') --strict $(AUDIT)

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .demo build dist *.egg-info backends/_folder*.so
