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
# # 6. How much synthetic data does it take?
#
# **You will see** three answers: how many samples of the diffusion model a VAE needs (Sec. 5.4, Fig. 4 right), what
# happens when real images are mixed in (Appendix B.7, Fig. 15), and how much data the diffusion model itself needs
# (Appendix B.8, Fig. 16). Each picture is a row of VAEs that differ in one number only.
#
# | symbol | meaning |
# | --- | --- |
# | N | images in the training set $\mathcal{D}_\text{train}$; an effective epoch is N images for every method |
# | k | DMaaPx trains on k·N samples, again and again |
# | $G_\text{g}$ | generalization gap, Eq. (3): ELBO on $\mathcal{D}_\text{train}$ minus that on $\mathcal{D}_\text{test}$ |
#
# ELBOs and gaps are in nats per image; an ELBO is better when it is higher.

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"k_grid": [1, 3, 10], "sweep_seeds": 10}

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.results.making import made_together
from vaelib.studies.sweeps import pages as figures
from vaelib.studies.sweeps.runs import limited_k, mixing, teacher_fractions

# %% [markdown]
# ## The same network everywhere
#
# All sweeps use the paper's residual VAE: $n_c$ internal channels, $m_z$ latent channels on an 8×8 grid, so $d_z =
# 64\,m_z$ latents. (Sec. 5.1 and Tables 4 and 5 call $d_z$ a number of channels; the parameter counts of Fig. 8 say
# that there are $m_z$ of them.) The paper ran the sweeps on CIFAR-10; any data set will do. It does not say how many
# seeds these figures have, and we count its numbers as one; the profile laptop takes three (`sweep_seeds`).

# %%
settings = (profile, dataset, likelihood, overrides)
samples, mixtures, teachers = (sweep(*settings) for sweep in (limited_k, mixing, teacher_fractions))
Markdown(figures.describe_sweeps(samples, mixtures, teachers))

# %% [markdown]
# The next cell trains whatever is not in the store yet. It can be interrupted at any time; the next run goes on from
# there. (`overrides = {"use_results": True}` trains nothing and draws from what comes with the project. It needs all
# three sweeps; if one did not come with the project, the next cell stops and names it.)

# %%
tables = made_together([samples, mixtures, teachers], title=f"how much synthetic data, {samples.dataset}")

# %% [markdown]
# ## How many samples for each real image?
#
# With k = 1 DMaaPx and normal training (blue lines) both see N images. The paper finds the two alike there, a climb from
# there on, and that k ≈ 10 suffices. Orange is a control that the paper does not have: the same number of *real* images, taken
# from those beside $\mathcal{D}_\text{train}$. What separates orange and green is the quality of the samples, not their number.

# %%
figures.draw_sweep(samples, tables["limited_k"])

# %%
figures.compared_sweep(tables["limited_k"]["rows"])

# %% [markdown]
# ± is the standard error: over seeds where there are several, else over images. The paper's ELBOs belong to CIFAR-10,
# whose images have three times as many numbers as a grey one; on another data set compare the shape, not the values.
#
# ## Real images in the mixture
#
# Left, 0 %: DMaaPx alone. Right, 100 %: normal training (brown), or Aug.Tuned (purple). The paper finds
# that without augmentation every real image costs test ELBO and opens the gap, because it is seen again in every epoch.

# %%
figures.draw_sweep(mixtures, tables["mixing"])

# %%
figures.compared_sweep(tables["mixing"]["rows"])

# %% [markdown]
# ## A diffusion model that saw less
#
# The diffusion model is fitted to a part of $\mathcal{D}_\text{train}$ only; the VAE still trains on as many of its
# samples. Blue is normal training on *all* images. (The paper's Fig. 16 turns out to show epoch 500, not 1,000; its
# curve on $\mathcal{D}_\text{train}$ was not read.)

# %%
figures.draw_sweep(teachers, tables["teacher_fractions"])

# %%
figures.compared_sweep(tables["teacher_fractions"]["rows"])

# %% [markdown]
# ## What the numbers say about the paper's claims
#
# A number is the margin by which a claim holds. *Supported*: its 95 % interval lies above zero; *contradicted*: it
# lies below, made wider for the number of differences in the claim (notebook 10); else *not testable*. With one seed
# the interval is over test images and run-to-run noise: measured, where notebook 03 trained the same network from
# several seeds, else 1 % of an ELBO and 10 % of a gap. "The same" means closer than a fifth of the effect in
# question.

# %%
pages.verdicts(claims.evaluate_sweeps({name: one["rows"] for name, one in tables.items()}, profile))

# %% [markdown]
# **What to try next.** `overrides = {"sweep_seeds": 10}` for narrower intervals over seeds; `{"k": 50, "k_grid": [1, 10, 50]}` to
# see whether k = 10 really suffices; your own images with `dataset = "/path/to/folder"`.

# %%
Markdown(pages.provenance_note(samples, mixtures, teachers))
