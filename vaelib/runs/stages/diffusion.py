"""The teacher and its bank of samples (Appendix D)."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ... import files, rng
from ...data.splits import stratified
from ...images import SIDE
from ...models.denoiser import EDMDenoiser, build_denoiser, edm_loss
from ...models.exact import KernelDenoiser, PatchDenoiser
from ...models.pretrained import load_pretrained
from ...models.weights import load_weights
from ...modes import compile_in_place, evaluating
from ...precision import bf16_pays, hold_in_bfloat16
from ...samplers.bank import fill_bank, network_calls
from ...training.diffusion import DiffusionState, train_denoiser
from ..cost.work import KERNELS, PASSES, PIXELS, Work, teacher_macs, teacher_parameters
from ..kinds import makes
from ..settings import Bank, Exact, Pretrained, Teacher
from ..store import Store, load_tensor, load_tensors, save_tensors
from .context import Context


def build_teacher(settings: Teacher) -> EDMDenoiser:
    """Return the teacher's untrained network; its weights are a function of the seed."""
    small = {
        # A U-Net for a laptop: it sees 2×2 blocks of pixels as channels, so its widest level has 16×16 positions.
        # At equal time on one core it reached a lower loss than one on 4×4 blocks, which is twice as fast a step.
        "multipliers": (1, 2, 2),
        "blocks": 1,
        "attention": (),
        "space_to_depth": 2,
        "norm_groups": max(1, settings.width // 16),
    }
    shape: dict[str, Any] = small if settings.network == "small" else {}
    with rng.seeded(settings.seed, "teacher"):
        return build_denoiser(
            settings.data.channels, width=settings.width, dropout=settings.dropout, amp=settings.amp, **shape
        )


def _training_images(settings: Teacher, context: Context) -> Tensor:
    """Return the share of D_train that the teacher sees, uint8."""
    images = context.split(settings.data, "train")
    if settings.share == 1:
        return images
    labels = context.split(settings.data, "train_labels").cpu().numpy()
    chosen = stratified(labels, max(1, round(settings.share * len(images))), settings.data.seed, "teacher's share")
    if settings.rest:
        chosen = np.setdiff1d(np.arange(len(images)), chosen)
    return images[torch.from_numpy(chosen).to(images.device)]


def compile_to_train(denoiser: EDMDenoiser, y: Tensor) -> bool:
    """Compile a network for passes of as many images as ``y`` has, forward and backward; say whether that worked."""

    def step() -> None:
        edm_loss(denoiser, y, y[:, 0, 0, 0] + 1, y).mean().backward()

    done = compile_in_place(denoiser.network, step)
    denoiser.zero_grad(set_to_none=True)
    return done


def teacher_work(teacher: Teacher) -> Work:
    passes = math.ceil(teacher.batch_size / (teacher.microbatch or teacher.batch_size))
    kernels = PASSES * passes * teacher.images / teacher.batch_size * KERNELS[teacher.network]
    return Work(training=6 * teacher_macs(teacher) * teacher.images, kernels=kernels)


@makes(
    Teacher,
    work=teacher_work,
    size=lambda teacher: 4 * teacher_parameters(teacher) * (1 + len(teacher.snapshots)),
)
def make_teacher(settings: Teacher, context: Context) -> None:
    """Train the denoiser; keep the moving average of its weights."""
    denoiser = build_teacher(settings).to(context.device)
    state = DiffusionState(denoiser)
    losses: list[list[float]] = []
    if (saved := context.resume()) is not None:
        state.load(*saved)
        losses = saved[1]["losses"]
    if compiles(settings, context):
        batch = min(settings.microbatch or settings.batch_size, settings.batch_size)
        denoiser.amp = settings.amp
        compile_to_train(denoiser, torch.zeros(batch, settings.channels, SIDE, SIDE, device=context.device))
    loop = train_denoiser(
        denoiser,
        _training_images(settings, context),
        n_images=settings.images,
        state=state,
        device=context.device,
        stops=settings.snapshots,
        **settings.only("batch_size microbatch lr lr_rampup lr_decay ema_halflife seed amp"),
    )
    for images, loss in loop:
        losses.append([images, loss])
        if images in settings.snapshots and context.lead:
            save_tensors(context.folder / f"weights-{images}.safetensors", state.average.state_dict())
        context.checkpoint(lambda: (state.tensors(), state.meta() | {"losses": losses}))
        context.report(images / settings.images, f"loss {loss:.3f}")
    if not context.lead:
        return
    save_tensors(context.folder / "weights.safetensors", state.average.state_dict())
    files.write_json(context.folder / "losses.json", losses)


def compiles(teacher: Teacher | Pretrained | Exact, context: Context) -> bool:
    """Return whether a teacher's network is compiled: EDM's on a GPU, where the minute that it takes is soon regained."""
    return context.device.type == "cuda" and isinstance(teacher, Teacher) and teacher.network == "edm"


@makes(Exact, size=lambda exact: exact.data.n_train * PIXELS * exact.channels, gpu=False)
def make_exact(settings: Exact, context: Context) -> None:
    """Keep the images that it remembers: they are all that there is to it."""
    files.write_array(context.folder / "images.npy", context.split(settings.data, "train").cpu().numpy())


def load_teacher(
    settings: Teacher | Pretrained | Exact, store: Store, device: torch.device, snapshot: int | None = None
) -> nn.Module:
    """Return a denoiser, ready to sample (of a teacher of ours: the moving average of its weights, at a ``snapshot``)."""
    if isinstance(settings, Pretrained):
        return load_pretrained(store.require(settings)).to(device)
    if isinstance(settings, Exact):
        images = load_tensor(store.require(settings) / "images.npy").to(device) / 127.5 - 1
        if settings.reach is None:
            return KernelDenoiser(images, 2 * settings.bandwidth)  # of pixels in [-1, 1]
        return PatchDenoiser(images, settings.reach, settings.shift)
    denoiser = build_teacher(settings)
    path = store.require(settings) / ("weights.safetensors" if snapshot is None else f"weights-{snapshot}.safetensors")
    load_weights(denoiser, load_tensors(path)[0], path)
    return denoiser.to(device).eval()


def fill_shards(settings: Bank, context: Context, shards: list[int]) -> None:
    """Sample some of the bank's shards; those already there are kept."""
    teacher = load_teacher(settings.teacher, context.store, context.device, settings.snapshot)
    teacher.amp = settings.amp
    if settings.amp and bf16_pays(context.device.type):
        hold_in_bfloat16(teacher)
    if compiles(settings.teacher, context):
        x = torch.zeros(settings.batch_size, settings.teacher.channels, SIDE, SIDE, device=context.device)
        with evaluating(teacher):
            compile_in_place(teacher.network, lambda: teacher(x, x[:, 0, 0, 0] + 1))
    total = min(settings.size, len(shards) * settings.shard_size)
    for done in fill_bank(
        context.folder,
        teacher,
        settings.size,
        shards=shards,
        channels=settings.teacher.channels,
        device=context.device,
        **settings.only("shard_size seed sampler steps sigma_min sigma_max batch_size binarize"),
    ):
        context.report(done / total, f"{done:,} images")


def bank_work(bank: Bank) -> Work:
    calls = network_calls(bank.sampler, bank.steps)
    network = bank.teacher.network if isinstance(bank.teacher, Teacher) else "edm"
    kernels = 0 if isinstance(bank.teacher, Exact) else calls * bank.size / bank.batch_size * KERNELS[network]
    return Work(sampling=2.0 * teacher_macs(bank.teacher) * bank.size * calls, kernels=kernels)


@makes(Bank, work=bank_work, size=lambda bank: bank.size * PIXELS * bank.teacher.channels)
def make_bank(settings: Bank, context: Context) -> None:
    """Fill whatever shards are missing."""
    fill_shards(settings, context, list(range(settings.shards)))
