"""Print one table, ratios from one run, and write it as JSON to ``build/benchmarks.json``.

Everything runs on one thread: the engine gives each run a core of its own.
"""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch

from vaelib import files, gaps, paths
from vaelib.data import NAIVE
from vaelib.models import FullyConnectedVAE, build_likelihood
from vaelib.models.denoiser import build_denoiser
from vaelib.progress import track
from vaelib.runs.store import provenance
from vaelib.samplers.bank import sample_images
from vaelib.training.diffusion import train_denoiser
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from . import corruptions, explorers, mol, residual

IMAGES = (torch.rand(2_000, 1, 32, 32) * 255).to(torch.uint8)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the median time of a call, after one call to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def matmul(dtype: torch.dtype) -> float:
    """Return this core's GFLOP/s in a 2048³ matrix product: the ceiling."""
    a, b = torch.randn(2048, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    return 2 * 2048**3 / seconds(lambda: a @ b) / 1e9


def vae_training(likelihood: str, amp: bool, epochs: int = 2) -> float:
    """Return training images/s of the paper's fully connected VAE, batch 64."""

    def train() -> None:
        state = VAEState(FullyConnectedVAE(likelihood=build_likelihood(likelihood)))
        for _ in train_vae(state, TrainingDistribution(IMAGES, len(IMAGES)), epochs=epochs, amp=amp):
            pass

    return epochs * len(IMAGES) / seconds(train, 1)


def _one_of_two(epochs: int) -> float:
    torch.set_num_threads(1)
    return vae_training("gaussian", amp=True, epochs=epochs)


def two_processes() -> float:
    """Return training images/s of two single-threaded processes at once, in all: what the engine makes of two cores."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(_one_of_two, [10, 10]))


def batches(augmentation: object) -> float:
    """Return images/s of the training distribution alone."""
    stream = TrainingDistribution(IMAGES, len(IMAGES), augmentation=augmentation)
    return 50 * 64 / seconds(lambda: [stream.batch(step, 64) for step in range(50)])


def elbo_evaluation() -> float:
    """Return images/s of a full evaluation."""
    vae = FullyConnectedVAE()
    return len(IMAGES) / seconds(lambda: gaps.evaluate_elbo(vae, IMAGES))


def elbo_star() -> tuple[float, float]:
    """Return images/s of ELBO*, batched and one image at a time, over 100 steps."""
    vae, options = FullyConnectedVAE(), {"max_steps": 100, "tol": 0.0}
    batched = 200 / seconds(lambda: gaps.optimize_posterior(vae, IMAGES[:200], **options), 1)
    single = 4 / seconds(lambda: [gaps.optimize_posterior(vae, IMAGES[i : i + 1], **options) for i in range(4)], 1)
    return batched, single


def attack() -> float:
    """Return (image, restart) pairs/s of the attack with 50 steps."""
    vae, x = FullyConnectedVAE(), IMAGES[:50].float() / 255
    return 500 / seconds(lambda: gaps.attack_encoder(vae, x, restarts=10, steps=50), 1)


def teacher() -> tuple[float, float]:
    """Return the laptop teacher's training images/s and its sampling images/s at 10 Heun steps."""
    shape = {"width": 32, "multipliers": (1, 2, 2), "blocks": 1, "attention": (), "space_to_depth": 2, "norm_groups": 2}
    net = build_denoiser(1, **shape, dropout=0.0)
    options = {"n_images": 3_200, "batch_size": 32, "lr_rampup": 0}
    training = 3_200 / seconds(lambda: list(train_denoiser(net, IMAGES, **options)), 1)
    return training, 100 / seconds(lambda: sample_images(net, range(100), channels=1, steps=10), 1)


def import_time() -> float:
    """Return the seconds that ``import vaelib`` adds to ``import torch``."""
    code = "import time, torch; t = time.perf_counter(); import vaelib; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))


def main() -> None:
    """Measure everything and print the table."""
    torch.set_num_threads(1)
    flops = 6 * sum(p.numel() for p in FullyConnectedVAE().parameters()) / 1e9
    fp32, bf16 = matmul(torch.float32), matmul(torch.bfloat16)
    rows = [("matrix product fp32", fp32, "GFLOP/s"), ("matrix product bf16", bf16, "GFLOP/s")]
    rows.append(("VAE training, fp32 ceiling", fp32 / flops, "images/s"))
    jobs: dict[str, Callable[[], float]] = {
        "VAE training, fp32": lambda: vae_training("gaussian", amp=False),
        "VAE training, bf16 hidden layers": lambda: vae_training("gaussian", amp=True),
        "VAE training, bf16 hidden layers, two processes": two_processes,
        "VAE training, bf16, mixture of logistics": lambda: vae_training("mol", amp=True, epochs=1),
        "training batches, plain": lambda: batches(None),
        "training batches, Aug.Naive": lambda: batches(NAIVE),
        "ELBO evaluation": elbo_evaluation,
        "attack pairs of 50 steps": attack,
    }
    rows += [(name, job(), "images/s") for name, job in track(jobs.items(), "benchmarks")]
    batched, single = elbo_star()
    training, sampling = teacher()
    rows += [
        ("ELBO*, 100 steps, batched", batched, "images/s"),
        ("ELBO*, 100 steps, one image at a time", single, "images/s"),
        ("ELBO*, batched over single", batched / single, "times"),
        ("laptop teacher, training", training, "images/s"),
        ("laptop teacher, sampling with 10 Heun steps", sampling, "images/s"),
        ("import vaelib, beyond torch", import_time(), "s"),
        *mol.rows(),
        *residual.rows(),
        *corruptions.rows(),
        *explorers.rows(),
    ]
    for name, value, unit in rows:
        print(f"{name:52} {value:12,.2f} {unit}")
    table = {
        "one thread": {name: {"value": value, "unit": unit} for name, value, unit in rows},
        "machine": provenance(),
    }
    files.write_json(paths.build_root() / "benchmarks.json", table)


if __name__ == "__main__":
    main()
