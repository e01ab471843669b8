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
# # 12. Ask what is remembered of single images
#
# **You will see** how much log-likelihood every single training image owes to its own presence in the training set, for normal
# training and for DMaaPx, and the images that are remembered most. None of this is in the paper.

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian, mol; default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"memorisation_methods": ["normal"]}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.results.shipped import made
from vaelib.studies.image_memorisation import pages as memory
from vaelib.studies.image_memorisation.runs import image_memorisation

# %% [markdown]
# ## Leave one image out
#
# The generalization gap is a mean over images. Van den Burg and Williams (2021) ask for each image by itself: how much more
# likely is $x_i$ under a model that was fitted to it than under one that was not?
#
# $$M(x_i) = \mathbb{E}\bigl[\log p(x_i \mid \mathcal{D})\bigr] -
# \mathbb{E}\bigl[\log p(x_i \mid \mathcal{D} \setminus x_i)\bigr]$$
#
# $\mathcal{D}$ is cut into $K$ folds, and each method is fitted $K$ times, once without each fold. So every image is scored by one
# model that never saw it and by $K - 1$ that did, all of them fitted to as many images. $M = 0$ means that nothing of the image
# is remembered but what it shares with others.
#
# **What is left out of DMaaPx.** Its VAE sees no image of $\mathcal{D}$, only samples of a teacher that did. One teacher of all
# of $\mathcal{D}$ would leak $x_i$ into the bank of every fold, the $K$ VAEs would be one and the same, and $M$ would be 0
# for every image, whatever the teacher copied. So here a method is *everything* that is done with the images: each fold has a
# teacher, a bank and a VAE of its own. That is where the time goes; `overrides = {"memorisation_methods": ["normal"]}` leaves
# DMaaPx out, and `{"memorisation_folds": 10, "memorisation_repeats": 10}` is what the authors took for theirs.
#
# **How log p(x) is known.** It is bounded from below by importance sampling (IWAE) from the best factorised posterior $q^*$
# that two climbs find for the image, and for comparison from the encoder's own. The second is what an encoder allows: on
# images that it never saw it can be off by hundreds of nats, which are its own overfitting and not the decoder's memory.
#
# We expected, before any number was there: normal training remembers hundreds of nats of an image; DMaaPx less than a tenth
# of that, but not nothing, for the teacher lets something through; both remember the same kind of images; and a part of what
# the encoder's bound shows is the encoder's.

# %%
experiment = image_memorisation(profile, dataset, likelihood, overrides)
Markdown(memory.describe(experiment))

# %%
tables = made(experiment, title=f"memorisation, {experiment.dataset}")

# %% [markdown]
# ## How much, of how many images
#
# Left: all training images in order of their $M$; solid with the best posterior, dotted with the encoder's. Right: each dot is
# an image. Below: the images that each method remembers most, and least.

# %%
memory.draw_memorisation(experiment, tables)

# %%
memory.summary(tables)

# %%
pages.verdicts(claims.evaluate_claims(tables, profile))

# %% [markdown]
# A bound from below is used on both sides of the difference. It is looser for images that a VAE never saw, if anything, so $M$ is
# rather too large than too small; *Monte Carlo error* tells how far the importance weights can be trusted: near 1, a single
# draw carries the sum.

# %%
Markdown(pages.provenance_note(experiment))
