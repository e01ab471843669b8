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
# # 0. Watch a VAE overfit, and measure it
#
# **You will see**, in about two minutes: whether a variational autoencoder that fits its training images better and better
# becomes worse on test images; the three gaps of Sec. 2 that measure this; and what more data would do about it. That is the
# question of the paper: *can synthetic data stand in for the data we do not have?* (Notebook 03 answers it.)

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
seed = 0  # of the network, the order of the images and the noise
overrides = {}  # settings of the profile by name, for example {"n_train": 100, "epochs": 50}

# %%
from IPython.display import Markdown

from vaelib import gaps
from vaelib.report import pages, pictures
from vaelib.report.explorers import static, widgets
from vaelib.report.publish import setting_tag
from vaelib.runs import likelihood_of
from vaelib.studies import tour
from vaelib.training.distributions import TrainingDistribution

# %% [markdown]
# ## A small training set and a network that can memorise it
#
# The encoder $f_\phi$ maps an image $x$ to a Gaussian $q_\phi(z \mid x)$ over a few latents, the decoder $g_\theta$ maps
# latents back to a distribution $p_\theta(x \mid z)$ over images. Both are trained to raise the evidence lower bound, here on
# only a few hundred images:
#
# $$\text{ELBO}_\Theta(x) = \mathbb{E}_{z \sim q_\phi(z \mid x)}
# \bigl[\log p_\theta(x \mid z) + \log p_z(z) - \log q_\phi(z \mid x)\bigr] \tag{2}$$

# %%
name = likelihood_of(dataset, likelihood)
few, many, budget = tour.few_and_many(dataset, tour.budget(profile, dataset, name, overrides), seed)
pictures.image_rows({"training": few.train[:10], "test": few.test[:10]}, few.source)

# %% [markdown]
# ## Train it twice: on N images, and on ten times as many
#
# Both runs take the same number of gradient steps; an *effective epoch* is N images for either. The second run is what
# everybody would like to have and nobody has: more real data. (`overrides = {"use_results": True}` takes the two trained networks
# that come with the project.)

# %%
runs, vaes, times = {}, {}, len(many.train) / len(few.train)
sets = {f"N = {len(few.train):,}": few.train, f"{times:g} N = {len(many.train):,}": many.train}
for title, images in sets.items():
    vaes[title] = tour.untrained(dataset, name, budget, images.shape[1], seed)
    stream = TrainingDistribution(images, len(few.train), seed=seed)
    runs[title] = tour.fit(vaes[title], stream, few.train, few.test, budget, seed, title)

# %% [markdown]
# ## Gap one: generalization
#
# Dashed is the ELBO on the N training images, solid the ELBO on test images, in nats (units of the natural logarithm;
# higher is better). Their distance is the generalization gap:
#
# $$G_\text{g} = \mathbb{E}_{x \sim \mathcal{D}_\text{train}}\bigl[\text{ELBO}_\Theta(x)\bigr] -
# \mathbb{E}_{x \sim \mathcal{D}_\text{test}}\bigl[\text{ELBO}_\Theta(x)\bigr] \tag{3}$$
#
# Overfitting (Sec. 2) shows in two signs: the distance grows, and the solid line falls. Look for both.

# %%
curves = tour.overfitting_figure(runs, few.source)
tour.saved(curves, tour.SHOWN_OVERFITTING, profile, dataset, likelihood)

# %% [markdown]
# ## Gap two: amortization
#
# Is the decoder to blame, or the encoder? Give each test image the best posterior $q^*(z \mid x)$ that can be found
# for it, with the decoder frozen. What the ELBO gains by that is the encoder's fault, and is called the amortization
# gap (in the table, ± is the standard error over test images):
#
# $$G_\text{a} = \mathbb{E}_{x \sim \mathcal{D}_\text{test}}\bigl[\text{ELBO}^*_\theta(x)\bigr] -
# \mathbb{E}_{x \sim \mathcal{D}_\text{test}}\bigl[\text{ELBO}_\Theta(x)\bigr] \ge 0 \tag{4}$$

# %%
count = min(budget.amortization_images or len(few.test), len(few.test))
some = few.test[gaps.stratified(few.test_labels, count, seed)]
best = {title: gaps.optimize_posterior(vae, some, max_steps=budget.amortization_steps) for title, vae in vaes.items()}
pages.means({title: {"encoder": b.elbo, "best posterior": b.elbo_star, "gap": b.gap} for title, b in best.items()})

# %% [markdown]
# ## Gap three: robustness
#
# A change $\epsilon$ to the input $x_\text{r}$ that is hardly visible is chosen to move $q_\phi$ as far as possible
# (Eq. 10). Does the reconstruction $\tilde{x}_\text{a}$ of $x_\text{a} = x_\text{r} + \epsilon$ become a different
# picture? MS-SSIM measures how similar two images are (1: equal). The similarity lost between inputs and
# reconstructions is the robustness gap:
#
# $$G_\text{r} = \mathbb{E}_{x_\text{a} \sim p(x_\text{a} \mid x_\text{r})}
# \mathbb{E}_{x_\text{r} \sim \mathcal{D}_\text{test}}\bigl[\text{MS-SSIM}[x_\text{r}, x_\text{a}] -
# \text{MS-SSIM}[\tilde{x}_\text{r}, \tilde{x}_\text{a}]\bigr] \tag{5}$$
#
# In the table, *clean floor* is the similarity lost between two reconstructions of the same clean image: that much of the
# gap is noise, not attack.

# %%
shown = few.test[:8].float() / 255
rows = tour.attacked(vaes, shown, budget, seed)
strip = pictures.image_rows(rows, "attacked test images and their reconstructions")
tour.saved(strip, tour.SHOWN_ATTACK, profile, dataset, likelihood)

# %%
attack = tour.robustness(vaes, few.test, few.test_labels, budget, seed)
pages.means(attack)

# %% [markdown]
# Attack yourself: choose an image, then move the radius $\delta$ and the number of steps. (Without a kernel: the first
# image, below.)

# %% tags=["interactive"]
widgets.attack_explorer(vaes, few.test[:12])

# %%
static.attack_twin(vaes, few.test, 0, profile, f"tour_attack_{setting_tag(**tour.setting_of(dataset, likelihood))}")

# %% [markdown]
# ## What this means
#
# What ten times as many real images did to the three gaps. This is one seed, so the judgement counts the error over
# images, and 10 % of each gap for what another seed would change:

# %%
Markdown(tour.conclusion(runs, best, attack))

# %% [markdown]
# But there is no more real data. The paper's proposal is to *make* it: fit a diffusion model to the N images, draw as
# many samples as needed, and train the VAE on those. This is DMaaPx, "Diffusion Model as a $p_\text{data}(x)$".
#
# **What to try next.** Notebook 03 runs that comparison, with augmentation as the rival. Here: another `seed`, or
# `dataset = "binary_mnist"`. `from vaelib.runs import Profile; list(Profile.model_fields)` names all settings that
# `overrides` takes; `vaelib/runs/profiles.yaml` has their values at each size.

# %%
Markdown(pages.machine_note())
