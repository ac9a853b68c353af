# Shield. The two commands that matter: `make run` and `make test`. Both set up what they need in .venv first.
# Needs Python 3.11 or newer with venv, make, and access to PyPI (or a mirror that pip is configured for).

SHELL := /bin/sh
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config.toml
# Parallel test processes; "auto" is one per core. Two more where tests wait for other processes and for browsers.
JOBS ?= auto
WAITING_JOBS ?= $(if $(filter auto,$(JOBS)),$(shell expr $$(nproc 2>/dev/null || echo 1) + 2),$(JOBS))

# Tests start Shield some 150 times, each time compiled anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { command -v $$p; break; }; done)

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps

.PHONY: run test lint format policy-test rest-test scenes fuzz clients cluster autobahn audit test-wheel short-wheel-test docs bench soak chaos lock clean help

help:
	@echo "make run         set up and start Shield with $(CONFIG)"
	@echo "make test        set up, lint, type-check, run all tests, check the wheel"
	@echo "make scenes      whole attacks in simulated time: an hour of processor time"
	@echo "make fuzz        fuzz every parser of ours, FUZZ_SECONDS=600 each"
	@echo "make cluster     several machines as one, over a real store: the long form of tests/cluster"
	@echo "make clients     real clients, from curl to Chromium, with the default config"
	@echo "make autobahn    the Autobahn cases for WebSockets, directly and through Shield"
	@echo "make audit       ask for known vulnerabilities in the pinned dependencies"
	@echo "make test-wheel  all tests against the wheel, installed in an empty directory"
	@echo "make lint        ruff and mypy only, and which classes have grown without a reason"
	@echo "make format      let ruff format the code"
	@echo "make docs        write what is generated: pages of the manual, the config's schema, shield(1)"
	@echo "make bench       all benchmarks on this machine, loopback only, shown in README.md: 80 minutes"
	@echo "make soak        honest and hostile traffic and falling servers, loopback only: SOAK_SECONDS=600"
	@echo "make chaos       killed processes, reloads, upgrades, a full disk, loopback only: CHAOS_SECONDS=300"
	@echo "make lock        resolve requirements/*.txt anew (needs uv)"

run: $(VENV)/run.stamp
	@exec $(BIN)/python -m shield run --config $(CONFIG)

# mypy keeps one core busy, and the policy's tests fill the others; so do the wheel and the other tests.
test: $(VENV)/dev.stamp
	@$(MAKE) -j 2 lint policy-test
	@$(MAKE) -j 2 rest-test short-wheel-test
	@echo "all tests passed"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python .ci/sizes.py

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The policy's own tests must cover each of its branches; coverage from other tests does not count.
policy-test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/policy -n $(JOBS) -q --cov --cov-report=term-missing:skip-covered --cov-fail-under=100

rest-test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests --ignore=tests/policy -n $(WAITING_JOBS) --dist worksteal -q \
		-m "not scene and not clients"

# Too long for every day: a minute or two each.
scenes: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/simulate tests/replay -n $(JOBS) -q -m scene -o faulthandler_timeout=3600

WHEEL := build/wheel
ROOM := $(WHEEL)/room
# A venv with nothing but the wheel; the pinned dependencies are seen through a .pth file, so nothing is fetched again.
define install-wheel
	rm -rf $(WHEEL)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(WHEEL)/dist . >/dev/null
	$(BIN)/python -m venv --without-pip $(WHEEL)/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $(WHEEL)/dependencies.pth
	mv $(WHEEL)/dependencies.pth "$$($(WHEEL)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(BIN)/python -m pip --python $(WHEEL)/venv/bin/python install --quiet --disable-pip-version-check --no-deps --no-index \
		$(WHEEL)/dist/*.whl
	mkdir $(ROOM)
	cp -r docs pyproject.toml $(ROOM)
	test -f $(WHEEL)/venv/share/man/man1/shield.1 && test -f $(WHEEL)/venv/share/shield/config.schema.json
	$(BIN)/python -c 'import shutil; shutil.copytree("tests", "$(ROOM)/tests", ignore=shutil.ignore_patterns("__pycache__"))'
endef

test-wheel: $(VENV)/dev.stamp
	$(install-wheel)
	cd $(ROOM) && ../venv/bin/python -P -m pytest tests -n $(JOBS) -q -m "not scene and not clients"

