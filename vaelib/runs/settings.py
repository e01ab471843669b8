"""Settings: frozen, strict, and the whole identity of everything that is made.

Each artifact (data set, teacher, bank, VAE, gaps) has one record here. A record holds the records it is made from, so
its :attr:`~Artifact.key` (a hash of its settings) names the whole history. Defaults are the paper's values; a
misspelt name is an error.
"""

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from ..errors import VaelibError, hint
from ..models import Likelihood, build_likelihood
from ..models.vae import SMALLEST_SIGMA

Method = Literal["normal", "dmaapx", "aug_tuned", "aug_naive", "held_out"]
LikelihoodName = Literal["bernoulli", "gaussian", "mol"]


class Settings(BaseModel):
    """A frozen record that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def only(self, names: str, prefix: str = "") -> dict[str, Any]:
        """Return some fields as keyword arguments, by their ``names`` without the prefix."""
        return {name: getattr(self, prefix + name) for name in names.split()}


class Artifact(Settings):
    """Settings of something kept in the store.

    Attributes:
        kind: its folder in the store.
        version: raised by hand when the code's results for equal settings change; a property where a change touches only
            some of a class's artifacts, so that the others keep their keys.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def key(self) -> str:
        """Return the hash of kind, version, upstream keys and all settings that differ from their defaults.

        So a setting added later, whose default is what the code did before, makes nothing anew.
        """
        above = {name: _keys_of(value) for name, value in self if _artifacts(value)}
        own = self.model_dump(mode="json", exclude_defaults=True, exclude=set(above))
        content = json.dumps([self.kind, self.version, own, above], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:20]

    def upstream(self) -> list["Artifact"]:
        """Return the artifacts this one is made from."""
        return [one for _, value in self for one in _artifacts(value)]


def _artifacts(value: Any) -> list[Artifact]:
    """Return the artifacts that a field holds: one, several in a tuple, or none."""
    several = value if isinstance(value, tuple) else (value,)
    return [one for one in several if isinstance(one, Artifact)]


def _keys_of(value: Any) -> str | list[str]:
    keys = [one.key for one in _artifacts(value)]
    return keys if isinstance(value, tuple) else keys[0]


class Data(Artifact):
    """A prepared data set: uint8 train and test images of 32×32, one memory-mappable file a split.

    Made by :func:`vaelib.runs.stages.resolve_data`, which looks at the images and fills in what they are: ``digest``
    hashes them, so other bytes (a lossy copy, a part of a test set) are another artifact and never mistaken for these.
    """

    kind: ClassVar[str] = "data"
    name: str = Field(description="of one's own images: their tag, see vaelib.data.identity")
    path: str | None = Field(None, exclude=True, description="where one's own lie; not part of what they are")
    n_train: int = Field(ge=1)
    n_test: int = Field(ge=1)
    seed: int = 0
    source: str = "auto"
    label: str = Field(description="what the images are, for every figure's footer")
    channels: int = Field(1, ge=1)
    digest: str

    @property
    def place(self) -> str:
        """Return what :func:`vaelib.data.load_dataset` knows the images by: a name or a path."""
        return self.path or self.name


def _of_its_kind(value: Any) -> Any:
    """Return what a manifest says of a data set as the subclass of :class:`Data` whose fields these are."""
    if isinstance(value, dict):
        for kind in Data.__subclasses__():
            if set(value) - set(Data.model_fields) and set(value) <= set(kind.model_fields):
                return kind(**value)
    return value


# A field that may hold a subclass of Data, such as a fold, which the manifest then names in full.
AnyData = Annotated[SerializeAsAny[Data], BeforeValidator(_of_its_kind)]


class HeldOut(Artifact):
    """Real training images beside D_train: the control for synthetic data, where some are left (Sec. 5.4's question)."""

    kind: ClassVar[str] = "held_out"
    data: AnyData
    size: int = Field(ge=1)


