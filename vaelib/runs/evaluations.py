"""Records of what is measured on finished models: settings as in :mod:`vaelib.runs.settings`, one artifact each."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ..data.corruptions import CORRUPTIONS
from ..tasks.representation import FEWEST
from .settings import Artifact, Bank, Data, Gaps, LikelihoodName, Samples, VAERun

Gap = Literal["amortization", "robustness"]


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


class Plane(Artifact):
    """N points of the letter S of Fig. 1, and each training distribution fitted to them, against the known p_data."""

    kind: ClassVar[str] = "plane"
    points: int = Field(300, ge=10, description="N")
    images: int = Field(512_000, ge=1, description="training points the diffusion model sees")
    width: int = Field(64, ge=1, description="of its perceptron")
    batch_size: int = Field(128, ge=1)
    lr: float = Field(2e-3, gt=0)
    lr_decay: int = Field(100_000, ge=0, description="last points over which it falls to 0")
    ema_halflife: int = Field(20_000, ge=1)
    steps: int = Field(40, ge=2, description="Heun steps of its sampler")
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(20.0, gt=0)
    samples: int = Field(10_000, ge=100, description="of each distribution, for what is counted on samples")
    seed: int = 0


class Calibration(Artifact):
    """Repeated estimates of ELBO, ELBO*, log p(x), G_g and G_a where all are known (:mod:`vaelib.gaps.calibration`)."""

    kind: ClassVar[str] = "calibration"
    repetitions: int = Field(20, ge=2)
    images: int = Field(100, ge=10, description="fresh test images a repetition")
    train_images: int = Field(6, ge=1, description="that the encoder has seen")
    draws: int = Field(1_000, ge=1, description="k of IWAE")
    seed: int = 0


class Remark(Artifact):
    """E_p[ELBO] of several models beside -H(p) of several distributions with a known entropy (Remark B.5)."""

    kind: ClassVar[str] = "remark"
    images: int = Field(2_000, ge=10, description="samples of each distribution")
    seed: int = 0


class WorldBounds(Artifact):
    """Every bound on log p(x) of a random decoder's own images, whose latents are known (:func:`vaelib.gaps.certify`)."""

    kind: ClassVar[str] = "world_bounds"
    likelihood: LikelihoodName = "gaussian"
    sigma: float = Field(0.1, gt=0, description="of the Gaussian likelihood")
    latents: int = Field(3, ge=1)
    hidden: int = Field(16, ge=1)
    gain: float = Field(0.3, gt=0, description="standard deviation of the decoder's outputs")
    images: int = Field(16, ge=2)
    draws: int = Field(1_000, ge=1, description="k of IWAE")
    starts: int = Field(1, ge=1, description="climbs towards q* an image")
    chains: int = Field(4, ge=1)
    temperatures: int = Field(60, ge=2)
    steps: int = Field(1_000, ge=1, description="of a climb towards q*, at most")
    seed: int = 0


class Brackets(Artifact):
    """Every bound on log p(x) under a trained VAE: of test images, and of images that it generated itself."""

    kind: ClassVar[str] = "brackets"
    vae: VAERun
    images: int = Field(20, ge=2, description="of each of the two")
    draws: int = Field(5_000, ge=1, description="k of IWAE")
    starts: int = Field(2, ge=1, description="climbs towards q* an image")
    chains: int = Field(8, ge=1)
    temperatures: int = Field(100, ge=2)
    steps: int = Field(1_000, ge=1, description="of a climb towards q*, at most")
    seed: int = 0


class Remeasured(Gaps):
    """Gaps of a trained VAE at its last epoch under another protocol, and only those that the protocol touches."""

    kind: ClassVar[str] = "remeasured"
    variant: str = Field("", exclude=True, description="its row in the panel; not part of what it is")
    gaps: tuple[Gap, ...] = Field(("amortization", "robustness"), min_length=1)


class C2ST(Artifact):
    """A network that learns to tell samples from real images and is tested on others (App. D.3, whose values are default).

    It learns from real images *beside* D_train and is tested on D_test, so that a teacher has seen none of them. With
    ``images`` = 0, where too few are left beside D_train, it learns from D_train itself.
    """

    kind: ClassVar[str] = "c2st"
    data: Data
    bank: Bank | Samples | None = Field(None, description="None: two halves of real images, the control")
    images: int = Field(0, ge=0, description="real images beside D_train to learn from; 0: D_train")
    tested: int = Field(10_000, ge=1, description="held-out images of each kind")
    network: Literal["small", "resnet18"] = "resnet18"
    epochs: int = Field(14, ge=1)
    batch_size: int = Field(256, ge=2)
    lr: float = Field(1e-3, gt=0)
    decay: bool = Field(False, description="let lr fall linearly to 0")
    seed: int = 0


class Audit(Artifact):
    """A bank searched for copies, classified and scored against the data that its teacher learned from."""

    kind: ClassVar[str] = "audit"
    version: ClassVar[int] = 3  # a reference for leaning; precision and recall from one kind of distances
    data: Data
    bank: Bank | Samples
    classifier: Classifier
    images: int = Field(50_000, ge=2, description="of the bank, at most")
    seed: int = 0


class SampleElbo(Artifact):
    """The ELBO of a bank's samples under a VAE trained on real images, beside that of test images (cf. Fig. 13).

    A sharp and cheap measure of samples: an artefact of the sampler that no eye sees costs hundreds of nats.
    """

    kind: ClassVar[str] = "sample_elbo"
    vae: VAERun
    bank: Bank | Samples
    images: int = Field(2_000, ge=2, description="of each kind, at most")

    @model_validator(mode="after")
    def _judged_by_real_images(self) -> "SampleElbo":
        if self.vae.method != "normal":
            raise ValueError(f"samples are judged by normal training, not by method {self.vae.method}; give such a VAE")
        return self
