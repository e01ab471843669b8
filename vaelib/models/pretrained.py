r"""Teachers that others trained: noise-predicting DDPMs under EDM's preconditioning (Karras et al. 2022, Table 1, "VP").

A DDPM is a network ε(x̃, t) for x̃ = √ᾱ_t y + √(1 − ᾱ_t) n. In the notation of :mod:`~vaelib.models.denoiser`, x̃ = c_in x
with x = y + σ n, so

    D(x; σ) = x − σ ε(c_in x, t(σ)),   c_skip = 1,   c_out = −σ,   c_in = 1 / √(1 + σ²),   σ(t)² = (1 − ᾱ_t) / ᾱ_t

and t(σ) is linear in ln σ between the model's steps (it was trained at whole ones). Below the smallest σ(t), 0.01 for
DDPM's schedule, t stays 0; above the largest, 157, the last.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VaelibError
from ..images import SIDE
from ..precision import bf16_pays
from .weights import load_weights

CONFIG, WEIGHTS, SCHEDULE = "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"
AVERAGE = "unet_ema"  # as diffusers' training scripts name the moving average of the weights, which one samples from
# The parametrisation above, and nothing else: what is not named here may mean something else by the same numbers.
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # of diffusers before 0.17


def noise_scale(alphas_cumprod: Tensor) -> Tensor:
    """Return σ(t) = √((1 − ᾱ_t) / ᾱ_t), float64, rising."""
    kept = alphas_cumprod.double()
    return ((1 - kept) / kept).sqrt()


class VPDenoiser(nn.Module):
    """D(x; σ) around ``network(inputs, t)``, which predicts the noise; ``sigmas`` are σ(0), σ(1), ... of its schedule.

    ``amp`` runs the network in bfloat16 where the hardware multiplies it, as in :class:`~vaelib.models.denoiser.EDMDenoiser`.
    """

    def __init__(self, network: nn.Module, sigmas: Tensor, *, amp: bool = False):
        super().__init__()
        self.network, self.amp = network, amp
        self.register_buffer("log_sigmas", sigmas.double().log(), persistent=False)

    def time(self, sigma: Tensor) -> Tensor:
        """Return t(σ), float32 and in general no whole number, of σ's shape."""
        level = sigma.double().log()
        after = torch.searchsorted(self.log_sigmas, level).clamp(1, len(self.log_sigmas) - 1)
        low, high = self.log_sigmas[after - 1], self.log_sigmas[after]
        return (after - 1 + ((level - low) / (high - low)).clamp(0, 1)).float()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return E[y | x], shape (B, C, H, W), for noisy images x = y + σn with y in [-1, 1]; σ has shape (B,)."""
        scale = sigma.view(-1, 1, 1, 1)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.amp and bf16_pays(x.device.type)):
            noise = self.network((1 + scale.square()).rsqrt() * x, self.time(sigma))
        return x - scale * noise.to(x.dtype)


class NoisePredictor(nn.Module):
    """A ``diffusers.UNet2DModel`` that takes and returns plain tensors."""

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        return self.unet(inputs, t, return_dict=False)[0]


def network_folder(folder: Path) -> Path:
    """Return where the network of a diffusers model or pipeline lies; its ``unet_ema`` goes before its ``unet``."""
    return next((folder / name for name in (AVERAGE, "unet") if (folder / name / CONFIG).is_file()), folder)


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files of a diffusers model or pipeline: network, weights and, if there is one, the noise schedule.

    A pipeline's ``unet`` or ``unet_ema``, named itself, keeps the pipeline's schedule.

    Raises:
        VaelibError: no such folder, no network, or weights that would have to be unpickled.
    """
    inside = network_folder(folder)
    files = {CONFIG: inside / CONFIG, WEIGHTS: inside / WEIGHTS}
    if not files[CONFIG].is_file():
        raise VaelibError(f"{folder} holds no diffusers model: {CONFIG} is missing; give a folder of save_pretrained")
    if not files[WEIGHTS].is_file():
        pickled = ", ".join(sorted(p.name for p in inside.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt")))
        why = f"its {pickled} would have to be unpickled, which may run code; " if pickled else ""
        raise VaelibError(f"{inside} holds no {WEIGHTS}; {why}save the model with safe_serialization=True")
    places = [
        folder / "scheduler",
        folder,
        *([folder.parent / "scheduler"] if folder.name in (AVERAGE, "unet") else []),
    ]
    schedules = [place / SCHEDULE for place in places if (place / SCHEDULE).is_file()]
    return files | ({SCHEDULE: schedules[0]} if schedules else {})


def model_shape(folder: Path) -> str:
    """Return a hash of a model's configuration and schedule: all that names it beside its weights."""
    files = model_files(folder)
    content = b"".join(files[name].read_bytes() for name in (CONFIG, SCHEDULE) if name in files)
    return hashlib.sha256(content).hexdigest()[:20]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise VaelibError(f"{path} is not a readable configuration ({error}); fetch it again") from None


def check_model(folder: Path, channels: int) -> None:
    """Raise VaelibError unless ``folder`` holds an unconditional noise predictor of 32×32 images with ``channels``."""
    files = model_files(folder)
    config = _read(files[CONFIG])
    found = (config.get("sample_size"), config.get("in_channels"), config.get("out_channels"))
    if config.get("_class_name") != "UNet2DModel" or config.get("num_class_embeds") or config.get("class_embed_type"):
        raise VaelibError(
            f"{folder}: {config.get('_class_name')} is no unconditional UNet2DModel; choose another model"
        )
    if found not in ((SIDE, channels, channels), ([SIDE, SIDE], channels, channels)):
        raise VaelibError(
            f"{folder}: images of size {found[0]} with {found[1]} channels in and {found[2]} out; the data set has "
            f"{channels} at 32x32: choose another model"
        )
    _check_parametrisation(folder, files)


def _check_parametrisation(folder: Path, files: dict[str, Path]) -> None:
    """Raise VaelibError unless a model is known to be the noise predictor that :class:`VPDenoiser` makes of it."""
    config, schedule = _read(files[CONFIG]), _read(files[SCHEDULE]) if SCHEDULE in files else {}
    facts: list[tuple[str, Any, tuple]] = [
        ("time_embedding_type", config.get("time_embedding_type", "positional"), ("positional",)),
        ("center_input_sample", config.get("center_input_sample", False), (False,)),
    ]
    if SCHEDULE in files:
        facts += [
            ("prediction_type", schedule.get("prediction_type", "epsilon"), ("epsilon",)),
            ("scheduler", schedule.get("_class_name"), SCHEDULERS),
            ("beta_schedule", schedule.get("beta_schedule", "linear"), BETAS),
        ]
    for name, found, allowed in facts:
        if found not in allowed:
            raise VaelibError(
                f"{folder}: its {name} is {found}, and only {' or '.join(map(str, allowed))} is read as a model that "
                "predicts DDPM's noise; choose another model"
            )


def load_pretrained(folder: Path) -> VPDenoiser:
    """Return the denoiser of a diffusers folder; without a schedule beside it, DDPM's (β from 1e-4 to 0.02) is taken.

    Raises:
        VaelibError: a damaged or foreign file, another parametrisation, or weights that are not the network's, all of
            them and no others; nothing is unpickled.
    """
    from diffusers import DDPMScheduler, UNet2DModel
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = model_files(folder)
    _check_parametrisation(folder, files)
    schedule = DDPMScheduler.from_config(_read(files[SCHEDULE])) if SCHEDULE in files else DDPMScheduler()
    sigmas = noise_scale(schedule.alphas_cumprod)
    if not sigmas.isfinite().all():
        raise VaelibError(f"{folder}: its schedule ends in noise alone, at which no noise can be predicted")
    try:
        with torch.random.fork_rng(devices=[]):  # which the network's first, unused weights are drawn from
            unet = UNet2DModel.from_config(_read(files[CONFIG]))
        tensors = load_file(str(files[WEIGHTS]))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VaelibError(f"{folder} is not a readable diffusers model ({reason}); fetch it again") from None
    # Not from_pretrained: it draws what is missing, skips what it does not know, and both only in a log.
    load_weights(unet, {_new_name(name): tensor for name, tensor in tensors.items()}, files[WEIGHTS])
    return VPDenoiser(NoisePredictor(unet), sigmas).eval()


def _new_name(name: str) -> str:
    """Return what diffusers calls a weight today."""
    return ".".join(OLD_NAMES.get(part, part) for part in name.split("."))
