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
# # 1. Compare training distributions where the truth is known
#
# **You will see** what Sec. 4.1 of the paper can only argue for, as numbers. On real images nobody knows
# $p_\text{data}$; in small worlds of our own we do. So Fig. 1 is drawn here from real fits, the two criteria of Table
# 1 are measured, the bound in the remark of Appendix B.5 is compared with exact entropies, and our estimates of ELBO,
# ELBO\*, $\log p(x)$, $G_\text{g}$ and $G_\text{a}$ are compared with closed forms ($G_\text{r}$ has none). The last
# sections leave these worlds, and say how far the numbers can still be trusted.
#
# | symbol | a training distribution |
# | --- | --- |
# | $\mathcal{D}_\text{train}$ | N points, again and again: normal training, Eq. (7) of notebook 03 |
# | $p_\text{DM}$ | samples of a diffusion model fitted to those N points: DMaaPx, Eq. (8) |
# | $p_\text{aug}$ | the N points under random transformations, Eq. (9) |

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # for the last section only: whose trained VAEs are bracketed
likelihood = "default"  # bernoulli, gaussian, mol; default: the paper's for the data set; for the last section, too
overrides = {}  # settings of the profile by name, for example {"plane_points": [50, 200], "plane_images": 2_000_000}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.runs import run
from vaelib.studies.ground_truth import pages as figures
from vaelib.studies.ground_truth.runs import brackets, ground_truth, write_brackets, write_ground_truth

# %% [markdown]
# ## A world in the plane
#
# $p_\text{data}$ is the letter S, a chain of 24 Gaussians. From N of its points we make each training distribution:
# two augmentations (*tuned*: rotation and jitter chosen on points set aside; *naive*: ±20°, jitter, and a mirror
# image, which is wrong for an S as it is for the paper's "2"), and a diffusion model with the same preconditioning
# and loss as those of the other notebooks. Its samples come from the paper's Heun sampler (the profiles laptop,
# overnight and gpu use another one for images). Its density follows exactly from its probability-flow ODE.

# %%
lab = ground_truth(profile, overrides)
run(lab.runs, title="ground_truth")
tables = write_ground_truth(lab)

# %% [markdown]
# ## Fig. 1
#
# *Outside* are samples beyond the edge of $p_\text{data}$ (1 % of its own samples are); *missed* is the part of
# $p_\text{data}$ that is ten times as dense as the training distribution there. These are problems (ii) and (i) of
# Sec. 4.1.1.

# %%
figures.draw_training_distributions(lab)

# %% [markdown]
# ## Table 1 as numbers
#
# Criterion (1), unlimited unique samples, is a matter of counting, and true of anything continuous. The column *near-copies*
# asks more: how many samples lie as close to a training point as only 5 % of fresh data do? Criterion (2) is the KL
# divergence from $p_\text{data}$. That of $\mathcal{D}_\text{train}$ is infinite: a finite set has no density.

# %%
figures.table_1(tables)

# %%
figures.draw_accuracy(lab, tables)

# %% [markdown]
# So the marks of Table 1 depend on N, on the augmentation, and on how long the diffusion model is trained: the perfect denoiser
# of N points generates nothing but those N. What these numbers say about the paper's sentences:

# %%
pages.verdicts([row for row in claims.evaluate_claims(tables, profile) if row["notebook"].startswith("01")])

# %% [markdown]
# ## The remark in Appendix B.5: the ELBO is bounded by minus the entropy
#
# Averaged over a distribution $p$, no ELBO exceeds $-H[p]$, whatever the model:
#
# $$\mathbb{E}_{x \sim p(x)}\bigl[\text{ELBO}_\Theta(x)\bigr] \le \mathbb{E}_{x \sim p(x)}\bigl[\log p_\theta(x)\bigr]
# = -H\bigl[p(x), p_\theta(x)\bigr] \le -H\bigl[p(x)\bigr] \tag{11}$$
#
# Where the model is $p$ itself and the posterior exact, all of these are equal. So data of a lower entropy can score
# higher than the data that a model was trained on (the rightmost points): ELBOs of different distributions cannot be
# compared, and their difference is no generalization gap.

