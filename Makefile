# Verbs. `make run` and `make test` are all a newcomer needs.
VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: gen build
gen:
	$(PY) setup.py protobuf
build: gen
	$(PY) setup.py -q build_ext --inplace