class Network(Settings):
    """The VAE's architecture and likelihood (Appendix B.1)."""

    architecture: Literal["fc", "residual"] = "fc"
    latents: int = Field(16, ge=1, description="d_z of the fully connected network")
    hidden: int = Field(512, ge=1, description="width of the fully connected network")
    nc: int = Field(256, ge=1, le=1024, description="internal channels of the residual network")
    mz: int = Field(1, ge=1, le=64, description="latent channels of the residual network on its 8×8 grid: d_z = 64 mz")
    variant: str = Field("fig8", description="the residual network as Fig. 8 proves it, or as a table prints it")
    skip: Literal["relu", "identity"] = "relu"
    rgb: Literal["pixelcnnpp", "per_channel", "zhang2022"] = Field("pixelcnnpp", description="of the mixture")
    likelihood: LikelihoodName = "gaussian"
    sigma: float = Field(0.03, gt=0, description="of the Gaussian likelihood")
    mean: Literal["sigmoid", "linear"] = Field("sigmoid", description="of the Gaussian, from the decoder's output")
    mixtures: int = Field(10, ge=1, description="of the mixture of logistics")

    def pixels(self) -> Likelihood:
        """Return the likelihood of a pixel that the decoder's outputs are parameters of."""
        options = {"gaussian": ("sigma", "mean"), "mol": ("mixtures", "rgb")}.get(self.likelihood, ())
        return build_likelihood(self.likelihood, **{name: getattr(self, name) for name in options})


class Teacher(Artifact):
    """A diffusion model fitted to D_train (Appendix D; EDM's settings for CIFAR-10 without augmentation)."""

    kind: ClassVar[str] = "teacher"
    data: AnyData
    share: float = Field(1.0, gt=0, le=1, description="of D_train, stratified (Appendix B.8)")
    rest: bool = Field(False, description="in place of the share, what it leaves out")
    network: Literal["small", "edm"] = "edm"
    width: int = Field(128, ge=8)
    dropout: float = Field(0.13, ge=0, lt=1)
    images: int = Field(200_000_000, ge=1, description="training images seen")
    batch_size: int = Field(512, ge=1)
    microbatch: int | None = Field(None, ge=1, description="images in a pass, which torchrun shares out; None: all")
    lr: float = Field(1e-3, gt=0)
    lr_rampup: int = Field(10_000_000, ge=0, description="images over which the learning rate rises")
    lr_decay: int = Field(0, ge=0, description="last images over which it falls to 0")
    ema_halflife: int = Field(500_000, ge=1, description="images")
    snapshots: tuple[int, ...] = Field((), description="images after which weights are kept too, beside the last")
    amp: bool = True
    seed: int = 0

    @property
    def channels(self) -> int:
        """Return the channels of its images."""
        return self.data.channels

    @model_validator(mode="after")
    def _has_images_and_keeps_weights(self) -> "Teacher":
        if self.rest and self.share == 1:
            raise ValueError("rest = True leaves a teacher of a share of 1 without images; give a smaller share")
        if any(seen % self.batch_size or not 0 < seen < self.images for seen in self.snapshots):
            raise ValueError(
                f"snapshots = {list(self.snapshots)}: take multiples of batch_size = {self.batch_size} below {self.images}"
            )
        return self


class Exact(Artifact):
    """A teacher without a network: the exact denoiser of training images, whole or in patches (:mod:`vaelib.models.exact`)."""

    kind: ClassVar[str] = "exact"
    data: AnyData
    bandwidth: float = Field(0.0, ge=0, description="of a kernel density, in pixels in [0, 1]; 0: the images alone")
    reach: float | None = Field(None, gt=0, description="half a patch in pixels at σ = 1; None: whole images")
    shift: int = Field(0, ge=0, description="pixels by which a patch may have moved")

    @property
    def channels(self) -> int:
        """Return the channels of its images."""
        return self.data.channels

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "Exact":
        if (self.bandwidth and self.reach) or (self.shift and not self.reach):
            raise ValueError("patches have no bandwidth, and whole images no shift; give either a bandwidth or a reach")
        return self


class Pretrained(Artifact):
    """A diffusion model that others trained, named by the checksum of its weights; see :mod:`vaelib.runs.external`."""

    kind: ClassVar[str] = "pretrained"
    model: str = Field(description="a hub id, or the name of a folder")
    folder: str | None = Field(None, exclude=True, description="where it lies; not part of what it is")
    revision: str | None = Field(None, description="of a hub id: the commit")
    sha256: str = Field(description="of the weights")
    shape: str = Field("", description="of a folder: hash of its configuration and schedule")
    channels: int = Field(3, ge=1)


class Samples(Artifact):
    """k·N images drawn by seed from a sample set that others published; see :mod:`vaelib.samplers.published`."""

    kind: ClassVar[str] = "samples"
    name: str
    path: str = Field(exclude=True, description="where it lies; not part of what it is")
    digest: str
    size: int = Field(ge=1)
    channels: int = Field(3, ge=1)
    binarize: bool = False
    seed: int = 0


