# The table of contents: `make help`.
#
#   make                                          environment, data, headline result, report
#   make all                                      every figure of FashionMNIST, the sweeps included (about an hour)
#   make all DATASET=binary_mnist                 every figure that the paper has for another data set
#   make all LIKELIHOOD=mol PROFILE=gpu           another likelihood, another budget

SHELL         := bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := headline
.DELETE_ON_ERROR:
.SECONDARY:
.NOTPARALLEL: # every run fills the machine by itself; `make -j2` is safe and no faster
MAKEFLAGS     += --no-builtin-rules

PROFILE    ?= laptop
DATASET    ?= fashion_mnist
LIKELIHOOD ?= default
SLOW       ?=
ONLY       ?=
LONG       ?=

# An active virtual or conda environment is used; without one, .venv is made.
ENV    := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),$(CURDIR)/.venv)
PYTHON := $(ENV)/bin/python
READY  := $(ENV)/.vaelib-ready
VAELIB := $(PYTHON) -m vaelib

export VAELIB_BUILD ?= $(CURDIR)/build
B      := $(VAELIB_BUILD)/$(PROFILE)
SRC    := $(VAELIB_BUILD)/src
TAG    := $(notdir $(basename $(DATASET)))$(if $(filter-out default,$(LIKELIHOOD)),-$(LIKELIHOOD))
NAMES  := $(patsubst notebooks/%.py,%,$(sort $(wildcard notebooks/[0-9]*.py)))
# The paper sweeps one network on one data set; FashionMNIST stands in for CIFAR-10. With another likelihood the sweeps would be the same.
SWEEPS := $(filter 02_% 04_% 06_% 07_% 08_%,$(NAMES))
ALL    := $(if $(filter-out default,$(LIKELIHOOD))$(filter binary_mnist,$(DATASET)),$(filter-out $(SWEEPS),$(NAMES)),$(NAMES))
LIB    := $(shell find vaelib -type f -not -name '*.pyc')

.PHONY: help setup headline all sweeps smoke report claims plan sync check test bench docs doctor lab clean FORCE

help:     ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

headline: $(B)/notebooks/03_three_gaps.$(TAG).ipynb $(B)/report.html  ## (default) the three gaps of four training methods, and the report

all: $(ALL:%=$(B)/notebooks/%.$(TAG).ipynb) $(B)/report.html  ## every notebook, figure and table for DATASET, LIKELIHOOD, PROFILE

sweeps: $(SWEEPS:%=$(B)/notebooks/%.$(TAG).ipynb) $(B)/report.html  ## the sweeps over k, mixtures, procedures and sizes alone

smoke:    ## every notebook at a size that takes seconds; proves the pipeline, claims nothing
	@$(MAKE) --no-print-directory all PROFILE=smoke

setup: $(READY)  ## install everything into .venv (or into the environment that is active)

