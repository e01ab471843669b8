"""The proxies' classifier: trained on labelled images, kept with what it got right."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ... import files, rng
from ...models.weights import load_weights
from ...tasks import FitState, SmallClassifier, fit, logits_of
from ..cost.work import CLASSIFIED, Work
from ..kinds import makes
from ..settings import Artifact, Data
from ..store import Store, load_tensors, save_tensors
from .context import Context
from .data import beside_train


class Classifier(Artifact):
    """A small classifier of a data set's classes, the feature space of proxy-FID and its kin.

    It learns from labelled training images *beside* D_train, so that D_train, D_test and samples are equally new to it.
    With ``images`` = 0, where fewer than N are left beside D_train, from D_train itself; the record tells.
    """

    kind: ClassVar[str] = "classifier"
    data: Data
    images: int = Field(0, ge=0, description="labelled training images beside D_train; 0: D_train")
    width: int = Field(16, ge=1, description="channels of the first convolution; 8 times as many features")
    images_seen: int = Field(1_000_000, ge=1)
    batch_size: int = Field(64, ge=2)
    lr: float = Field(0.02, gt=0, description="at the start; it falls linearly to 0")
    seed: int = 0


def labelled_images(data: Data, count: int, context: Context) -> tuple[Tensor, Tensor]:
    """Return ``count`` training images beside D_train and their labels; for 0 those of D_train."""
    if not count:
        return context.split(data, "train"), context.split(data, "train_labels")
    return beside_train(data, count, context)


def build_small(settings: Classifier, classes: int) -> SmallClassifier:
    """Return the untrained network; its weights are a function of the seed."""
    with rng.seeded(settings.seed, "classifier"):
        return SmallClassifier(settings.data.channels, classes, settings.width)


def follow_fit(
    network: nn.Module, images: Tensor, labels: Tensor, context: Context, epochs: int, **options: Any
) -> None:
    """Train a classifier to ``epochs`` in all, from its last checkpoint; ``options`` of :func:`~vaelib.tasks.fit`."""
    state = FitState(network)
    if (saved := context.resume()) is not None:
        state.load(saved[0], saved[1]["epochs"])
    for epoch, loss in fit(state, images, labels, epochs=epochs, **options):
        context.checkpoint(lambda: (state.tensors(), {"epochs": state.epochs}))
        context.report(epoch / epochs, f"loss {loss:.3f}")


@makes(Classifier, work=lambda classifier: Work(core=classifier.images_seen / CLASSIFIED))
def make_classifier(settings: Classifier, context: Context) -> None:
    """Train; write the weights and ``scores.json``: accuracy on D_test, images learned from, classes."""
    images, labels = labelled_images(settings.data, settings.images, context)
    test, test_labels = (context.split(settings.data, name) for name in ("test", "test_labels"))
    classes = int(max(labels.max(), test_labels.max())) + 1
    network = build_small(settings, classes).to(context.device, memory_format=torch.channels_last)
    epochs = max(1, round(settings.images_seen / len(images)))
    follow_fit(network, images, labels, context, epochs, decay=True, **settings.only("batch_size lr seed"))
    right = logits_of(network, test).argmax(1) == test_labels.cpu()
    save_tensors(context.folder / "weights.safetensors", network.state_dict(), {"classes": classes})
    scores = {"accuracy": float(right.float().mean()), "images": len(images), "classes": classes}
    files.write_json(context.folder / "scores.json", scores | {"beside_train": bool(settings.images)})


def load_classifier(settings: Classifier, store: Store, device: torch.device | None = None) -> SmallClassifier:
    """Return the trained classifier in eval mode."""
    path = store.require(settings) / "weights.safetensors"
    tensors, meta = load_tensors(path)
    network = build_small(settings, meta["classes"])
    load_weights(network, tensors, path)
    return network.to(device or torch.device("cpu")).eval()