class Bank(Artifact):
    """k·N samples of a teacher: one seed an image, in shards."""

    kind: ClassVar[str] = "bank"
    teacher: Teacher | Pretrained | Exact
    snapshot: int | None = Field(None, description="the teacher as it was after so many images; None: at the end")
    size: int = Field(500_000, ge=1)
    sampler: Literal["heun", "dpmpp_2m"] = Field(
        "heun", description="2·steps - 1 or steps network evaluations an image"
    )
    steps: int = Field(18, ge=2)
    sigma_min: float = Field(0.002, gt=0)
    sigma_max: float = Field(80.0, gt=0)
    binarize: bool = False
    shard_size: int = Field(5_000, ge=1)
    batch_size: int = Field(100, ge=1, description="part of an image's identity: kernels round by batch size")
    amp: bool = True
    seed: int = 0

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-self.size // self.shard_size)

    @model_validator(mode="after")
    def _has_its_teacher(self) -> "Bank":
        kept = self.teacher.snapshots if isinstance(self.teacher, Teacher) else ()
        if self.snapshot is not None and self.snapshot not in kept:
            raise ValueError(f"snapshot = {self.snapshot}: the teacher keeps weights at {list(kept)} and at the end")
        return self


class Regularisation(Settings):
    """Cheap remedies against overfitting, all off by default; see :mod:`vaelib.training.regularise`."""

    weight_decay: float = Field(0.0, ge=0, description="decoupled: a step shrinks weights by this times lr")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of hidden units that a step switches off")
    denoising: float = Field(0.0, ge=0, description="standard deviation of the noise on what the encoder sees")
    consistency: float = Field(0.0, ge=0, description="weight of KL(q(z|x') ‖ q(z|x)) for a transformed x'")
    kl_warmup: float = Field(0.0, ge=0, le=1, description="share of the epochs in which the KL's weight rises to 1")


class VAERun(Artifact):
    """One VAE trained by one method with one seed; weights are kept at ``snapshots``, ELBOs at ``evaluations``."""

    kind: ClassVar[str] = "vae"
    data: AnyData
    network: Network = Network()
    method: Method = "normal"
    bank: Bank | Samples | None = Field(
        None, description="samples of p_DM: dmaapx trains on them, real_share mixes them in"
    )
    k: int | None = Field(
        None, ge=1, description="use only the first k·N of the bank or the held-out images; None: all"
    )
    real_share: float | None = Field(None, ge=0, le=1, description="of real images, the rest is synthetic (Fig. 15)")
    held_out: HeldOut | None = Field(None, description="the real images that held_out trains on")
    mollify: Literal["none", "sigmoid"] = Field("none", description="noise that falls over the first half (Fig. 14)")
    augment_probability: float = Field(0.12, ge=0, le=1, description="b of Appendix E")
    regularisation: Regularisation = Regularisation()
    epochs: int = Field(1000, ge=1, description="effective epochs")
    batch_size: int = Field(64, ge=1)
    lr: float = Field(1e-3, gt=0)
    lr_decay: float = Field(0.0, ge=0, le=1, description="share of the epochs, the last, in which lr falls to 0")
    amp: bool = True
    evaluations: tuple[int, ...] = (1000,)
    snapshots: tuple[int, ...] = (1000,)
    seed: int = 0

    @property
    def version(self) -> int:
        """Return 1, and 1 more for each change of the code that touches this run's results."""
        bounded = self.network.likelihood == "gaussian" and self.network.mean == "sigmoid"  # it was linear
        augmented = self.method.startswith("aug_")  # resampling, borders and translations are EDM's now
        few = self.batch_size > self.data.n_train  # some epochs took no step
        consistent = self.regularisation.consistency > 0  # its transformed images were rounded to bfloat16
        noisy = self.mollify != "none" and self.seed > 0  # all seeds had the noise of seed 0
        unbounded = self.mollify != "none" and self.network.likelihood == "bernoulli"  # was not clipped
        n = self.data.n_train
        uneven = self.real_share is not None and n > 500 and n % 500 > 0  # its own images had another share
        return 1 + bounded + augmented + few + consistent + noisy + unbounded + uneven

    @model_validator(mode="after")
    def _has_its_images(self) -> "VAERun":
        if (self.method == "dmaapx" or self.real_share is not None) != (self.bank is not None):
            raise ValueError("a bank of samples goes with method dmaapx or with a real_share, and with nothing else")
        if self.real_share is not None and self.method in ("dmaapx", "held_out"):
            raise ValueError("real_share mixes samples into normal training or an augmentation; choose such a method")
        if (self.method == "held_out") != (self.held_out is not None):
            raise ValueError("held-out images go with method held_out, and with no other")
        if self.mollify != "none" and self.regularisation.consistency:
            raise ValueError("consistency transforms images in [0, 1], and mollify gives others; choose one of the two")
        for name, pool in (("bank", self.bank), ("held-out set", self.held_out)):
            if pool and (self.k or 0) * self.data.n_train > pool.size:
                raise ValueError(f"k is at most {pool.size // self.data.n_train} for a {name} of {pool.size:,}")
        return self


