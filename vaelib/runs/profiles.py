"""Profiles: one ladder of budgets over the same code, from CI to a cluster, and what each data set fixes."""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import yaml
from pydantic import Field, PrivateAttr, create_model

from ..errors import VaelibError, unknown
from ..paths import from_here
from .settings import RHA, Bank, Gaps, LikelihoodName, Network, Settings, Teacher, VAERun, checked


class Protocol(NamedTuple):
    """What the paper fixes for a data set (Tables 2 and 3)."""

    likelihood: LikelihoodName
    attack_images: int
    attack_steps: int
    attack_radius: float
    binarize: bool = False


PROTOCOLS = {
    "binary_mnist": Protocol("bernoulli", 50, 50, 0.1, binarize=True),
    "fashion_mnist": Protocol("gaussian", 50, 50, 0.1),
    "cifar10": Protocol("mol", 20, 100, 0.05),
}


def protocol(dataset: str) -> Protocol:
    """Return a data set's protocol; own images are treated like FashionMNIST."""
    return PROTOCOLS.get(dataset, PROTOCOLS["fashion_mnist"])


Share = Annotated[float, Field(gt=0, le=1)]
Channels, Latents = Annotated[int, Field(ge=1, le=1024)], Annotated[int, Field(ge=1, le=64)]
TrainingVariant = Literal[
    "mean",
    "augment_probability",
    "residual_variant",
    "skip",
    "rgb",
    "rgb_zhang",
    "binarize_bank",
    "second_teacher",
    "third_teacher",
]
# The grids that the paper ran (read off Figs. 7 and 8).
MZ_GRID = (1, *range(2, 33, 2), *range(36, 65, 4))
NC_GRID = (1, 2, 4, 6, 8, 10, 16, 22, 32, 64, 128, 192, 256, 384, 448, 512)


PATHS = ("teacher_from", "bank_from")  # of the settings below


# Fields of records that settings fill: a setting is called as its field, after the prefix; range, default and description are
# the field's. `amp` is one setting for all three.
FILLS: tuple[tuple[type[Settings], str, str], ...] = (
    (Network, "", "latents hidden sigma mean mixtures rgb nc mz variant skip"),
    (VAERun, "", "epochs batch_size lr lr_decay amp augment_probability"),
    (RHA, "rha_", "source real_share"),
    (Teacher, "teacher_", "width images batch_size microbatch lr lr_rampup lr_decay ema_halflife dropout seed"),
    (Teacher, "", "amp"),
    (Bank, "", "sampler shard_size amp"),
    (Bank, "sampler_", "steps sigma_min sigma_max batch_size"),
    (Gaps, "", "amortization_samples amortization_steps amortization_lr"),
    (Gaps, "", "attack_restarts attack_gradient attack_start similarity reconstruction"),
)
FILLED = [(record, name, prefix + name) for record, prefix, names in FILLS for name in names.split()]
Filled = create_model(
    "Filled",
    __base__=Settings,
    **{setting: (record.model_fields[name].annotation, record.model_fields[name]) for record, name, setting in FILLED},
)