# %%
figures.draw_remark(lab, tables)

# %% [markdown]
# ## Do the estimators hit the truth?
#
# A linear-Gaussian world, its own decoder as the model, and the encoder that six images teach: on those six its posterior is
# optimal, on all others it is not. That is an overfitted encoder, and all its numbers have closed forms. Each repetition draws
# other test images and other noise, and states an error as every table of this companion does.

# %%
figures.draw_calibration_of(lab, tables)

# %%
figures.coverage(tables)

# %% [markdown]
# The stated error of $G_\text{g}$ counts $\mathcal{D}_\text{train}$ as a sample, too, which here stays the same: it
# should be wider than the scatter. That of $G_\text{a}$ leaves out what the optimiser leaves behind.
#
# ## Brackets: $\text{ELBO} \le \text{ELBO}^* \le \log p(x) \le \text{BDMC}$
#
# For a nonlinear decoder $\log p(x)$ has no closed form, but bounds in expectation. Lower ones: importance weighting
# (IWAE, Burda et al. 2016), annealed importance sampling (AIS, Neal 2001), and the log of the mean of both estimates
# of $p(x)$ (*both*). An upper one: bidirectional Monte Carlo (BDMC, Grosse et al. 2015). It needs an exact sample of
# $p(z \mid x)$; images that the decoder itself made have one. *q\* promises* is the stationarity test: the nats that
# one more natural-gradient step would bring, 0 at an optimum. The last columns count images that speak against the
# bounds: $q^*$ not converged, ELBO\* below ELBO, a lower bound above the upper one.

# %%
figures.bounds_table(tables["world_bounds"], ["likelihood", "starts"])

# %% [markdown]
# In these worlds decoder and encoder are random, so the encoder knows nothing of the decoder. This is a hard case:
# from its far too wide posterior the optimiser can end in the wrong place and *say* that it has converged. The lower
# bounds start from the same place, so they cannot see it. The upper bound can, and so can the stationarity test. The
# rows with a second start, from the prior, show whether it helps. In the figure, low dots mean that nothing was
# missed:

# %%
figures.draw_missed_modes(lab, tables)

# %% [markdown]
# ## Where the truth is not known: trained VAEs
#
# The VAEs of notebook 03, if the store holds them (none is trained here). Of test images only the lower ends are
# known; of a VAE's own samples both, which tells how tight the lower ones are. The inference gap $\log p(x) -
# \text{ELBO}(x)$ splits at ELBO\* into what the *encoder* loses and what *any* factorised Gaussian would (Cremer et
# al. 2018). Where the filled bar is far higher than the hatched one, a better encoder would help, a richer posterior
# hardly.

# %%
certified = brackets(profile, dataset, likelihood, overrides)
run(list(certified.values()), title="brackets")
bounds = write_brackets(profile, certified) if certified else None
figures.bounds_table(bounds, ["method", "images"]) if certified else Markdown(figures.NOT_THERE)

# %%
figures.draw_brackets(lab, bounds) if certified else None

# %% [markdown]
# A bound is worth as much as the density under it. The project's tests hold each likelihood to that: it sums to one, agrees with
# its own sampler, keeps finite gradients and float32's precision at extremes, and has the code length of a reference arithmetic
# coder, which knows sub-pixels one after another and never the joint density (`tests/test_certificates.py`).

# %% [markdown]
# **What to try next.** `overrides = {"plane_images": 4_000_000}` trains the diffusion model eight times as long: watch the
# near-copies and the KL divergence. `overrides = {"plane_points": [30, 100]}`: who wins with few points?

# %%
Markdown(figures.provenance_note(lab))
