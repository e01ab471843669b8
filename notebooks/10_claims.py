# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. Judge the claims
#
# **You will see** every claim of the paper that a table of ours can judge, with its verdict, and claims of our own from the
# notebooks 03, 11 and 12; then where the paper's own numbers do not bear out its words. Nothing is trained here: the other
# notebooks leave tables, and this one reads them.
#
# A claim is written as differences that it says are positive: "DMaaPx has the smallest gap" is three of them. The
# *margin* is the difference that decides: the smallest if the claim is supported, the one most clearly below zero if
# it is contradicted, the one whose interval reaches lowest if it is not testable. The rules were written before the
# numbers that they judge, except those of notebook 01, which were written after a first look. Some were changed after
# numbers of the laptop existed: the widening in the table's second line, the allowance for single runs, Fig. 3 from
# one seed, and claims that one of several points decides. The changelog names them.
#
# | verdict | when |
# | --- | --- |
# | supported | the 95 % intervals of all its differences lie above zero |
# | contradicted | one of them lies below zero, made wider for the number of differences that might by chance |
# | not testable | neither: too few seeds, too small an effect, or a grid that cannot tell |
#
# Intervals are Student's over seeds, paired by seed; with one seed, over images and run-to-run noise: measured where
# the same network was trained from several seeds, else 1 % of an ELBO and 10 % of a gap. The claims on the three gaps
# of notebook 03 get no interval from one seed, so one seed never decides them. The note says which.

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: whose tables are read
dataset = "fashion_mnist"  # whose margins are drawn and listed; all data sets are counted
likelihood = "default"  # not used here: every likelihood of the data set is shown

# %%
from IPython.display import Markdown

from vaelib.data.identity import dataset_tag
from vaelib.report import claims, pages
from vaelib.results import shipped
from vaelib.studies.claims import figures
from vaelib.studies.claims import pages as tables

# %%
rows, tag = shipped.judged(profile), dataset_tag(dataset)
ours = [row for row in rows if row["evidence"] == claims.OURS and row["dataset"] == tag]
Markdown(tables.counted(rows))

# %% [markdown]
# ## How many hold
#
# By the section that makes the claim first; sections with letters are appendices. A claim counts once for each setting
# (data set and likelihood); the row *ours* has those that the paper does not make. Right: the same rules, put to the paper's
# printed and digitised numbers. They have no seeds, so there the sign decides.

# %%
figures.draw_counts(rows, profile)

# %% [markdown]
# ## By how much
#
# Margins in nats, similarities and accuracies share an axis here because each is divided by half the width of its
# interval: right of the grey band a claim is supported, left of it contradicted. A triangle at the left edge says
# whether the paper's own numbers, of its own data set and size, agree with the claim (up) or not (down); how far it
# does not say.

# %%
figures.draw_margins(rows, tag, profile)

# %% [markdown]
# ## Contradicted
#
# Read these first. At a small size a contradiction may be a matter of size; the note and the interval tell how firm it is.

# %%
pages.verdicts([row for row in ours if row["verdict"] == "contradicted"])

# %% [markdown]
# ## Supported

# %%
pages.verdicts([row for row in ours if row["verdict"] == "supported"])

# %% [markdown]
# ## Not testable with what was run

# %%
pages.verdicts([row for row in ours if row["verdict"] == "not_testable"])

# %% [markdown]
# ## What would it take?
#
# Half the interval of $n$ seeds is $t_{0.975,\,n-1}\, s / \sqrt{n}$. A claim is decided at the smallest $n$ at which that is less
# than the margin that was measured (here of the difference that takes the most seeds, which may be another one than above), and
# the plan knows what a seed costs. Both are rough. The spread $s$ of three seeds may as well be half as large or six times as
# large: the minutes in parentheses are for these two ends of its 95 % interval, and where a single run had only an allowance
# for it there are no ends. And a margin within its noise may be smaller than it looks, or of the other sign. So this is a price
# list, not a promise. Seeds are counted in all, those that are made already cost nothing, and minutes are this machine's, good
# to a factor of two.
#
# What no number of seeds decides is at the end: a grid that cannot tell, or an effect that is not there. More epochs change the
# quantities themselves, and nothing that was measured tells how; more test images help the gaps that take a subset of them.

# %%
tables.what_it_takes(rows, profile)

# %% [markdown]
# `vaelib claims --resolve ID` runs the cheapest way to decide a claim, after a line that says what it costs. A verdict that
# came after seeds were added *because* the first ones did not decide is a little less sure than 95 %.

# %% [markdown]
# ## The paper against itself
#
# Sentences that the paper's own tables, figures or other sentences do not bear out. A negative margin is computed from its
# numbers; a row without one rests on the text.

# %%
tables.audit(rows)

# %% [markdown]
# ## What is missing
#
# These claims have no number of ours in this build. Run the notebook, or `make all` with its data set, then this one again.

# %%
Markdown(tables.to_be_run(rows))

# %% [markdown]
# **What to try next.** `vaelib claims` prints this list of claims and verdicts (the *ledger*) in a terminal,
# `claims.json` holds it for programs, each row with the keys of its runs; the report sorts and filters it. A claim of
# your own is an `Entry` in a study's `claims.py` (`vaelib/studies/<study>/claims.py`): `docs/extending.md` shows one.

# %%
Markdown(pages.machine_note())