class Profile(Filled):
    """A budget: what :data:`FILLS` lists, and what decides which runs there are.

    Defaults are the paper's values; ``None`` means all images, or what Table 2 says of the data set.
    """

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    name: str = "paper"
    only_finished: bool = Field(False, description="show the runs that are in the store, make no others")
    seeds: int = Field(3, ge=1, description="VAEs a method; seeds 0, 1, ...")
    # data
    n_train: int | None = Field(None, ge=2)
    n_test: int | None = Field(None, ge=2)
    use_results: bool = Field(False, description="draw from what was shipped in results/<profile>; nothing is trained")
    source: str = Field("auto", description="which copy of the data set")
    # VAE
    architecture: Literal["auto", "fc", "residual"] = "auto"
    evaluations: int = Field(100, ge=1, description="points of the ELBO curves, evenly spaced")
    early_evaluations: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 5), description="more of them, where curves bend, if there are ten points or more"
    )
    gap_points: int = Field(10, ge=1, description="points of the G_a and G_r curves")
    # sweeps, on the residual network
    sweep_seeds: int = Field(1, ge=1, description="VAEs a point; the paper has one")
    latents_mz: int = Field(10, ge=1, le=64, description="Fig. 6: beside the base network's mz")
    mz_grid: tuple[Latents, ...] = Field(MZ_GRID, min_length=1, description="Fig. 7a, b, at nc")
    nc_grid: tuple[Channels, ...] = Field(NC_GRID, min_length=1, description="Fig. 7c, d, at each of nc_mz")
    nc_mz: tuple[Latents, ...] = Field((1, 2, 8, 64), min_length=1)
    k_grid: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 5, 10, 20, 50, 100, 250, 500, 750, 1000), min_length=1
    )
    real_shares: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Field(
        (0, 20, 40, 60, 80, 100), min_length=1, description="percent, Fig. 15"
    )
    teacher_fractions: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(
        (10, 30, 50, 70, 90, 100), min_length=1, description="percent of D_train, Fig. 16"
    )
    # teachers that remember
    memorisation_sizes: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        (1_000, 2_000, 4_000), min_length=1, description="N of teachers whose snapshots are sampled"
    )
    memorisation_seen: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (5_000_000, 10_000_000, 20_000_000, 40_000_000, 80_000_000), min_length=1, description="images seen by then"
    )
    ladder_bandwidths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.03, 0.1, 0.3), min_length=1, description="of kernel densities, in pixels in [0, 1]"
    )
    ladder_ends: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (2.0,), description="smallest σ of the exact denoiser's sampler, in pixels in [-1, 1]"
    )
    ladder_reach: float = Field(4.0, gt=0, description="half a patch of the local denoiser in pixels, at σ = 1")
    ladder_shift: int = Field(1, ge=0, description="pixels by which its patches may have moved")
    halves_sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (1_000, 5_000, 25_000), min_length=1, description="images of each of two disjoint halves"
    )
    halves_samples: int = Field(1_000, ge=2, description="that both teachers draw from the same noise")
    # teacher and bank
    teacher: Literal["small", "edm"] = "edm"
    teacher_from: str | None = Field(None, description="a teacher that others trained: a diffusers folder or a hub id")
    teacher_revision: str | None = Field(None, description="commit of that hub id")
    teacher_sha256: str | None = Field(None, description="of its weights")
    bank_from: str | None = Field(None, description="samples that others published, an .npz, in place of a teacher")
    k: int = Field(1000, ge=1, description="the bank holds k·n_train samples")
    binarize_bank: bool | None = Field(None, description="threshold the samples at 0.5; None: as the data are")
    # ground truth
    plane_points: tuple[Annotated[int, Field(ge=10)], ...] = Field(
        (100, 300, 1_000), min_length=1, description="N of the letter S, Fig. 1 and Table 1; drawn: the second"
    )
    plane_seeds: int = Field(5, ge=1)
    plane_images: int = Field(512_000, ge=1, description="training points that its diffusion model sees")
    plane_steps: int = Field(40, ge=2, description="Heun steps of its sampler")
    plane_samples: int = Field(10_000, ge=100, description="of each distribution")
    repetitions: int = Field(20, ge=2, description="of each estimate whose truth is known")
    world_images: int = Field(100, ge=10, description="test images a repetition")
    bracket_images: int = Field(100, ge=2, description="whose log p(x) is bracketed, of each kind")
    bracket_draws: int = Field(5_000, ge=1, description="k of IWAE in a bracket")
    bracket_temperatures: int = Field(200, ge=2)
    bracket_steps: int = Field(1_000, ge=1, description="of a climb towards q* in a bracket, at most")
    # gaps
    amortization_images: int | None = Field(None, ge=2)
    attack_images: int | None = Field(None, ge=2)
    attack_steps: int | None = Field(None, ge=1)
    attack_radius: float | None = Field(None, gt=0)
    # cheap alternatives: what each regulariser is tried with, tuned by validation images
    validation_images: int = Field(1_000, ge=2, description="real training images beside D_train, at most")
    weight_decay_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.1, 1, 10), min_length=1)
    dropout_grid: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.1, 0.3, 0.5), min_length=1)
    denoising_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.03, 0.1, 0.3), min_length=1)
    consistency_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.001, 0.03, 1), min_length=1)
    kl_warmup_grid: tuple[Share, ...] = Field((0.1, 0.5, 1), min_length=1)
    early_stopping_grid: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.02, 0.05, 0.1, 0.2, 0.5), min_length=1, description="share of the epochs; all of them cost less than one run"
    )
    refinement_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
        min_length=1,
        description="of gradient ascent on a test image's posterior, up to amortization_steps",
    )
    # downstream tasks
    path_pairs: int = Field(100, ge=2, description="test images between which latent paths are walked, in pairs")
    task_images: int | None = Field(None, ge=50, description="test images that are corrupted and classified")
    corruption_severity: int = Field(5, ge=1, le=5)
    sample_images: int | None = Field(
        None, ge=50, description="that each VAE generates, compared with as many of D_test"
    )
    inception_sha256: str = Field(
        "", description="of inception.safetensors in the data root: FID and IS beside proxies"
    )
    # samples: their quality, alone and beside real images
    classifier_images: int = Field(
        50_000, ge=2, description="labelled images the proxies' classifier learns from, at most"
    )
    classifier_seen: int = Field(1_000_000, ge=1, description="training images that it sees")
    # per-image memorisation
    memorisation_folds: int = Field(10, ge=2, description="K: each image is left out of one training set of K")
    memorisation_repeats: int = Field(1, ge=1, description="partitions into folds, each with a seed of its own")
    memorisation_methods: tuple[Literal["normal", "dmaapx"], ...] = Field(
        ("normal", "dmaapx"), min_length=1, description="dmaapx fits a diffusion model a fold"
    )
    memorisation_draws: int = Field(500, ge=2, description="k of IWAE")
    # sensitivity panel
    sensitivity_seeds: int | None = Field(None, ge=1, description="VAEs a method measured again; None: all")
    training_variants: tuple[TrainingVariant, ...] = Field(
        get_args(TrainingVariant), description="what is trained again, where it applies"
    )
    c2st_network: Literal["small", "resnet18"] = "resnet18"
    c2st_seeds: int = Field(5, ge=1, description="two-sample tests a teacher (Fig. 18)")
    c2st_images: int = Field(50_000, ge=2, description="of each kind that one learns from, at most")
    c2st_tested: int = Field(10_000, ge=2, description="of each kind that one is tested on, at most")
    c2st_epochs: int = Field(14, ge=1)
    c2st_batch_size: int = Field(256, ge=2)
    c2st_lr: float = Field(1e-3, gt=0)
    c2st_decay: bool = Field(False, description="let it fall linearly to 0")

    def changed(self, changes: Mapping[str, Any]) -> "Profile":
        """Return the profile with some settings changed."""
        return Profile(**self.model_dump() | dict(changes))._of(self._given)

    def _of(self, given: Mapping[str, Any]) -> "Profile":
        self._given.update(given)
        return self

    @property
    def given(self) -> list[str]:
        """Return the overrides that it was loaded with as :func:`parse_overrides` reads them, but for what decides no run."""
        return as_pairs({k: v for k, v in self._given.items() if k not in ("use_results", "only_finished")})

    def values(self, record: type[Settings], **given: Any) -> dict[str, Any]:
        """Return the values of a record's fields: those ``given``, and what fills it here (:data:`FILLS`)."""
        return {name: getattr(self, setting) for filled, name, setting in FILLED if filled is record} | given

    def attack(self, dataset: str) -> dict[str, Any]:
        """Return how many images are attacked, in how many steps and how far: Table 2's where the profile leaves it open."""
        table_2, names = protocol(dataset), ("attack_images", "attack_steps", "attack_radius")
        return {name: getattr(self, name) or getattr(table_2, name) for name in names}


