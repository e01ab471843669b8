# Which notebook is run when. Called by notebooks/run.sh in the build folder, so that every name here is short and plain, whatever
# the paths of the checkout, of the build folder and of the data are; those are read by the shell alone.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.NOTPARALLEL:
MAKEFLAGS   += --no-builtin-rules

N      := $(PROFILE)/notebooks
VAELIB := cd "$$ROOT" && "$$PYTHON" -m vaelib
# Which notebooks there are for this data set and likelihood, and in what order: the studies say so.
STUDIES := src/$(TAG).studies.mk
include $(STUDIES)
ALL    := $(filter-out $(LEFT_OUT),$(ALL))
SWEEPS := $(filter-out $(LEFT_OUT),$(SWEEPS))

.PHONY: headline all sweeps

headline: $(N)/$(HEADLINE).$(TAG).ipynb $(PROFILE)/report.html
all:      $(ALL:%=$(N)/%.$(TAG).ipynb) $(PROFILE)/report.html
sweeps:   $(SWEEPS:%=$(N)/%.$(TAG).ipynb) $(PROFILE)/report.html

$(STUDIES): src/lib.sum
	@($(VAELIB) studies --make --dataset="$$DATASET" --likelihood="$$LIKELIHOOD") > $@

# Static, not implicit: make takes the products of implicit rules for intermediate and would leave the report as it was.
# tee lives through Ctrl-C, so the log has what the run says last.
$(patsubst %,$(N)/%.$(TAG).ipynb,$(sort $(ALL) $(SWEEPS) $(HEADLINE))): $(N)/%.$(TAG).ipynb: src/%.py src/lib.sum src/$(PROFILE).$(TAG).set
	@printf '%s [%s]\n' $* "$$PROFILE, $$DATASET$(if $(filter-out default,$(LIKELIHOOD)), with $(LIKELIHOOD))"
	@set -o pipefail; log="$$VAELIB_BUILD/$(PROFILE)/logs/$*.$(TAG).log"; \
	($(VAELIB) notebook run $* --out="$$VAELIB_BUILD/$@" --html="$$VAELIB_BUILD/$(@:.ipynb=.html)" \
	  -p profile="$$PROFILE" -p dataset="$$DATASET" -p likelihood="$$LIKELIHOOD" --set="$$SET") 2>&1 | tee -i "$$log" \
	  || { code=$$?; [ $$code = 130 ] && echo "$* stopped; make goes on from there" \
	       || echo "$* failed: see $$log; what is finished is kept, make goes on from there"; exit $$code; }

# The ledger is judged when everything else of the same call is there.
$(N)/$(LEDGER).$(TAG).ipynb: $(patsubst %,$(N)/%.$(TAG).ipynb,$(filter-out $(LEDGER),$(ALL)))

# Some show the VAEs of another notebook where they are there.
ifneq ($(filter all,$(MAKECMDGOALS)),)
$(foreach late,$(ALL),$(if $(AFTER_$(late)),$(eval $(N)/$(late).$(TAG).ipynb: | $(N)/$(AFTER_$(late)).$(TAG).ipynb)))
endif

# What this call makes comes before the report; notebooks of other data sets that are there already count too.
MADE := $(if $(filter all,$(MAKECMDGOALS)),$(ALL),$(if $(filter sweeps,$(MAKECMDGOALS)),$(SWEEPS),$(HEADLINE)))
$(PROFILE)/report.html: $(MADE:%=$(N)/%.$(TAG).ipynb) $(wildcard $(N)/*.ipynb) src/lib.sum
	@$(VAELIB) report --profile="$$PROFILE"
