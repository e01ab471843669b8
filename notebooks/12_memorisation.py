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
# # 12. Memory, smoothing, or something new?
#
# **You will see** what a VAE can learn from teachers that only remember, from teachers that smooth, and from a diffusion model,
# on one ladder; then a diffusion model that begins to memorise while it trains, and what becomes of its student; then two that
# share no training image, and what they agree on; and how much each single training image owes to its own presence. The paper has
# none of these. The claims of this notebook and the rules that judge them were written before the profile's runs (one teacher of 75
# images had been searched for copies). A review corrected some rules before the numbers of the second and third section existed,
# and reworded two of the ladder's claims after its numbers (docs/results.md says which).
#
# The diffusion model samples by a denoiser $D(x; \sigma)$ that estimates the clean image. For a finite set of images
# $y_1, \dots, y_N$ the best denoiser of all has a closed form, a mean of the training images with weights $w_i
# \propto \exp(-\lVert x - y_i \rVert^2 / 2 \sigma^2)$, and its samples *are* the training images. So whatever is new
# in a teacher's samples comes from its not being perfect. Three ways of not being perfect have closed forms, too:
#
# | teacher | its samples |
# | --- | --- |
# | kernel density | a training image with Gaussian noise |
# | the mean itself, at a noise level where it is of several images | averages of a few training images |
# | the best denoiser of *patches* (Kamb & Ganguli 2025) | mosaics: every patch is known, the whole is not |

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"ladder_shift": 1, "memorisation_sizes": [50, 200]}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.report.trained import keep_for_explorers
from vaelib.results.making import made
from vaelib.studies.halves import figures as pairs
from vaelib.studies.halves.runs import halves
from vaelib.studies.halves.stages import EqualSeeds
from vaelib.studies.image_memorisation import pages as memory
from vaelib.studies.image_memorisation.runs import image_memorisation
from vaelib.studies.ladder import figures as ladders
from vaelib.studies.ladder.runs import ladder
from vaelib.studies.memorisation import figures
from vaelib.studies.memorisation.runs import memorisation
from vaelib.studies.memorisation.stages import Copies

# %% [markdown]
# ## A ladder of teachers
#
# Every teacher knows the same training images and is sampled by the same sampler from the same noise; every VAE has the
# same network and sees as many images. The last rung is as many real images that no teacher has seen.

# %%
rungs = ladder(profile, dataset, likelihood, overrides)
Markdown(ladders.describe_ladder(rungs))

# %% [markdown]
# The next cell makes whatever is not in the store yet, and so do the cells below that call `made` (at laptop size
# some hours in all: `make plan` says how long). Each can be interrupted at any time; the next run goes on from there.
# (`overrides = {"use_results": True}` trains nothing and draws from what comes with the project.)

# %%
tables = made(rungs, title=f"ladder, {rungs.dataset}")
keep_for_explorers(rungs, {}, Copies)
ladders.draw_ladder(rungs, tables)

# %% [markdown]
# A sample counts as a *copy* if its nearest training image is less than a third as far away as the second nearest (Yoon et al.
# 2023), and as *authentic* if it is farther from its nearest training image than that image is from its own nearest neighbour
# (Alaa et al. 2022). Held-out real images say what these shares are for images that are new.

# %%
ladders.compared_ladder(tables)

# %% [markdown]
# Expected were: memory gives normal training back, noise helps a little, mosaics more, the network more than any closed
# form, and real images most.

# %%
pages.verdicts(claims.evaluate_sweeps({"ladder": tables["rows"]}, profile))

# %% [markdown]
# ## When does a diffusion model begin to memorise?
#
# If it could represent every function and trained for ever, a diffusion model would end on the lowest rung. Bonnaire et al.
# (2025) and Favero et al. (2025) find that it first learns to make new images and then, after a time that grows in
# proportion to $N$, to copy. Here one training for each of several $N$ is sampled at snapshots, and a VAE learns from each.

# %%
times = memorisation(profile, dataset, likelihood, overrides)
Markdown(figures.describe_memorisation(times))

# %%
found = made(times, title=f"memorisation, {times.dataset}")
figures.draw_memorisation(times, found)

# %% [markdown]
# If the time to memorise grows in proportion to $N$, the curves of the upper right panel, over passes over
# $\mathcal{D}_\text{train}$, lie on one another. Where everything is a copy, a solid line below should meet the dashed one.

# %%
figures.compared_memorisation(found)

# %%
pages.verdicts(claims.evaluate_sweeps({"memorisation": found["rows"]}, profile))

# %% [markdown]
# ## Two teachers that share no image
#
# A teacher that has learned the distribution, and not its images, does not depend on which images it saw. Kadkhodaie et al. (2024)
# train two on disjoint halves of the data, from other first weights, and let them sample from the same noise: with few images each
# makes its own image (one that it knows), with many both make the same one. Each pair below is such a pair. Look at the images
# before the distances: two teachers that have learned *nothing* agree, too, since both only scale the noise.

# %%
split = halves(profile, dataset, likelihood, overrides)
Markdown(pairs.describe_halves(split))

# %%
compared = made(split, title=f"halves, {split.dataset}")
keep_for_explorers(split, {}, EqualSeeds)
pairs.draw_halves(split, compared)

# %%
pages.verdicts(claims.evaluate_sweeps(compared, profile))

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
single = image_memorisation(profile, dataset, likelihood, overrides)
Markdown(memory.describe(single))

# %%
left_out = made(single, title=f"memorisation, {single.dataset}")

# %% [markdown]
# ## How much, of how many images
#
# Left: all training images in order of their $M$; solid with the best posterior, dotted with the encoder's. Right: each dot is
# an image. Below: the images that each method remembers most, and least.

# %%
memory.draw_memorisation(single, left_out)

# %%
memory.summary(left_out)

# %%
pages.verdicts(claims.evaluate_claims(left_out, profile))

# %% [markdown]
# A bound from below is used on both sides of the difference. It is looser for images that a VAE never saw, if anything, so $M$ is
# rather too large than too small; *Monte Carlo error* tells how far the importance weights can be trusted: near 1, a single
# draw carries the sum.

# %% [markdown]
# **What to try next.** `overrides = {"ladder_shift": 1}` lets patches move by a pixel, as a convolution that does not
# know where it is would (nine times the time); `{"ladder_reach": 8}` makes them larger: when do the mosaics become
# copies? `{"memorisation_sizes": [200, 400]}` asks how many images it takes to be safe within these snapshots.

# %%
Markdown(pages.provenance_note(rungs, times, split, single))