def architecture(dataset: str, likelihood: str) -> Literal["fc", "residual"]:
    """Return the network of Table 3: fully connected for grey digits and clothes, else residual under mixtures."""
    grey = dataset in ("binary_mnist", "fashion_mnist")
    return "residual" if likelihood == "mol" and not grey else "fc"


@cache
def _budgets() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(Path(__file__).with_name("profiles.yaml").read_text(encoding="utf-8"))


def load_profile(
    name: str = "laptop", variant: str = "", overrides: Mapping[str, Any] | None = None, **usual: Any
) -> Profile:
    """Return the profile ``name`` with what differs for ``variant``, then what is ``usual`` for a study, then ``overrides``.

    A variant is a likelihood, a network, a notebook, or one of these and more, as in ``residual_cifar10``: what
    ``residual`` says holds unless ``residual_cifar10`` says otherwise.

    Raises:
        VaelibError: unknown profile, unknown setting, or a value out of range.
    """
    budgets = _budgets()
    if name not in budgets:
        raise unknown("profile =", name, budgets)
    values = {k: v for k, v in budgets[name].items() if not isinstance(v, dict)}
    for part in (variant.partition("_")[0], variant):
        values |= budgets[name].get(part) or {}
    asked = dict(overrides or {})
    return checked(Profile, {"name": name} | values | usual | asked, "a profile")._of(asked)


