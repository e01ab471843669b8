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
# # 2. The diffusion model as a data set
#
# **You will see** what DMaaPx trains on: samples of a diffusion model beside the images that it learned from, whether it
# copied them, whether a network can tell the two apart, and what the samples cost (Appendix D). The notebook draws Figs. 17
# and 18 and an audit that the paper does not have.
#
# | question | measured by |
# | --- | --- |
# | are they copies? | distance to the nearest image of $\mathcal{D}_\text{train}$, beside that of test images |
# | are they good, and are all kinds there? | precision and recall, classes, proxy-FID and proxy-IS |
# | can they be distinguished from real images? | classifier two-sample test (C2ST), 50 % is a coin |
# | what do they cost? | images per second, time and bytes of k·N samples (k for each of the N training images) |
#
# Proxies stand on the features of a small classifier of our own. They order samples of one data set; they are no FID or IS
# that could be compared with a published one.

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # of the VAEs that will use the samples; it changes nothing here
overrides = {}  # settings of the profile by name, for example {"teacher_fractions": [10, 50, 100], "c2st_seeds": 5}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.report.trained import load_test_set
from vaelib.results.making import made
from vaelib.runs import Store, load_classifier
from vaelib.studies.sample_quality import pages as figures
from vaelib.studies.sample_quality.runs import teacher_sheet
from vaelib.studies.sample_quality.tables import audit_of
from vaelib.tasks import proxy_quality

# %% [markdown]
# ## The diffusion models of notebook 06
#
# One was trained on all N images of $\mathcal{D}_\text{train}$, others on a part of it. Their samples are in the store
# if notebook 06 has run.

# %%
experiment = teacher_sheet(profile, dataset, likelihood, overrides)
Markdown(figures.describe_samples(experiment))

# %% [markdown]
# The next cell trains the classifiers, searches the samples for copies, and makes whatever else is missing. It can be
# interrupted at any time; the next run goes on from there.

# %%
tables = made(experiment, title=f"sample quality, {experiment.dataset}")

# %% [markdown]
# ## What the samples look like
#
# Above, the first test images and the first samples; none is chosen. Below, the worst case: the samples that lie
# nearest to a training image, with that image and the nearest test image. An exact copy would be at distance 0
# (notebook 12 counts as a *copy* what is much nearer to one training image than to any other).

# %%
figures.draw_samples(experiment)

# %% [markdown]
# ## Are they copies?
#
# New images have near neighbours in $\mathcal{D}_\text{train}$ too, so test images are the yardstick (blue). A
# diffusion model that memorises would push the green distribution to the left. The two other panels ask whether every
# class is there, and whether the samples lie where real images do (precision) and cover them (recall). Pixels of
# exactly 0 are a giveaway: a real FashionMNIST image has a clean background, and a sampler has to hit it.

# %%
figures.draw_audit(experiment, tables)

# %%
figures.audit_table(tables)

# %% [markdown]
# ## How good are they?
#
# Everything is compared with the same test images, as many of one as of the other. *Other test images* show what a
# perfect generator would score, *noise* what a useless one would. (The paper reports FID 3.95 for CIFAR-10; it does
# not say of how many samples.) The sharpest of these measures is the ELBO under a VAE that was trained on real
# images: fine detail that a sampler gets wrong costs hundreds of nats, even where no eye sees it. The paper's samples
# are *easier* than real images for its own VAEs (Fig. 13).

# %%
figures.scores_table(tables)

# %% [markdown]
# ## Can a network tell them from real images?
#
# A network learns to tell samples from real images, and is tested on images of both kinds that it has not seen. The paper
# finds more than 50 % for every diffusion model, and less the more data it saw. "More than 50 %" needs a yardstick: the
# grey band holds 95 % of all permutations of the labels (exactly, none has to be drawn), and the dashed line is the same
# test with real images on both sides.

# %%
figures.draw_c2st(experiment, tables)

# %%
figures.c2st_summary(tables)

# %% [markdown]
# ## What do they cost?
#
# Appendix D.2: training the diffusion model is dear and done once; after that k·N samples take time and space in proportion
# to k. The paper's 50,000 CIFAR-10 images took 25 to 30 minutes on one A100. The forecast counts this network's FLOPs.

# %%
figures.cost_table(experiment, tables)

# %% [markdown]
# ## What the numbers say about the paper's claims
#
# A number is the margin by which a claim holds. *Supported*: its 95 % interval over seeds lies above zero;
# *contradicted*: it lies below, made wider for the number of differences in the claim (notebook 10); else *not
# testable*.

# %%
pages.verdicts(claims.evaluate_claims({"c2st": tables["c2st"]}, profile))

# %% [markdown]
# ## Your own samples
#
# The scores take any images: uint8 of shape (N, C, 32, 32), as many of one as of the other. Replace the line with
# `samples`.

# %%
classifier = load_classifier(audit_of(experiment).classifier, Store())
images, _ = load_test_set(experiment)
real, samples = images[:100], 255 - images[-100:]  # negatives, as an example of bad samples
pages.facts(proxy_quality(classifier, real, samples)._asdict())

# %% [markdown]
# **What to try next.** `overrides = {"teacher_images": 20_000}` trains the diffusion model a sixth as long, and its
# samples blur: do the scores, the audit and the two-sample test notice? `dataset = "cifar10"`. Samples of others:
# `{"bank_from": "samples.npz"}`.

# %%
Markdown(pages.provenance_note(experiment))
