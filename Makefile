# The table of contents: `make help`. Which notebook is run when: notebooks/run.mk.
#
#   make                                                 environment, data, headline result, report
#   make all                                             every figure of FashionMNIST, the sweeps included (hours: make plan)
#   make all DATASET=binary_mnist                        every figure that the paper has for another data set
#   make all LIKELIHOOD=mol PROFILE=gpu                  another likelihood, another budget
#   make all DATASET=images.npz SET="n_train=40 k=2"     images of your own, single settings

SHELL         := bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := headline
.NOTPARALLEL: # every run fills the machine by itself; `make -j2` is safe and no faster
MAKEFLAGS     += --no-builtin-rules

PROFILE      ?= laptop
DATASET      ?= fashion_mnist
LIKELIHOOD   ?= default
SET          ?=
SLOW         ?=
ONLY         ?=
LONG         ?=
TORCH        ?=
UPGRADE      ?=
VAELIB_BUILD := $(or $(value VAELIB_BUILD),build)
# An active virtual or conda environment is used; without one, .venv is made.
ENV          := $(or $(value VIRTUAL_ENV),$(value CONDA_PREFIX),$(CURDIR)/.venv)

# What is given may hold any character: make expands none of it, and recipes read it from the environment, in quotes.
GIVEN := PROFILE DATASET LIKELIHOOD SET SLOW ONLY LONG TORCH UPGRADE VAELIB_BUILD ENV
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
# Not every shell reads ~/ in what follows a =.
override VAELIB_BUILD := $(if $(filter ~/%,$(firstword $(VAELIB_BUILD))),$(subst :~/,$(value HOME)/,:$(VAELIB_BUILD)),$(VAELIB_BUILD))
override VAELIB_BUILD := $(if $(filter /%,$(firstword $(VAELIB_BUILD))),,$(CURDIR)/)$(VAELIB_BUILD)
export PROFILE DATASET LIKELIHOOD SET SLOW ONLY LONG TORCH UPGRADE VAELIB_BUILD
export PYTHON := $(ENV)/bin/python
export READY  := $(ENV)/.vaelib-ready
MAKEOVERRIDES :=

VAELIB := "$$PYTHON" -m vaelib
# With `+` before it also run by `make -n`, which then shows what would be made.
RUN    := MAKE="$(MAKE)" bash notebooks/run.sh

.PHONY: help setup update-lock headline all sweeps smoke report show site pack compare claims plan sync check test test-pythons bench gpu-check gpu-check-bundle docs doctor lab clean

help:     ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

headline: setup  ## (default) the three gaps of four training methods, and the report
	@+$(RUN) headline

all: setup  ## every notebook, figure and table for DATASET, LIKELIHOOD, PROFILE, SET
	@+$(RUN) all

sweeps: setup  ## the sweeps over k, mixtures, procedures and sizes alone
	@+$(RUN) sweeps

smoke: setup  ## every notebook at a size that takes seconds; proves the pipeline, claims nothing
	@+PROFILE=smoke $(RUN) all

setup:    ## install everything into .venv (or into the environment that is active); TORCH=cpu: the small build of torch
	@if [ ! -e "$$READY" ] || [ pyproject.toml -nt "$$READY" ] || [ requirements.lock -nt "$$READY" ] \
	  || [ "$${TORCH:-$$(cat "$$READY")}" != "$$(cat "$$READY")" ]; then bash notebooks/setup.sh; fi

update-lock:  ## requirements.lock from pyproject.toml (UPGRADE=1: with the newest versions of everything)
	@bash notebooks/versions.sh lock

report: setup  ## rebuild the report from the tables and figures made so far
	@$(VAELIB) report --profile="$$PROFILE"

show: setup  ## the report in the browser; where nothing is made yet, of the results that come with the project
	@$(VAELIB) report --profile="$$PROFILE" --open

site: setup  ## report, notebooks, documentation and API as pages with one index, in build/site
	@$(VAELIB) site --profile="$$PROFILE"

pack: setup  ## copy what a reader should see of a build into results/
	@$(VAELIB) pack --profile="$$PROFILE"

compare: setup  ## hold the tables made here beside those that come with the project
	@$(VAELIB) compare --profile="$$PROFILE"

claims: setup  ## judge the paper's claims by the tables made so far
	@$(VAELIB) claims --profile="$$PROFILE"

plan: setup  ## what would be computed, what is there already, and how long the rest takes
	@$(VAELIB) plan --profile="$$PROFILE" --dataset="$$DATASET" --likelihood="$$LIKELIHOOD" --set="$$SET"

docs: setup  ## the API reference from the docstrings, in build/api
	@$(VAELIB) docs

doctor: setup  ## what this machine has, and what each missing thing costs
	@$(VAELIB) doctor

# In a container one is root as a rule, and JupyterLab then wants to be told that this is meant.
lab: setup  ## open copies of the notebooks, in build/lab, in JupyterLab
	@$(VAELIB) notebook copy
	@"$$PYTHON" -m jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) "$$VAELIB_BUILD/lab"

sync: setup  ## write each notebooks/*.ipynb from its .py, and codecheck.yml from the studies
	@$(VAELIB) notebook sync
	@$(VAELIB) studies --codecheck > codecheck.yml.new && mv codecheck.yml.new codecheck.yml

check: setup  ## lint, formatting, notebook pairs
	@"$$PYTHON" -m ruff check .
	@"$$PYTHON" -m ruff format --check .
	@$(VAELIB) notebook check

test: setup  ## all tests, every notebook in smoke included (SLOW=1: the long ones too)
	@"$$PYTHON" -m pytest -n 2 --dist loadfile --no-loadscope-reorder $${SLOW:+--slow}

test-pythons:  ## the tests' quick part on Python 3.11, 3.12, 3.13 and with the lowest versions that are allowed
	@bash notebooks/versions.sh test

# pythae without what it asks for: all of it is there, but for a backport that no Python of today needs.
bench: setup  ## one table: speed beside pythae, diffusers and the machine's own ceilings (ONLY=name, LONG=1)
	@"$$PYTHON" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("pythae") is None)' \
	  || { echo "installing pythae, the peer (pyproject.toml: extra bench)"; \
	       "$$PYTHON" -m pip install -q --no-deps pythae==0.1.2 cloudpickle imageio || true; }
	@"$$PYTHON" -m tests.benchmarks $${ONLY:+--only "$$ONLY"} $${LONG:+--long}

gpu-check: setup  ## prove on a GPU, in eight minutes, that it computes what a CPU does, and how fast
	@"$$PYTHON" -m tests.gpu

gpu-check-bundle: setup  ## list what a machine without a network must be brought for that
	@"$$PYTHON" -m tests.gpu --bundle

clean:    ## delete what was made here, trained runs too; results/, data, measurements and environments stay
	@rm -rf "$$VAELIB_BUILD"/{smoke,laptop,overnight,gpu,paper,store,src,logs,api,site,screenshots}
