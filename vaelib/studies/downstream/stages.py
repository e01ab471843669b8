"""Corrupted test images, and what a trained VAE is worth in use (Figs. 4 left and 19, Table 11)."""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ... import files, gaps, paths, tasks
from ...data import load_dataset
from ...data.corruptions import CORRUPTIONS, corrupt, load_official
from ...data.datasets import subset
from ...errors import VaelibError
from ...images import as_float
from ...models import VAE
from ...runs.cost.work import CLASSIFIED, PIXELS, Work, vae_work
from ...runs.kinds import makes
from ...runs.settings import Artifact, Data, VAERun
from ...runs.stages.classifier import Classifier, load_classifier
from ...runs.stages.context import Context
from ...runs.stages.vae import load_vae
from ...runs.store import TENSORS, load_array, load_tensor, save_tensors
from ...tasks.representation import FEWEST


class Corrupted(Artifact):
    """Test images, clean and under every corruption, with their labels: made once, shared by all VAEs (Appendix G)."""

    kind: ClassVar[str] = "corrupted"
    data: Data
    images: int = Field(ge=FEWEST, description="of D_test, stratified; classifiers see 80 % of them")
    severity: int = Field(5, ge=1, le=5)
    names: tuple[str, ...] = Field(CORRUPTIONS, min_length=1)
    official: bool = Field(False, description="the published files of CIFAR-10-C in place of our own draws")
    seed: int = 0


class Downstream(Artifact):
    """What one trained VAE is worth in use: its latents classified, reconstructions, samples (Appendices F and G)."""

    kind: ClassVar[str] = "downstream"
    version: ClassVar[int] = 2  # precision and recall from one kind of distances; splits of equal size
    vae: VAERun
    corrupted: Corrupted
    classifier: Classifier = Field(description="in whose features samples are judged by proxies")
    samples: int = Field(ge=FEWEST, description="generated, and test images that they are compared with")
    inception: str = Field("", description="SHA-256 of inception.safetensors in the data root; empty: no FID and IS")
    seed: int = 0

    @model_validator(mode="after")
    def _of_one_data_set(self) -> "Downstream":
        if not self.corrupted.data == self.classifier.data == self.vae.data:
            raise ValueError("corrupted images and classifier are of another data set than the VAE; give its own")
        return self


class Pictures(Artifact):
    """What one trained VAE shows: test images reconstructed (Fig. 9), and images from its prior."""

    kind: ClassVar[str] = "pictures"
    vae: VAERun
    images: int = Field(9, ge=1, description="of D_test, stratified")
    samples: int = Field(12, ge=1, description="of the prior; every VAE gets the same z")
    seed: int = 0


CLEAN, OVERALL = "clean", "overall"  # beside the corruptions' names: the images as they are; one corruption an image


def _published_order(settings: Corrupted, test: Tensor) -> Tensor:
    """Return where each image of D_test stands in CIFAR-10's test set, the order of the published files."""
    data = settings.data
    whole = load_dataset(data.place, n_train=2, seed=data.seed, source=data.source)
    order = torch.from_numpy(subset(whole.test_labels.numpy(), data.n_test, data.seed, "n_test"))
    if not whole.exact or not torch.equal(whole.test[order], test.cpu()):
        raise VaelibError("CIFAR-10-C's files go with the original test set; put its files into the data root")
    return order


def _official(name: str, severity: int, order: Tensor) -> Tensor:
    for root in paths.data_roots():
        if (images := load_official(name, severity, root)) is not None:
            return images[order]
    raise VaelibError(f"CIFAR-10-C/{name}.npy is gone from the data root; put it back, or take all of its files away")


@makes(
    Corrupted,
    work=lambda run: Work(core=run.images * len(run.names) * run.data.channels / 5_000),
    size=lambda run: run.images * PIXELS * run.data.channels * (len(run.names) + 1),
    gpu=False,
)
def make_corrupted(settings: Corrupted, context: Context) -> None:
    """Write the chosen test images, their labels, and one file a corruption; what is there already is kept."""
    test, labels = (context.split(settings.data, name).cpu() for name in ("test", "test_labels"))
    chosen = gaps.stratified(labels, settings.images, settings.seed)
    if len(labels[chosen].unique()) < 2:
        raise VaelibError(
            f"dataset = {settings.data.name}: its test images are all of one class, so no classifier can be tested; "
            "use a data set with at least two"
        )
    files.write_array(context.folder / f"{CLEAN}.npy", test[chosen].numpy())
    files.write_array(context.folder / "labels.npy", labels[chosen].numpy())
    order = _published_order(settings, test)[chosen] if settings.official else None
    for count, name in enumerate(settings.names, 1):
        path = context.folder / f"{name}.npy"
        if not path.exists():
            if order is None:
                files.write_array(path, corrupt(test[chosen], name, settings.severity, settings.seed).numpy())
            else:
                files.write_array(path, _official(name, settings.severity, order).numpy())
        context.report(count / len(settings.names), name)


