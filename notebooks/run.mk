# Which notebook is run when. Called by notebooks/run.sh in the build folder, so that every name here is short and plain, whatever
# the paths of the checkout, of the build folder and of the data are; those are read by the shell alone.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.NOTPARALLEL:
MAKEFLAGS   += --no-builtin-rules

NAMES  := $(filter-out $(LEFT_OUT),$(sort $(basename $(NAMES))))
# The paper sweeps one network on one data set; FashionMNIST stands in for CIFAR-10. With another likelihood the sweeps would be the same.
SWEEPS := $(filter 02_% 04_% 06_% 07_% 08_%,$(NAMES))
ALL    := $(if $(filter-out default,$(LIKELIHOOD))$(filter binary_mnist,$(TAG)),$(filter-out $(SWEEPS),$(NAMES)),$(NAMES))
N      := $(PROFILE)/notebooks
VAELIB := cd "$$ROOT" && "$$PYTHON" -m vaelib

.PHONY: headline all sweeps

headline: $(N)/03_three_gaps.$(TAG).ipynb $(PROFILE)/report.html
all:      $(ALL:%=$(N)/%.$(TAG).ipynb) $(PROFILE)/report.html
sweeps:   $(SWEEPS:%=$(N)/%.$(TAG).ipynb) $(PROFILE)/report.html

# Static, not implicit: make takes the products of implicit rules for intermediate and would leave the report as it was.
# tee lives through Ctrl-C, so the log has what the run says last.
$(NAMES:%=$(N)/%.$(TAG).ipynb): $(N)/%.$(TAG).ipynb: src/%.py src/lib.sum src/$(PROFILE).$(TAG).set
	@printf '%s [%s]\n' $* "$$PROFILE, $$DATASET$(if $(filter-out default,$(LIKELIHOOD)), with $(LIKELIHOOD))"
	@set -o pipefail; log="$$VAELIB_BUILD/$(PROFILE)/logs/$*.$(TAG).log"; \
	($(VAELIB) notebook run $* --out="$$VAELIB_BUILD/$@" --html="$$VAELIB_BUILD/$(@:.ipynb=.html)" \
	  -p profile="$$PROFILE" -p dataset="$$DATASET" -p likelihood="$$LIKELIHOOD" --set="$$SET") 2>&1 | tee -i "$$log" \
	  || { code=$$?; [ $$code = 130 ] && echo "$* stopped; make goes on from there" \
	       || echo "$* failed: see $$log; what is finished is kept, make goes on from there"; exit $$code; }

# The ledger is judged when everything else of the same call is there.
$(N)/10_claims.$(TAG).ipynb: $(patsubst %,$(N)/%.$(TAG).ipynb,$(filter-out 10_claims,$(ALL)))

# Notebook 01 brackets the VAEs that notebook 03 trains, where they are there.
ifneq ($(filter all,$(MAKECMDGOALS)),)
$(N)/01_training_distributions.$(TAG).ipynb: | $(N)/03_three_gaps.$(TAG).ipynb
endif

# What this call makes comes before the report; notebooks of other data sets that are there already count too.
MADE := $(if $(filter all,$(MAKECMDGOALS)),$(ALL),$(if $(filter sweeps,$(MAKECMDGOALS)),$(SWEEPS),03_three_gaps))
$(PROFILE)/report.html: $(MADE:%=$(N)/%.$(TAG).ipynb) $(wildcard $(N)/*.ipynb) src/lib.sum
	@$(VAELIB) report --profile="$$PROFILE"
