"""FID and IS as published: by the features of torch-fidelity's Inception network, from a weights file that you give.

Nothing is downloaded and nothing unpickled: the file is safetensors, and its SHA-256 is compared with yours before it is
opened. torch-fidelity publishes the network of the FID papers as a pickle (``weights-inception-2015-12-05-6726825d.pth``):
where you trust it, read it once with PyTorch's weights-only unpickler and write it with ``safetensors.torch.save_file``.
"""

from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from .. import files, paths
from ..errors import VaelibError
from ..images import SIDE, check_images
from ..models.weights import load_weights
from ..modes import evaluating
from .quality import frechet_distance, inception_score

FEWEST = 2_048  # with fewer images than Inception's features their covariance is singular and FID means little


class InceptionQuality(NamedTuple):
    """The published scores, and what they stand on.

    Attributes:
        fid: smaller is better. It falls with ``images``: compare at equal numbers (the papers: 50,000 or 10,000).
        inception_score, inception_score_sd: mean and standard deviation over 10 splits.
        images: generated ones (and as many real).
    """

    fid: float
    inception_score: float
    inception_score_sd: float
    images: int


class Inception(nn.Module):
    """torch-fidelity's Inception with 2,048 features and 1,008 logits of uint8 images; grey ones become RGB."""

    def __init__(self, weights: dict[str, Tensor], source: object = "weights"):
        super().__init__()
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity

        # Its constructor downloads or unpickles weights; it gets none, and then those that were read safely.
        with (
            mock.patch.object(fidelity, "load_state_dict_from_url"),
            mock.patch.object(fidelity.FeatureExtractorInceptionV3, "load_state_dict"),
        ):
            self.network = fidelity.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])
        load_weights(self.network, weights, source)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 2048) and logits without bias (B, 1008)."""
        return self.network(images.expand(-1, 3, -1, -1))


def load_inception(path: str | Path, sha256: str) -> Inception:
    """Return Inception with the weights of a safetensors file whose SHA-256 is ``sha256``.

    Raises:
        VaelibError: no such file, another checksum (checked before the file is opened), another network's weights, or
            torch-fidelity missing.
    """
    path = paths.expanded(path)
    if not path.is_file():
        raise VaelibError(
            f"{path} is no file; Inception's weights are wanted there: see the head of vaelib/tasks/inception.py"
        )
    found = files.sha256(path)
    if found != sha256.lower():
        raise VaelibError(f"{path} has SHA-256 {found}, not {sha256}; nothing was loaded")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Inception(load_file(str(path)), str(path)).eval()
    except ImportError as error:
        raise VaelibError("FID and IS need torch-fidelity; run pip install 'vaelib[eval]'") from error
    except SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise VaelibError(f"{path} holds no weights of torch-fidelity's Inception ({reason})") from None


def _outputs(network: nn.Module, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    with evaluating(network) as device:
        found = [[part.cpu() for part in network(batch.to(device))] for batch in images.split(batch_size)]
    features, logits = map(torch.cat, zip(*found, strict=True))
    return features, logits


def inception_quality(
    network: nn.Module, real: Tensor, generated: Tensor, *, splits: int = 10, seed: int = 0, batch_size: int = 50
) -> InceptionQuality:
    """Return FID and IS of ``generated`` against ``real`` images.

    Arguments:
        network: :func:`load_inception`'s (or one that returns features and logits).
        real, generated: uint8 (N, C, 32, 32), 2,048 of each or more, as many of one as of the other.
        seed: of the splits.

    Raises:
        VaelibError: images that are not bytes, too few, or of unequal number.
    """
    for name, images in (("real", real), ("generated", generated)):
        check_images(images, side=SIDE, only_bytes=True, name=name)
    if len(real) != len(generated) or len(real) < FEWEST:
        raise VaelibError(
            f"{len(real):,} real and {len(generated):,} generated images: FID wants equal numbers of at least {FEWEST:,}; "
            "raise n_test and sample_images, or use proxy-FID"
        )
    features, logits = _outputs(network, generated, batch_size)
    fid = frechet_distance(_outputs(network, real, batch_size)[0], features)
    return InceptionQuality(fid, *inception_score(logits, splits, seed), len(generated))
