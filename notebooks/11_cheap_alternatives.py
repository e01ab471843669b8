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
# # 11. Would something cheaper have done?
#
# **You will see** DMaaPx beside six remedies against overfitting that need no diffusion model, each tuned with the same budget
# of runs; then what gradient steps on a test image's own posterior buy back, with no other training at all. The paper has
# neither. Our expectations were committed before the numbers, and the last section judges them.
#
# | remedy | what it does | what is tuned |
# | --- | --- | --- |
# | weight decay | shrinks the weights at every step, apart from the gradient (Loshchilov & Hutter 2019) | the decay |
# | dropout | leaves out random hidden units (Srivastava et al. 2014) | their share |
# | denoising | the encoder sees a noisy image, the decoder explains the clean one (Im et al. 2017) | the noise's $\sigma$ |
# | consistency | an image and its transformed copy get similar posteriors (Sinha & Dieng 2021) | their KL's weight $\lambda$ |
# | KL warm-up | the KL term's weight rises from 0 to 1 (Bowman et al. 2016) | the share of the epochs |
# | early stopping | training ends after fewer epochs | how many |
#
# All are measured as in notebook 03: by the ELBO on $\mathcal{D}_\text{test}$, Eq. (2), and by the gaps $G_\text{g}$, $G_\text{a}$
# and $G_\text{r}$, Eqs. (3) to (5).

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"dropout_grid": [0.05, 0.1, 0.2]}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.results.making import made
from vaelib.studies.refinement import figures as refining
from vaelib.studies.refinement.runs import refinement
from vaelib.studies.regularisers import figures as cheap
from vaelib.studies.regularisers.runs import regularisers

# %% [markdown]
# ## Six remedies, tuned alike
#
# Each remedy is tried with the values of its grid, from one seed. The value with the highest ELBO on *validation images* is
# then trained from every seed. The seed that chose is among them, and its luck stays in the mean: where one of many values was
# chosen, look at the seeds one by one (`tables/regularisers.csv`). Validation images are real training images that are neither
# in $\mathcal{D}_\text{train}$ nor in $\mathcal{D}_\text{test}$: no test image has a part in the choice.
#
# For early stopping the values are numbers of epochs; all of them together cost less than one run of another remedy. On DMaaPx
# all values of all remedies are tried as well, and the best one of all is trained from every seed.

# %%
tuned = regularisers(profile, dataset, likelihood, overrides)
Markdown(cheap.describe_regularisers(tuned))

# %% [markdown]
# The next cell trains whatever is not in the store yet (at laptop size an hour or more: `make plan` says how long).
# It can be interrupted at any time; the next run goes on from there. (`overrides = {"use_results": True}` trains
# nothing and draws from what comes with the project.)

# %%
tables = made(tuned, title=f"regularisers, {tuned.dataset}")

# %% [markdown]
# Above: a point is the mean over seeds, its bar the standard error, its number stands at the right. Below: the validation ELBO
# over the values that were tried, on normal training (blue) and on DMaaPx (green). The dotted lines are both without any remedy;
# a curve above its line is a remedy that helps. A ring at the end of a curve says that a wider grid might have found more.

# %%
cheap.draw_regularisers(tuned, tables)

# %%
cheap.regularisers_table(tables["regularisers"])

# %% [markdown]
# ± is the standard error over seeds; the best value of a column is bold. All seeds of DMaaPx share one teacher.
# `tables/regularisers.csv` has one row for each method and seed, `tables/regulariser_tuning.csv` one for each value
# that was tried.
#
# ## No training at all: refining at test time
#
# The encoder's posterior is a first guess. Gradient steps on $\mu$ and $\sigma$ of each test image's own posterior raise its ELBO
# towards $\text{ELBO}^*$, Eq. (4), with the decoder as it is. So part of what normal training lost can be bought back later, a
# test image at a time. How many steps does it take to come where DMaaPx is without any? The dotted line is that place.

# %%
refined = refinement(profile, dataset, likelihood, overrides)
steps = made(refined, title=f"refinement, {refined.dataset}")
refining.draw_refinement(refined, steps)

# %%
refining.reached(steps["refinement"])

# %% [markdown]
# Steps between two numbers that were run are read off a line. Milliseconds are of one core (or GPU) that works on many images at
# once; one image alone takes longer. The learning rate and the two samples of $z$ a step are those of the amortization gap.
#
# ## What we expected
#
# A number is the margin by which a claim holds. *Supported*: its 95 % interval lies above zero; *contradicted*: it
# lies below, made wider for the number of differences in the claim (notebook 10); else *not testable*. These claims
# are ours, not the paper's, and were committed before the numbers above, but for two: refinement's first (no step)
# and last (ELBO\*) were known from notebook 03.

# %%
pages.verdicts(claims.evaluate_sweeps(tables | steps, profile))

# %% [markdown]
# **What to try next.** `overrides = {"dropout_grid": [0.02, 0.05, 0.1, 0.2]}` tunes more finely; `{"n_train": 300}`
# asks whether fewer images change the order; `{"refinement_steps": [1, 3, 10, 30, 100]}` refines at other places.

# %%
Markdown(pages.provenance_note(tuned, refined))
