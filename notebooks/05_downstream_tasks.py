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
# # 5. Put the VAEs to use
#
# **You will see** whether smaller gaps are worth anything: the VAEs of notebook 03 as encoders, as compressors and as
# generators (Sec. 5.2, Appendices F and G). The notebook draws Fig. 4 (left), Fig. 9 and Fig. 19 and fills Table 11.
#
# | task | uses | measured by |
# | --- | --- | --- |
# | representation learning | encoder | accuracy of four classifiers that see only the posterior's mean $\mu$ |
# | the same under corruption | encoder | the same on images with noise, blur, weather or compression |
# | reconstruction | encoder and decoder | PSNR in dB, one mean over all test images and pixels |
# | sample generation | decoder | proxy-FID and proxy-IS, in the features of a small classifier of our own |
#
# The paper reports this for CIFAR-10; here every data set goes through the same tasks.

# %% tags=["parameters"]
profile = "laptop"  # smoke, laptop, overnight, gpu or paper: how much is computed
dataset = "fashion_mnist"  # fashion_mnist, binary_mnist, cifar10, a folder of images or an .npz
likelihood = "default"  # bernoulli, gaussian or mol (mixture of logistics); default: the paper's for the data set
overrides = {}  # settings of the profile by name, for example {"task_images": 1000, "corruption_severity": 4}

# %%
from IPython.display import Markdown

from vaelib.data.corruptions import corrupt
from vaelib.report import claims, pages
from vaelib.report.trained import load_test_set, trained_vaes
from vaelib.results.making import made
from vaelib.studies.downstream import pages as figures
from vaelib.studies.downstream.runs import downstream
from vaelib.tasks import posterior_means, psnr, representation_accuracy

# %% [markdown]
# ## The same VAEs as in notebook 03
#
# Four methods, several seeds. If notebook 03 has run, nothing is trained again: its VAEs are in the store.

# %%
experiment = downstream(profile, dataset, likelihood, overrides)
Markdown(pages.describe(experiment))

# %% [markdown]
# The next cell corrupts the test images once, encodes them with every VAE, and trains and tests the classifiers; it also trains
# what is missing. It can be interrupted at any time; the next run goes on from there.

# %%
tables = made(experiment, title=f"downstream tasks, {experiment.dataset}")

# %% [markdown]
# ## Do the representations survive corruption?
#
# A test set is corrupted, encoded to its means $\mu$ and split: a classifier learns from 80 % and is tested on the other 20 %.
# Each point is one corruption and one seed, each violin one method; zero is normal training with the same seed. The paper
# finds DMaaPx above zero on average, and augmentation below.

# %%
figures.draw_violins(experiment, tables)

# %%
figures.changes_on_corruptions(tables["corruptions"])

# %% [markdown]
# ± is the standard error over seeds. The classifiers are logistic regression (LR), support vector machines with a linear
# (SVM-L) and a radial (SVM-RBF) kernel, and 5 nearest neighbours (kNN). The linear ones see standardised $\mu$.
#
# ## Corruption by corruption
#
# The nineteen corruptions of CIFAR-10-C with its own constants, at the severity under the figure. The paper finds the
# green bar highest for all of them with the linear classifiers (LR, SVM-L), and for almost all with the other two.
# *Overall*: each image gets one corruption, drawn at random. (On grey images saturation changes nothing: its panel is
# the accuracy on clean images.)

# %%
figures.draw_corruptions(experiment, tables)

# %% [markdown]
# ## What is left of an image
#
# The posterior's mean goes through the decoder. The paper does not say whether its pictures are *samples* of $p(x
# \mid z)$, which carry the likelihood's own noise, or its *means*; we read them as samples. A viewer would rather
# have the mean, which is usually better by some dB.

# %%
figures.draw_reconstructions(experiment, tables)

# %% [markdown]
# ## What a decoder dreams
#
# Images from the prior, $z \sim \mathcal{N}(0, I)$, one sample of $p(x \mid z)$ each. Every method gets the same $z$.
# Look for broken or mixed objects. The paper expects no clear difference: DMaaPx mainly improves the encoder (App.
# F).

# %%
figures.draw_samples(experiment)

# %% [markdown]
# ## Table 11: ours beside the paper's
#
# Mean ± standard deviation over seeds. The paper's numbers belong to CIFAR-10 with 50,000 training images. FID and IS need a
# pretrained Inception network; our *proxies* use a small classifier trained on this data set. They order the methods, and
# they have another scale: do not compare them with the paper's. (With Inception's weights at hand FID and IS are measured
# too: the setting `inception_sha256`, and `vaelib/tasks/inception.py` on the file.)

# %%
figures.compared_tasks(pages.derived(experiment, "table_11"))

# %% [markdown]
# ## What the numbers say about the paper's claims
#
# A number is the margin by which a claim holds. *Supported*: its 95 % interval over seeds lies above zero;
# *contradicted*: it lies below, made wider for the number of differences in the claim (notebook 10); else *not
# testable*. "As good as" means closer than a fifth of the effect it is compared with.

# %%
pages.verdicts(claims.evaluate_claims(tables, profile))

# %% [markdown]
# ## Your own VAE, your own images
#
# The functions behind the tables take any module with `encode`, `decode` and a `likelihood` (subclass `vaelib.VAE`), and
# any images: uint8 of shape (N, C, 32, 32). Replace the first two lines.

# %%
vae = trained_vaes(experiment)["dmaapx"]
images, labels = load_test_set(experiment)
for name in ("brightness", "gaussian_noise", "fog"):
    features = posterior_means(vae, corrupt(images[:500], name, severity=5))
    print(f"{name:15} LR reads {representation_accuracy(features, labels[:500], 'LR'):.0%} of the classes from μ")
sample, mean = (psnr(vae, images[:500], what) for what in ("sample", "mean"))
print(f"PSNR {sample:.1f} dB from a sample, {mean:.1f} dB from the mean")

# %% [markdown]
# **What to try next.** `overrides = {"corruption_severity": 4}`: does the order of the methods depend on how hard the test is?
# `dataset = "binary_mnist"`, whose corrupted images are grey where the VAE has seen black and white only. CIFAR-10 with the
# published CIFAR-10-C: put its files into `CIFAR-10-C/` in the data root, and they are used and named under the figures.

# %%
Markdown(pages.provenance_note(experiment))
