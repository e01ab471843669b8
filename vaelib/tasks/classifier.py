r"""A small image classifier of our own: the feature space of ``proxy-FID`` and its kin, and a discriminator (App. D.3).

    x ∈ {0, …, 255} → 2x/255 − 1 → four 3×3 convolutions (strides 1, 2, 2, 2; batch norm, ReLU) → mean over positions
      → features h ∈ ℝ^{8·width} → logits W h + b

The first convolution looks at every pixel, so grey levels that a teacher misses can be seen. Trained with
cross-entropy by SGD with momentum 0.9 (Robbins & Monro 1951; the recipe of App. D.3 is its default); everything random
is a function of (seed, epoch).
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

from .. import rng
from ..errors import NonFiniteLoss, VaelibError, unknown
from ..images import check_images, check_labels
from ..models.weights import matched
from ..modes import check_learning, evaluating


class Fit(NamedTuple):
    """One epoch done: its number (from 1) and the mean cross-entropy of its batches, nats."""

    epoch: int
    loss: float


class SmallClassifier(nn.Module):
    """The network above; ``forward`` returns logits (B, classes) of uint8 images (B, C, H, W)."""

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 16):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.image_shape = channels, None, None
        widths = [channels, *(width * 2**level for level in range(4))]
        blocks = []
        for level, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            convolution = nn.Conv2d(n_in, n_out, 3, stride=1 if level == 0 else 2, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, images: Tensor) -> Tensor:
        """Return h, (B, 8·width)."""
        x = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return self.body(x).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        return self.head(self.features(images))


def build_network(name: str, channels: int, classes: int, seed: int = 0) -> nn.Module:
    """Return ``small`` (:class:`SmallClassifier`) or ``resnet18`` (He et al. 2016) for 32 px; weights are of the seed.

    torchvision's ResNet-18 is made for 224 px: its first convolution becomes 3×3 with stride 1 for our channels, its
    max pooling goes. Raises VaelibError: unknown name, or torchvision missing.
    """
    if name not in ("small", "resnet18"):
        raise unknown("network =", name, ("small", "resnet18"))
    with rng.seeded(seed, "classifier"):
        if name == "small":
            return SmallClassifier(channels, classes)
        try:
            from torchvision.models import resnet18
        except ImportError as error:
            raise VaelibError("network = resnet18 needs torchvision; run pip install 'vaelib[eval]'") from error
        network = resnet18(num_classes=classes)
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
        return nn.Sequential(_Centred(), network)


class _Centred(nn.Module):
    """Bytes to [−1, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 127.5 - 1


class FitState:
    """A network in training: itself, the momentum of its parameters, and the count of epochs done."""

    def __init__(self, network: nn.Module):
        self.network, self.epochs = network, 0
        self.names, self.parameters = map(list, zip(*network.named_parameters(), strict=True))
        self.momentum = [torch.zeros_like(parameter) for parameter in self.parameters]

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on, flat, for safetensors."""
        flat = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        return flat | {f"momentum.{name}": tensor for name, tensor in zip(self.names, self.momentum, strict=True)}

    def load(self, tensors: dict[str, Tensor], epochs: int) -> None:
        """Go on from :meth:`tensors` as they were after ``epochs`` epochs; raises VaelibError on another network's."""
        tensors = matched(tensors, self.tensors(), "the checkpoint")
        network = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        self.network.load_state_dict(network)
        for name, buffer in zip(self.names, self.momentum, strict=True):
            buffer.copy_(tensors[f"momentum.{name}"])
        self.epochs = epochs


def fit(
    state: FitState,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int = 14,
    batch_size: int = 256,
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    decay: bool = False,
    seed: int = 0,
) -> Iterator[Fit]:
    """Train on uint8 ``images`` (N, C, H, W) and whole-number ``labels`` (N,); yield after each epoch.

    Arguments:
        state: the network, already on its device; advanced in place.
        epochs: to reach in all, those done before included.
        decay: let the learning rate fall linearly to 0 over the epochs.

    Raises:
        VaelibError: images that are not bytes (:mod:`vaelib.images`), no two classes, labels that are not a whole number
            from 0 on for each of them, a batch size below 2, or gradients switched off.
        NonFiniteLoss: the loss became NaN or infinite.
    """
    check_images(images, state.network, only_bytes=True)
    check_labels(labels, len(images), getattr(state.network, "classes", None))
    if (classes := len(labels.unique())) < 2 or batch_size < 2:
        raise VaelibError(
            f"labels of {classes} class(es), batch_size = {batch_size}: a classifier needs two classes, and two images a batch; "
            "use a data set with at least two, and raise batch_size"
        )
    check_learning("fit")
    device = state.parameters[0].device
    images, labels = images.to(device), labels.to(device)
    while state.epochs < epochs:
        order = torch.randperm(len(images), generator=rng.generator(seed, "fit", state.epochs)).to(device)
        batches = [batch for batch in order.split(batch_size) if len(batch) > 1]  # batch norm needs two
        state.network.train()
        total = torch.zeros((), device=device)
        for step, batch in enumerate(batches):
            left = 1 - (state.epochs + step / len(batches)) / epochs if decay else 1.0
            loss = F.cross_entropy(state.network(images[batch]), labels[batch])
            gradients = torch.autograd.grad(loss, state.parameters)
            with torch.no_grad():  # the functional form: torch.optim.SGD imports PyTorch's compiler (4 s)
                sgd(
                    state.parameters,
                    list(gradients),
                    state.momentum,
                    lr=lr * left,
                    momentum=momentum,
                    weight_decay=weight_decay,
                    dampening=0.0,
                    nesterov=False,
                    maximize=False,
                )
            total += loss.detach()
        mean = float(total) / len(batches)  # the only wait for the device in an epoch
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"the classifier's loss became {mean} in epoch {state.epochs + 1}: lower its lr")
        state.epochs += 1
        yield Fit(state.epochs, mean)


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the network's logits of uint8 images in eval mode, (N, classes) on the CPU."""
    check_images(images, network, only_bytes=True)
    with evaluating(network) as device:
        return torch.cat([network(batch.to(device)).cpu() for batch in images.split(batch_size)])


@torch.inference_mode()
def features_of(classifier: SmallClassifier, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the classifier's features h of uint8 images in eval mode, (N, 8·width) on the CPU.

    Raises:
        VaelibError: images that are not bytes, or of other channels than the classifier's.
    """
    check_images(images, classifier, only_bytes=True)
    with evaluating(classifier) as device:
        return torch.cat([classifier.features(batch.to(device)).cpu() for batch in images.split(batch_size)])
