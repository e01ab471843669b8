"""Rows for the corruptions and the tasks on them: a test set's worth is 10,000 images by 19 corruptions."""

import time

import numpy as np
import torch

from vaelib.data.corruptions import CORRUPTIONS, corrupt
from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE, build_likelihood
from vaelib.tasks import CLASSIFIERS, generate, psnr, representation_accuracy

IMAGES = torch.randint(0, 256, (500, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def rows() -> list[tuple[str, float, str]]:
    """Return (name, value, unit): images/s of each corruption and of reconstruction, seconds a classifier takes."""
    table, total = [], 0.0
    for name in CORRUPTIONS:
        try:
            corrupt(IMAGES[:20], name)
        except VaelibError:  # frost without its photographs
            continue
        start = time.perf_counter()
        corrupt(IMAGES, name)
        spent = time.perf_counter() - start
        total += spent
        table.append((f"corruption {name}", len(IMAGES) / spent, "images/s"))
    table.append((f"{len(table)} corruptions of 10,000 images", total * 10_000 / len(IMAGES), "s"))
    for likelihood in ("gaussian", "mol"):
        vae = FullyConnectedVAE(likelihood=build_likelihood(likelihood))
        start = time.perf_counter()
        psnr(vae, IMAGES[:, :1])
        table.append((f"reconstruction, {likelihood}", len(IMAGES) / (time.perf_counter() - start), "images/s"))
        start = time.perf_counter()
        generate(vae, len(IMAGES))
        table.append((f"generation, {likelihood}", len(IMAGES) / (time.perf_counter() - start), "images/s"))
    labels = np.arange(10_000) % 10
    # Weak signal, as in a VAE's latents: accuracies of about 0.3, which is what makes an SVM's solver work.
    features = np.random.default_rng(0).normal(size=(10_000, 16)) + 0.7 * np.eye(10, 16)[labels]
    for classifier in CLASSIFIERS:
        representation_accuracy(features[:100], labels[:100], classifier)  # scikit-learn's import
        start = time.perf_counter()
        representation_accuracy(features, labels, classifier)
        table.append((f"classifier {classifier}, 10,000 images", time.perf_counter() - start, "s"))
    return table