class RHA(Artifact):
    """Reverse Half Asleep (Zhang et al. 2022; Fig. 5): freeze a VAE's decoder, go on training its encoder.

    Batches hold real images of the VAE's own training distribution and samples of its decoder.
    """

    kind: ClassVar[str] = "rha"
    vae: VAERun
    start: int = Field(500, ge=1, description="the epoch from which the decoder is frozen: a snapshot of the VAE")
    epochs: int = Field(1000, ge=1, description="effective epochs in all, those before the start included")
    source: Literal["posterior", "prior"] = Field("posterior", description="where the samples' latents come from")
    real_share: float = Field(0.5, ge=0, le=1, description="of real images in a batch")
    evaluations: tuple[int, ...] = (1000,)
    seed: int = 0

    @property
    def version(self) -> int:
        """Return 2 for a VAE of a mixture, whose real images alone were kept; else 1."""
        return 1 + (self.vae.real_share is not None)

    @model_validator(mode="after")
    def _has_its_decoder(self) -> "RHA":
        if self.start not in self.vae.snapshots:
            kept = ", ".join(map(str, self.vae.snapshots))
            raise ValueError(f"start = {self.start} has no decoder checkpoint; the VAE keeps weights at {kept}")
        if self.epochs <= self.start:
            raise ValueError(f"epochs = {self.epochs} leaves no epoch after start = {self.start}")
        if self.vae.regularisation != Regularisation():
            raise ValueError(
                "Reverse Half Asleep trains the encoder by the ELBO alone; give a VAE without regularisation"
            )
        return self


class Gaps(Artifact):
    """The amortization and robustness gaps of one VAE at its snapshots (Eqs. 4 and 5, Table 2)."""

    kind: ClassVar[str] = "gaps"
    version: ClassVar[int] = 3  # the attack's start as published; G_a of all test images, by regression
    vae: VAERun
    amortization_images: int | None = Field(None, ge=2, description="test images that get their own q*; None: all")
    amortization_samples: int = Field(2, ge=1)
    amortization_steps: int = Field(1000, ge=1, description="at most")
    amortization_lr: float = Field(0.1, gt=0)
    amortization_starts: int = Field(1, ge=1, description="climbs an image: one from the encoder's output")
    attack_images: int = Field(50, ge=2, description="n_r; one has no standard error")
    attack_restarts: int = Field(10, ge=1, description="n_a")
    attack_steps: int = Field(50, ge=1)
    attack_radius: float = Field(0.1, gt=0, description="δ")
    attack_lr: float = Field(1.0, gt=0, description="η")
    attack_gradient: Literal["raw", "sign"] = "raw"
    attack_start: Literal["kuzina2022", "projected"] = Field(
        "kuzina2022", description="where the first gradient is taken"
    )
    sigma_floor: float = Field(SMALLEST_SIGMA, ge=1e-10, description="the smallest σ that the encoder may give")
    similarity: Literal["kuzina2022", "kuzina2022_fixed", "wang2003_upsampled"] = "kuzina2022"
    reconstruction: Literal["sample", "mean"] = "sample"
    seed: int = 0

    def attack(self) -> dict[str, Any]:
        """Return what :func:`~vaelib.gaps.attack_encoder` takes of an attack."""
        return self.only("restarts steps radius lr gradient start", "attack_")


def checked(model: type[Settings], values: dict[str, Any], what: str) -> Any:
    """Return ``model(**values)``; raises VaelibError in one line: each setting, what is wrong, the nearest allowed name."""
    try:
        return model(**values)
    except ValidationError as error:
        found, lines, allowed = error.errors(), [], sorted(model.model_fields)
    for item in found:
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            cure = hint(name, allowed) or f"; allowed: {', '.join(allowed)}"
            lines.append(f"{name} is not a setting of {what}{cure}")
        elif name:
            lines.append(f"{name} = {item['input']!r}: {item['msg'].lower()}")
        else:  # a rule about several settings
            lines.append(f"{what}: {item['msg'].removeprefix('Value error, ')}")
    raise VaelibError("; ".join(lines))
