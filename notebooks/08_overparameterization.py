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
# # 8. Make the network larger, in two directions
#
# **You will see** what each of the two kinds of parameters of a VAE does when there are more of them (Secs. 5.5–5.7).
# The paper says that more latents shrink all three gaps (Fig. 6), that more internal channels alone make overfitting
# worse unless there are latents enough (Fig. 7), and that whoever walks first along one axis and then along the other sees
# a double descent (Fig. 8). The last table judges it.
#
# | symbol | meaning |
# | --- | --- |
# | $m_z$ (mz) | latent channels on an 8×8 grid: $d_z = 64\,m_z$ latents; they govern $\lvert\Theta_z\rvert$ |
# | $n_c$ (nc) | internal channels: they govern all other parameters, $\lvert\Theta_{\neg z}\rvert$, which grow like $n_c^2$ |
# | $\lvert\Theta\rvert$ | all parameters together, $\Theta = \Theta_z \cup \Theta_{\neg z}$ |
# | $G_\text{g}$, $G_\text{a}$, $G_\text{r}$ | generalization, amortization, robustness gap, Eqs. (3)–(5) |
#
# ELBOs, $G_\text{g}$ and $G_\text{a}$ are in nats per image, $G_\text{r}$ is a difference of MS-SSIM. (Sec. 5.1 writes
# $\lvert\Theta_{\neg z}\rvert = n_c \times c_2$ and calls $d_z$ a number of channels. The parameter counts of Fig. 8 say $n_c^2$,
# and $m_z$ channels.)

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"mz_grid": [1, 4, 16], "nc": 16}
axis = "log"  # of Fig. 8: log shows the first phase, linear is the paper's

# %%
from IPython.display import Markdown

from vaelib.report import claims, pages
from vaelib.results.making import made_together
from vaelib.studies.sweeps import pages as figures
from vaelib.studies.sweeps.runs import latents, sizes

# %%
few_and_many, grid = (sweep(profile, dataset, likelihood, overrides) for sweep in (latents, sizes))
Markdown(figures.describe_sweeps(few_and_many, grid))

# %% [markdown]
# The next cell trains whatever is not in the store yet; of all notebooks it has most to do. It can be interrupted at
# any time; the next run goes on from there. (`overrides = {"use_results": True}` trains nothing and draws from what
# comes with the project. It needs both sweeps; if one did not come with the project, the next cell stops and names
# it.)

# %%
tables = made_together([few_and_many, grid], title=f"network sizes, {grid.dataset}")

# %% [markdown]
# ## More latents: smaller gaps?
#
# Normal training twice, with the same nc. Left: dashed is the training set, solid the test set. Middle: dash-dotted is the
# best posterior $q^*$, solid the encoder. Right: dotted is the similarity of attacked and clean inputs, solid that of their
# reconstructions. Brackets give the gap at the end.

# %%
figures.draw_sweep(few_and_many, tables["latents"])

# %%
figures.compared_sweep(tables["latents"]["rows"])

# %% [markdown]
# ± is the standard error: over seeds where there are several, else over images. The paper's values belong to CIFAR-10 at
# nc = 256.
#
# ## Along either axis
#
# (a), (b): mz grows at a fixed nc. The paper finds gains up to mz = 16, and a gap that is always smaller with DMaaPx.
# (c), (d): nc grows at several mz (light: few latents, dark: many). In the paper the test ELBO of normal training rises and
# falls again at mz = 1, the classical U-shape; with more latents the fall is gone.

# %%
figures.draw_sweep(grid, tables["sizes"])

# %% [markdown]
# ## A double descent, made by hand
#
# The same runs over the number of parameters; the y axis is the negative test ELBO, so lower is better. The path of
# Sec. 5.7 is yellow: nc grows at mz = 1 (1), then mz at that nc (2), which costs hardly any parameters, then nc again
# (3). In the paper the negative test ELBO over $\lvert\Theta\rvert$ goes down, up and down.

# %%
figures.draw_path(grid, tables["sizes"], axis)

# %%
figures.compared_sweep(tables["sizes"]["rows"])

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
# **What to try next.** `axis = "linear"` for the paper's view of Fig. 8; `overrides = {"sweep_seeds": 10}` for narrower
# intervals over seeds; `{"nc_grid": [8, 16, 32, 64, 128]}` to look further right.

# %%
Markdown(pages.provenance_note(few_and_many, grid))