def _row(quantity: str, value: float, se: float | None = None, images: str = CLEAN) -> dict[str, Any]:
    return {"images": images, "quantity": quantity, "value": value, "se": se}


def _accuracies(features: np.ndarray, labels: np.ndarray, images: str) -> list[dict[str, Any]]:
    """Return the accuracy of each classifier, with its standard error over the images it is tested on."""
    rows, tested = [], len(labels) - round(0.8 * len(labels))
    for classifier in tasks.CLASSIFIERS:
        share = tasks.representation_accuracy(features, labels, classifier)
        rows.append(_row(f"accuracy_{classifier}", share, math.sqrt(share * (1 - share) / tested), images))
    return rows


def _latents(settings: Downstream, vae: VAE, folder: Path) -> dict[str, np.ndarray]:
    """Return the posterior means of the images as they are, under each corruption, and under one drawn for each."""
    names = settings.corrupted.names
    means = {name: tasks.posterior_means(vae, load_tensor(folder / f"{name}.npy")) for name in (CLEAN, *names)}
    return means | {OVERALL: tasks.overall([means[name] for name in names], settings.seed)}


def _samples(settings: Downstream, context: Context, vae: VAE, test: Tensor) -> list[dict[str, Any]]:
    """Return the scores of images from the prior against as many test images."""
    labels = context.split(settings.vae.data, "test_labels").cpu()
    real = test[gaps.stratified(labels, settings.samples, settings.seed)].cpu()
    generated = tasks.generate(vae, settings.samples, "sample", settings.seed)
    found = tasks.proxy_quality(load_classifier(settings.classifier, context.store, context.device), real, generated)
    scores = {"proxy_fid": found.proxy_fid, "proxy_is": found.proxy_is}
    scores |= {"proxy_precision": found.precision, "proxy_recall": found.recall}
    if settings.inception:
        places = [root / "inception.safetensors" for root in paths.data_roots()]
        path = next((file for file in places if file.is_file()), places[0])
        network = tasks.load_inception(path, settings.inception).to(context.device)
        published = tasks.inception_quality(network, real, generated, seed=settings.seed)
        scores |= {"fid": published.fid, "inception_score": published.inception_score}
    return [_row(name, value) for name, value in scores.items()]


def downstream_work(downstream: Downstream) -> Work:
    sets, images = len(downstream.corrupted.names) + 2, downstream.corrupted.images
    classified = sets * (0.12 + 2e-8 * images**2)  # one-against-one linear SVMs; the kernel SVM
    return Work(core=classified + 6 * downstream.samples / CLASSIFIED)


@makes(Downstream, work=downstream_work)
def make_downstream(settings: Downstream, context: Context) -> None:
    """Classify, reconstruct D_test, generate; finished sets of classified images are kept in the checkpoint."""
    folder = context.store.require(settings.corrupted)
    labels = np.array(load_array(folder / "labels.npy"))
    vae = load_vae(settings.vae, context.store, device=context.device)
    rows = context.kept("measured.json")
    done = {row["images"] for row in rows}
    who = f"{settings.vae.method}, seed {settings.vae.seed}"
    latents = _latents(settings, vae, folder)
    for count, (images, features) in enumerate(latents.items(), 1):
        if images not in done:
            try:
                rows += _accuracies(features, labels, images)
            except VaelibError as error:
                raise VaelibError(f"{who}, {images} images: {error}") from None
            context.keep("measured.json", rows)
        context.report(count / (len(latents) + 1), images)
    test = context.split(settings.vae.data, "test")
    for kind in ("sample", "mean"):
        rows.append(_row(f"psnr_{kind}", tasks.psnr(vae, test, kind, settings.seed)))
    rows += _samples(settings, context, vae, test)
    broken = ", ".join(row["quantity"] for row in rows if not math.isfinite(row["value"]))
    if broken:
        raise VaelibError(f"{broken} of {who} is not finite; look at its reconstructions and samples, the VAE is kept")
    files.write_json(context.folder / "measured.json", rows)


@makes(
    Pictures,
    work=lambda run: vae_work(run.vae, 2 * run.images, 2 * run.images + run.samples, 3),
    size=lambda run: PIXELS * run.vae.data.channels * (12 * run.images + run.samples),
)
def make_pictures(settings: Pictures, context: Context) -> None:
    """Reconstruct test images, from one sample of p(x|z) and as its mean, and generate."""
    test, labels = (context.split(settings.vae.data, name) for name in ("test", "test_labels"))
    vae = load_vae(settings.vae, context.store, device=context.device)
    x = as_float(test[gaps.stratified(labels, settings.images, settings.seed).to(test.device)])
    shown = {kind: tasks.reconstruct(vae, x, kind, settings.seed) for kind in ("sample", "mean")}
    shown |= {"x": x, "prior": tasks.generate(vae, settings.samples, "sample", settings.seed)}
    save_tensors(context.folder / TENSORS, shown)
