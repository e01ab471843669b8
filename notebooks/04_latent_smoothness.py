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
# # 4. Walk through the latent space
#
# **You will see** Sec. 5.3 of the paper (Fig. 3): a straight line between the latents of two test images, what the decoder
# shows along it, and whether the encoder finds its way back. The paper reports one exemplary pair; here the same question is
# put to a hundred. At the end you can walk yourself, with a slider.
#
# | symbol | what it is |
# | --- | --- |
# | $z_0$, $z_1$ | the encoder's means for the two images |
# | $z_\alpha$ | $\alpha z_0 + (1 - \alpha) z_1$ with $\alpha \in [0, 1]$: $\alpha = 0$ is $x_1$, $\alpha = 1$ is $x_0$ |
# | $\tilde{x}_\alpha$ | a reconstruction of $z_\alpha$: one noisy draw from $p_\theta(x \mid z_\alpha)$ |
# | $\log q_\phi(z_\alpha \mid \tilde{x}_\alpha)$ | nats; low where the encoder, shown that draw, looks for $z$ elsewhere |

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"epochs": 50, "sweep_seeds": 10}
pair = None  # two test images by number, for example [3, 17]; None: two of different classes, drawn at random

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.report.explorers import static, widgets
from vaelib.report.trained import keep_for_explorers, load_test_set, trained_vaes
from vaelib.results.making import made
from vaelib.studies.smoothness import figures
from vaelib.studies.smoothness.claims import differences
from vaelib.studies.smoothness.runs import smoothness
from vaelib.studies.smoothness.stages import OnePath
from vaelib.studies.smoothness.tables import shown_paths
from vaelib.studies.sweeps import pages as sweeps

# %% [markdown]
# ## Two networks, the same but for what they were trained on

# %%
experiment = smoothness(profile, dataset, likelihood, overrides, pair)
Markdown(sweeps.describe_sweeps(experiment))

# %% [markdown]
# The next cell trains whatever is not in the store yet. It can be interrupted at any time; the next run goes on from there.
# (`overrides = {"use_results": True}` trains nothing and draws from what comes with the project.)

# %%
tables = made(experiment, title=f"latent smoothness, {experiment.dataset}")
vaes = trained_vaes(experiment)
images, _ = load_test_set(experiment)
keep_for_explorers(experiment, vaes, OnePath)

# %% [markdown]
# ## Fig. 3: one pair
#
# Thin is the paper's curve, with one reconstruction of each $z_\alpha$, which we take to be a noisy draw. Therefore
# it is jagged: another draw gives other teeth. The thick line is the mean over 16 draws, the band holds the middle
# 80 %. Above and below is what the two decoders show on the way.

# %%
figures.draw_smoothness(experiment)

# %% [markdown]
# ## Many pairs
#
# The paper reads two things off its figure: with DMaaPx the density is *higher*, and the latent space *smoother*. Another
# pair may show another thing, so both words get a definition, and a hundred pairs of test images of different classes vote:
#
# | quantity | definition, for curves of single reconstructions | claimed for DMaaPx |
# | --- | --- | --- |
# | mean $\log q$ | average over $\alpha$ | larger |
# | total variation of $\log q$ (nats) | sum of all ups and downs from $\alpha = 0$ to $1$, on 51 points | smaller |
# | spread at one $\alpha$ | standard deviation over reconstructions of one $z_\alpha$: pixel noise, which makes teeth | smaller |
# | total variation without pixel noise (nats) | the same sum with the decoder's mean in place of a draw | smaller |
# | total variation per nat of range | first sum / (highest − lowest); 1: it only rises or only falls | smaller |
#
# A log density has no floor and single pairs can lie thousands of nats below the rest, so the median over pairs is judged
# (by order statistics, as in a sign test); the mean is printed beside it.

# %%
paths = tables["smoothness_paths"]
figures.compared(differences(paths))

# %% [markdown]
# An interval over pairs speaks of other pairs of images, one over seeds of other trainings. The verdicts (notebook 10
# explains the rules):

# %%
pages.verdicts(claims.evaluate_sweeps({"smoothness_paths": paths}, profile))

# %% [markdown]
# ## Walk yourself
#
# Choose two images, then move or play $\alpha$: both decoders' images, and $\log q$ with a marker. (Below it, for
# readers without a kernel, the same for the pair of Fig. 3.)

# %% tags=["interactive"]
widgets.interpolation_explorer(vaes, images[:12])

# %%
ends, _ = shown_paths(experiment)
figures.slider(experiment, vaes, ends)

# %% [markdown]
# ## Move one latent at a time
#
# The other way to walk: keep an image's latents but one, and move that one through what the prior allows (grey, from −3 to
# 3). Latents are ranked by $\text{KL}\bigl(q_\phi(z_i \mid x) \,\Vert\, p(z_i)\bigr)$: the first ones carry most.
# (Below the explorer, for readers without a kernel, the six most informative latents of the first image.)

# %% tags=["interactive"]
widgets.traversal_explorer(vaes, images[:12])

# %%
static.traversal_twin(experiment, vaes, 0, figure="fig03")

# %% [markdown]
# **What to try next.** Another `pair`. `overrides = {"sweep_seeds": 10}` trains each network ten times (the profile laptop: three),
# so that the verdicts hold for more trainings. `likelihood = "mol"` puts another noise into x̃, thus other teeth: does the
# order of the methods stay?

# %%
Markdown(pages.provenance_note(experiment))
