"""Records of what is measured on finished models: settings as in :mod:`vaelib.runs.settings`, one artifact each."""

from typing import ClassVar

from pydantic import Field, model_validator

from ..data.corruptions import CORRUPTIONS
from ..tasks.representation import FEWEST
from .settings import Artifact, Data, VAERun


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