def parse_pairs(pairs: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Return ``["a=1", "b=x y"]`` as ``{"a": "1", "b": "x y"}``; raises VaelibError: an item without ``=``."""
    split = {pair: pair.partition("=") for pair in pairs}
    for pair, (name, equals, _) in split.items():
        if not (name.strip() and equals):
            raise VaelibError(f"{option} {pair}: write name=value, for example {option} {example}")
    return {name.strip(): value.strip() for name, _, value in split.values()}


def as_pairs(overrides: Mapping[str, Any]) -> list[str]:
    """Return overrides as :func:`parse_overrides` reads them.

    >>> as_pairs({"epochs": 20, "amp": False, "k_grid": [1, 2], "n_train": None})
    ['epochs=20', 'amp=false', 'k_grid=1,2', 'n_train=none']
    """

    def text(value: Any) -> str:
        if isinstance(value, list | tuple):
            return ",".join(map(text, value))
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)

    return [f"{name}={text(value)}" for name, value in overrides.items()]


def from_this_folder(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides with absolute paths: whoever reads them may work in another folder."""
    return {
        name: from_here(value) if name in PATHS and isinstance(value, str) else value
        for name, value in overrides.items()
    }


def _apart(text: str) -> list[str]:
    """Return the items of a text; a path that is there is one, though ``a b=c`` stand in its name."""
    name, _, value = text.partition("=")
    if name.strip() in PATHS and os.path.exists(from_here(value.strip())):
        return [text]
    return re.split(r"\s+(?=\w+=)", text)


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Return ``["epochs=20", "amp=false", "k_grid=1,2"]`` as ``{"epochs": 20, "amp": False, "k_grid": [1, 2]}``.

    An item may hold several, ``"epochs=20 k=1"``. A value is read by the type of its setting: ``010`` is ten, and a text
    stays the text that it is. Paths become absolute.

    Raises:
        VaelibError: an item without ``=``, an unknown setting, a value that is none of its kind or out of range.
    """
    each = [pair for text in pairs for pair in _apart(text.strip()) if pair]
    values: dict[str, Any] = dict(parse_pairs(each, "--set", "epochs=20"))
    for name, text in values.items():
        kinds = get_args(field.annotation) if (field := Profile.model_fields.get(name)) else ()
        if type(None) in kinds and text.lower() in ("null", "none", ""):
            values[name] = None
        elif Ellipsis in kinds:
            values[name] = [item.strip(" \"'") for item in text.strip("[]()").split(",") if item.strip()]
    read = checked(Profile, from_this_folder(values), "a profile").model_dump(include=set(values))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in read.items()}
