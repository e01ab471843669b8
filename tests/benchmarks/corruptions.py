"""Rows for the corruptions and the tasks on them: a test set's worth is 10,000 images by 19 corruptions."""

import time

import numpy as np
import torch

from vaelib.data.corruptions import CORRUPTIONS, corrupt
from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, build_likelihood
from vaelib.tasks import CLASSIFIERS, generate, psnr, representation_accuracy

from .table import Row

IMAGES = torch.randint(0, 256, (500, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def rows(quick: bool = False) -> list[Row]:
    """Return images/s of each corruption and of reconstruction, seconds a classifier takes."""
    images, scored = (IMAGES[:2], 200) if quick else (IMAGES, 10_000)
    table, total = [], 0.0
    for name in CORRUPTIONS:
        try:
            corrupt(IMAGES[:20], name)
        except VaelibError:  # frost without its photographs
            continue
        start = time.perf_counter()
        corrupt(images, name)
        spent = time.perf_counter() - start
        total += spent
        table.append(Row(f"corruption {name}", "images/s", len(images) / spent))
    table.append(Row(f"{len(table)} corruptions of 10,000 images", "s", total * 10_000 / len(images)))
    for likelihood in ("gaussian", "mol"):
        vae = FullyConnectedVAE(likelihood=build_likelihood(likelihood))
        start = time.perf_counter()
        psnr(vae, images[:, :1])
        table.append(Row(f"reconstruction, {likelihood}", "images/s", len(images) / (time.perf_counter() - start)))
        start = time.perf_counter()
        generate(vae, len(images))
        table.append(Row(f"generation, {likelihood}", "images/s", len(images) / (time.perf_counter() - start)))
    labels = np.arange(scored) % 10
    # Weak signal, as in a VAE's latents: accuracies of about 0.3, which is what makes an SVM's solver work.
    features = np.random.default_rng(0).normal(size=(scored, 16)) + 0.7 * np.eye(10, 16)[labels]
    for classifier in CLASSIFIERS:
        representation_accuracy(features[:100], labels[:100], classifier)  # scikit-learn's import
        start = time.perf_counter()
        representation_accuracy(features, labels, classifier)
        table.append(Row(f"classifier {classifier}, {scored:,} images", "s", time.perf_counter() - start))
    return table
