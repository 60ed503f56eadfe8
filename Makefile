# Verbs. `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
# VENV=path uses an environment of your own as it is: nothing is installed into it.
VENV    ?= .venv
PROFILE ?= $(or $(QUANTUM_PROFILE),release)
ARGS    ?=
T       ?=
PY      := $(VENV)/bin/python
PYTEST  := $(PY) -m pytest
GEN     := build/protobuf.stamp
NATIVE  := build/$(PROFILE).stamp
TOOLS   := $(VENV)/.requirements
SCRIPTS := $(VENV)/.scripts
PROTOS  := $(shell find proto -name '*.proto' 2>/dev/null)
SOURCES := $(shell find cython_ext -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h')
QUICK   := $(wildcard tests/architecture tests/unit tests/contract tests/conformance)
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup gen build checked run test check full lint types format bench fuzz clean FORCE

help:           ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: setup      ## the main job: a gateway and two clients that edit one document over a bad link (ARGS=--serve keeps it up)
	@$(PY) -m gateway demo $(ARGS)

test: setup     ## everything the README promises, in under ten minutes on two cores
	@$(PYTEST) -n 2 $(ARGS)

check: build    ## the quick part: architecture, unit, contract and vectors, in under a minute
	@$(PYTEST) -q -n 2 -m 'not integration and not simulation and not fuzz' $(QUICK) $(ARGS)

full: setup     ## the whole suite on the checked build, then on the release build
	@$(MAKE) --no-print-directory PROFILE=checked build && QUANTUM_GRID=full $(PYTEST) -n 2 $(ARGS)
	@$(MAKE) --no-print-directory PROFILE=release build && QUANTUM_GRID=full $(PYTEST) -n 2 $(ARGS)

lint: build     ## ruff, cython-lint, import-linter, codespell
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@PATH="$(abspath $(VENV))/bin:$$PATH" cython-lint cython_ext
	@PATH="$(abspath $(VENV))/bin:$$PATH" lint-imports --no-logo && $(PY) -m codespell_lib

types: build    ## mypy --strict, and the stubs against the built modules
	@$(PY) -m mypy
	@$(PYTEST) -q tests/architecture/test_stubs.py

format: $(TOOLS)        ## let ruff rewrite what it can
	@$(PY) -m ruff check --fix-only -q . && $(PY) -m ruff format -q .

bench: setup    ## the transport beside others, on loopback and on a bad link (ARGS='--quick', 'list', 'report FILE', 'link --check')
	@$(PY) -m bench $(ARGS)

fuzz: build     ## bounded fuzz targets, or one of them: make fuzz T=header
	@$(PYTEST) -m fuzz $(if $(T),-k $(T)) tests $(ARGS)

checked:        ## native modules with bounds checks, a trap at undefined behaviour, C warnings as errors
	@$(MAKE) --no-print-directory PROFILE=checked build

setup: build $(SCRIPTS)
gen: $(GEN)             ## proto/ -> quantum_pb/
build: $(GEN) $(NATIVE) ## native modules in place (PROFILE=release or checked)

clean:          ## remove what was built; the environment stays
	@rm -rf build dist quantum_pb *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find cython_ext -name '*.so' -delete && rm -f $(SCRIPTS)

# ---- how each is made, once ----
ifeq ($(VENV),.venv)
$(TOOLS): FORCE
	@sh bootstrap.sh $(VENV)

$(SCRIPTS): pyproject.toml $(TOOLS)
	@echo '-- linking the commands quantum and quantum-gateway into $(VENV)' >&2
	@QUANTUM_PROFILE=built $(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e . >build/scripts.log 2>&1 \
	    || { cat build/scripts.log >&2; echo 'error: the commands could not be linked (see above)' >&2; exit 1; }
	@touch $@
else
$(TOOLS) $(SCRIPTS):
	@true
endif

$(GEN): $(PROTOS) setup.py | $(TOOLS)
	@mkdir -p build && echo '-- generating quantum_pb' >&2
	@rm -rf quantum_pb && $(PY) setup.py protobuf && touch $@

# The profiles share the place of the .so files, so each removes the other's stamp and files; what
# setup.py says is part of every module, so a change of it starts the profile afresh.
$(NATIVE): $(SOURCES) setup.py | $(TOOLS)
	@mkdir -p build && echo '-- compiling $(words $(filter %.pyx,$(SOURCES))) native modules ($(PROFILE))' >&2
	@cmp -s setup.py build/$(PROFILE)/setup.py || rm -rf build/$(PROFILE)
	@[ -f $@ ] || find cython_ext -name '*.so' -delete
	@rm -f build/release.stamp build/checked.stamp && mkdir -p build/$(PROFILE) && cp setup.py build/$(PROFILE)/
	@QUANTUM_PROFILE=$(PROFILE) $(PY) setup.py -q build_ext --inplace --parallel 2 \
	    --build-lib build/$(PROFILE)/lib --build-temp build/$(PROFILE)/temp && touch $@