$(READY): pyproject.toml
	@mkdir -p $(VAELIB_BUILD)/logs
	@test -x $(PYTHON) || { command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed as python3"; exit 1; }; python3 -m venv $(ENV); }
	@echo "installing into $(ENV) (a few minutes and about 7 GB, most of it torch's CUDA build; README: a CPU build instead)"
	@$(PYTHON) -m pip install --progress-bar off -e '.[all]' > $(VAELIB_BUILD)/logs/setup.log 2>&1 \
	  || { tail -n 15 $(VAELIB_BUILD)/logs/setup.log; echo "installing failed: see $(VAELIB_BUILD)/logs/setup.log"; exit 1; }
	@$(PYTHON) -m pip install --progress-bar off --no-deps imagecorruptions-imaug >> $(VAELIB_BUILD)/logs/setup.log 2>&1 \
	  || echo "the photographs of the corruption frost were not to be had: the other 18 are made without them"
	@touch $@

# Copies that change only when the text does: a checkout or a save in JupyterLab must not restart a long run.
$(SRC)/%.py: notebooks/%.py FORCE
	@mkdir -p $(@D); cmp -s $< $@ || cp $< $@
$(SRC)/lib.sum: FORCE
	@mkdir -p $(@D); cat $(LIB) | cksum | cmp -s - $@ || cat $(LIB) | cksum > $@
FORCE:

# Static, not implicit: make takes the products of implicit rules for intermediate and would leave the report as it was.
$(NAMES:%=$(B)/notebooks/%.$(TAG).ipynb): $(B)/notebooks/%.$(TAG).ipynb: $(SRC)/%.py $(SRC)/lib.sum | $(READY)
	@mkdir -p $(@D) $(B)/logs
	@echo "$* [$(PROFILE), $(DATASET)$(if $(filter-out default,$(LIKELIHOOD)), with $(LIKELIHOOD))]"
	@$(VAELIB) notebook run $* --out $@ --html $(@:.ipynb=.html) \
	  -p profile=$(PROFILE) -p dataset=$(DATASET) -p likelihood=$(LIKELIHOOD) 2>&1 | tee $(B)/logs/$*.$(TAG).log \
	  || { echo "$* failed: see $(B)/logs/$*.$(TAG).log; what is finished is kept, make goes on from there"; exit 1; }

# The ledger is judged when everything else of the same call is there.
$(B)/notebooks/10_claims.$(TAG).ipynb: $(patsubst %,$(B)/notebooks/%.$(TAG).ipynb,$(filter-out 10_claims,$(ALL)))

# Notebook 01 brackets the VAEs that notebook 03 trains, where they are there.
ifneq ($(filter all,$(MAKECMDGOALS)),)
$(B)/notebooks/01_training_distributions.$(TAG).ipynb: | $(B)/notebooks/03_three_gaps.$(TAG).ipynb
endif

# What this call makes comes before the report; notebooks of other data sets that are there already count too.
MADE := $(if $(filter all,$(MAKECMDGOALS)),$(ALL),$(if $(filter sweeps,$(MAKECMDGOALS)),$(SWEEPS),03_three_gaps))
$(B)/report.html: $(MADE:%=$(B)/notebooks/%.$(TAG).ipynb) $(wildcard $(B)/notebooks/*.ipynb) $(SRC)/lib.sum | $(READY)
	@$(VAELIB) report --profile $(PROFILE)

report: $(READY)  ## rebuild the report from the tables and figures made so far
	@$(VAELIB) report --profile $(PROFILE)

claims: $(READY)  ## judge the paper's claims by the tables made so far
	@$(VAELIB) claims --profile $(PROFILE)

plan: $(READY)  ## what would be computed, what is there already, and how long the rest takes
	@$(VAELIB) plan --profile $(PROFILE) --dataset $(DATASET) --likelihood $(LIKELIHOOD)

docs: $(READY)  ## the API reference from the docstrings, in build/api
	@$(VAELIB) docs

doctor: $(READY)  ## what this machine has, and what each missing thing costs
	@$(VAELIB) doctor

lab: $(READY)  ## open copies of the notebooks, in build/lab, in JupyterLab
	@$(VAELIB) notebook copy
	@$(PYTHON) -m jupyter lab "$$VAELIB_BUILD/lab"

sync: $(READY)  ## write each notebooks/*.ipynb from its .py
	@$(VAELIB) notebook sync

check: $(READY)  ## lint, formatting, notebook pairs and rules
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(VAELIB) notebook check

test: $(READY)  ## all tests, every notebook in smoke included (SLOW=1: the long ones too)
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(if $(SLOW),--slow)

# pythae without what it asks for: all of it is there, but for a backport that no Python of today needs.
bench: $(READY)  ## one table: speed beside pythae, diffusers and the machine's own ceilings (ONLY=name, LONG=1)
	@$(PYTHON) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pythae") is None)' \
	  || { echo "installing pythae, the peer (pyproject.toml: extra bench)"; \
	       $(PYTHON) -m pip install -q --no-deps pythae==0.1.2 cloudpickle imageio || true; }
	@$(PYTHON) -m tests.benchmarks $(ONLY:%=--only %) $(if $(LONG),--long)

clean:    ## delete results, keep downloaded data and the environment
	@rm -rf $(VAELIB_BUILD)/{smoke,laptop,gpu,paper,store,src,logs,api,screenshots}