# What a wheel can get wrong is what it contains: the command, the default config, the pages.
short-wheel-test: $(VENV)/dev.stamp
	$(install-wheel)
	cd $(ROOM) && ../venv/bin/shield --version && ../venv/bin/shield check
	cd $(ROOM) && ../venv/bin/python -P -m pytest $$(grep -rlw --include='test_*.py' mark.wheel tests) -q -m wheel

docs: $(VENV)/run.stamp
	$(BIN)/python -m shield.config.reference docs
	@mkdir -p deploy/man
	$(BIN)/python -m tests.solving.vectors > docs/protocol-vectors.json
	$(BIN)/python -c 'from shield.cli import manual; print(manual(), end="")' > deploy/man/shield.1

# Figures are shown also when some are not as wanted; the exit status still says so.
bench: $(VENV)/bench.stamp
	@$(BIN)/python -m bench all; status=$$?; $(BIN)/python -m bench readme && exit $$status

# Each parser of ours for FUZZ_SECONDS, half of the cores at a time; tests/fuzz/run.py says more. `make test` has a short form.
FUZZ_SECONDS ?= 600
TARGETS ?=
fuzz: $(VENV)/fuzz.stamp
	@$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(TARGETS)

# Real clients with the default config; those that are not installed are skipped by name. docs/clients.md has the list.
# Browsers listen to a sound for MEDIA_SECONDS, six times.
MEDIA_SECONDS ?= 600
clients: $(VENV)/clients.stamp
	SHIELD_MEDIA_SECONDS=$(MEDIA_SECONDS) $(BIN)/python -m pytest tests/clients -n $(JOBS) -q -m clients -rs -o faulthandler_timeout=3600

# The Autobahn cases for WebSockets, directly and through Shield: the verdicts must be the same.
CASES ?=
autobahn: $(VENV)/clients.stamp
	@$(BIN)/python -m tests.clients.autobahn $(CASES)

# Several machines as one: what takes seconds besides, as a Valkey or Redis Cluster that forms.
cluster: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/cluster tests/integration/test_cluster.py -n $(JOBS) -q -rs

# Known vulnerabilities in what is pinned. Where nobody can be asked it says so, and does not fail.
audit: $(VENV)/audit.stamp
	@$(BIN)/python .ci/audit.py requirements/*.txt

# Not in `make test`: it takes ten minutes. SOAK_SECONDS=20 is a look.
SOAK_SECONDS ?= 600
soak: $(VENV)/bench.stamp
	@$(BIN)/python -m bench soak --seconds $(SOAK_SECONDS)

# Ends with a table; the exit status is 1 when somebody noticed. `make test` has a short form.
CHAOS_SECONDS ?= 300
chaos: $(VENV)/bench.stamp
	@$(BIN)/python -m bench chaos --seconds $(CHAOS_SECONDS)

# Installing again only when a lock changed.
$(VENV)/run.stamp: requirements/run.txt | $(BIN)/python
	$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt | $(BIN)/python
	$(PIP_INSTALL) -r $<
	@touch $@ $(VENV)/run.stamp

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/audit.stamp: requirements/audit.txt | $(BIN)/python
	$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/clients.stamp: requirements/clients.txt $(VENV)/dev.stamp
	$(PIP_INSTALL) -r $<
	@touch $@

$(VENV)/fuzz.stamp: requirements/fuzz.txt $(VENV)/dev.stamp
	$(PIP_INSTALL) -r $<
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Shield needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv or ensurepip. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One resolution for all files: the others are constrained to what run and dev have.
LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-config --quiet
lock:
	$(LOCK) --output-file requirements/run.txt
	$(LOCK) --extra test --constraint requirements/run.txt --output-file requirements/dev.txt
	$(LOCK) --extra cluster --extra mmdb --extra traces --constraint requirements/dev.txt --output-file requirements/image.txt
	$(LOCK) --extra bench --constraint requirements/dev.txt --output-file requirements/bench.txt
	$(LOCK) --extra audit --constraint requirements/dev.txt --output-file requirements/audit.txt
	$(LOCK) --extra clients --constraint requirements/dev.txt --output-file requirements/clients.txt
	$(LOCK) --extra fuzz --constraint requirements/dev.txt --output-file requirements/fuzz.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
