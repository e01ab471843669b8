"""Rows about training VAEs: against pythae, against this machine's ceilings, two workers against one."""

import functools
import time

import torch
from torch import Tensor

from vaelib import gaps
from vaelib.data import load_dataset
from vaelib.errors import VaelibError
from vaelib.models import FullyConnectedVAE
from vaelib.precision import bf16_pays
from vaelib.runs.provenance import cores
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

from . import residual
from .clock import in_turn, spent, workers
from .networks import Job, needs_pythae, ours, pythae, pythae_sweep
from .table import LeftOut, Row

SWEEP = 4  # VAEs
PER_IMAGE = 6 * sum(p.numel() for p in FullyConnectedVAE().parameters()) / 1e9  # GFLOP of a training step


def _jobs(quick: bool) -> dict[str, Job]:
    if quick:
        return {"fully connected": Job(128, 2), "residual, nc = 4": Job(64, 2, nc=4)}
    return {"fully connected": Job(2_000, 5), "residual, nc = 32": Job(320, 3, nc=32)}


def against_pythae(quick: bool = False) -> list[Row]:
    """Return training images/s of the same network by ours and by pythae's trainer, one thread each."""
    needs_pythae()
    rows = []
    with workers(1, here=quick) as here, workers(1, here=quick) as there:
        for name, job in _jobs(quick).items():
            calls = {
                "ours": lambda job=job: here.submit(ours, job).result(),
                "fp32": lambda job=job: here.submit(ours, job._replace(amp=False)).result(),
                "pythae": lambda job=job: there.submit(pythae, job).result(),
            }
            rate = {who: job.images / seconds for who, seconds in in_turn(calls, 1 if quick else 3).items()}
            rows += [
                Row(f"VAE training, {name}, 1 thread", "images/s", rate["ours"], rate["pythae"], "pythae"),
                Row(f"VAE training, {name}, 1 thread, float32", "images/s", rate["fp32"], rate["pythae"], "pythae"),
            ]
    return rows


def sweep(quick: bool = False) -> list[Row]:
    """Return VAEs an hour of a sweep on two cores: two processes of one thread, and pythae with two threads.

    Both start with processes that have trained before; making the networks and keeping the results count.
    """
    needs_pythae()
    if cores() < 2:
        raise LeftOut("a sweep on two cores needs two; this process has one")
    jobs = [Job(128 if quick else 2_000, 2 if quick else 8, seed=seed) for seed in range(SWEEP)]
    with workers(2, here=quick) as here, workers(1, threads=2, here=quick) as there:
        calls = {
            "ours": lambda: spent(lambda: list(here.map(ours, jobs)), time.perf_counter),
            "pythae": lambda: spent(lambda: there.submit(pythae_sweep, jobs).result(), time.perf_counter),
        }
        rate = {who: 3_600 * SWEEP / seconds for who, seconds in in_turn(calls, 1 if quick else 2).items()}
    name = f"sweep of {SWEEP} fully connected VAEs of {jobs[0].epochs} epochs, 2 cores"
    return [Row(name, "VAEs/h", rate["ours"], rate["pythae"], "pythae, 2 threads, one by one", 3.5)]


def two_workers(quick: bool = False) -> list[Row]:
    """Return training images/s of two processes at once and of one alone."""
    if cores() < 2:
        raise LeftOut("two workers need two cores; this process has one")
    job = Job(128 if quick else 2_000, 2 if quick else 10)
    with workers(2, here=quick) as pool:
        list(pool.map(ours, [job._replace(epochs=2)] * 2))
        calls = {
            str(count): lambda count=count: spent(lambda: list(pool.map(ours, [job] * count)), time.perf_counter)
            for count in (1, 2)
        }
        seconds = in_turn(calls, 1 if quick else 3)
    work = job.images * job.epochs
    return [Row("VAE training by two workers", "images/s", 2 * work / seconds["2"], work / seconds["1"], "one", 1.8)]


class _Unsettled(VAEState):
    def settle(self) -> None:
        pass


def late_epochs(quick: bool = False) -> list[Row]:
    """Return training images/s late in a laptop's training, and with Adam's denormal moments left as they are."""
    images, before, epochs = (64, 2, 1) if quick else (1_000, 80, 5)
    try:
        pool = load_dataset("fashion_mnist", n_train=images, n_test=1).train
    except VaelibError as error:
        raise LeftOut(f"FashionMNIST is not here: {error}") from None
    loops = {}
    for kind in (VAEState, _Unsettled):
        loops[kind] = train_vae(kind(Job(images, epochs).network()), TrainingDistribution(pool, images), epochs=10_000)
        for _ in range(before):
            next(loops[kind])
    calls = {
        kind.__name__: lambda loop=loop: spent(lambda: [next(loop) for _ in range(epochs)])
        for kind, loop in loops.items()
    }
    rate = {name: epochs * images / seconds for name, seconds in in_turn(calls, 1 if quick else 5).items()}
    name = f"VAE training, fully connected, after {before} epochs"
    return [Row(name, "images/s", rate["VAEState"], rate["_Unsettled"], "denormal moments kept", 1.5)]


def bounded_mean(quick: bool = False) -> list[Row]:
    """Return training images/s with the Gaussian's mean through a sigmoid, and with the decoder's output as it is."""
    job = Job(128, 2) if quick else Job(2_000, 5)
    calls = {mean: lambda mean=mean: ours(job._replace(mean=mean)) for mean in ("sigmoid", "linear")}
    rate = {mean: job.images / seconds for mean, seconds in in_turn(calls, 1 if quick else 5).items()}
    name = "VAE training, fully connected, sigmoid on the mean, 1 thread"
    return [Row(name, "images/s", rate["sigmoid"], rate["linear"], "linear mean", 0.97)]


def matrix_product(dtype: torch.dtype, size: int = 2048) -> float:
    """Return the GFLOP/s of one square matrix product."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    return 2 * size**3 / spent(lambda: a @ b) / 1e9


def ceilings(quick: bool = False) -> list[Row]:
    """Return training images/s beside what matrix products alone would allow, and convolutions, one thread."""
    job, size = (Job(128, 2), 256) if quick else (Job(2_000, 4), 2048)
    types = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if bf16_pays("cpu") else {})
    calls = {name: functools.partial(matrix_product, dtype, size) for name, dtype in types.items()}
    found = in_turn({"training": lambda: job.images / ours(job), **calls}, 1 if quick else 5)
    rows = [
        Row(
            "VAE training, fully connected, 1 thread",
            "images/s",
            found["training"],
            found[name] / PER_IMAGE,
            f"{name} products at {found[name]:.0f} GFLOP/s",
            1.0 if name == "float32" else None,
        )
        for name in types
    ]
    return [*rows, residual.against_ceiling(4, 1, quick) if quick else residual.against_ceiling(64, 3)]


def _final_elbo(train: Tensor, test: Tensor, seed: int, amp: bool, epochs: int) -> float:
    """Return a VAE's mean test ELBO after its last epoch."""
    vae = Job(len(train), epochs, seed=seed).network()
    stream = TrainingDistribution(train, len(train), seed=seed)
    for _ in train_vae(VAEState(vae), stream, epochs=epochs, seed=seed, amp=amp):
        pass
    return float(gaps.evaluate_elbo(vae, test).mean())


def equal_elbo(quick: bool = False) -> list[Row]:
    """Return the final test ELBO of trainings that differ in precision alone, over seeds."""
    images, epochs, seeds = (64, 2, 2) if quick else (1_000, 100, 6)
    if not bf16_pays("cpu"):
        raise LeftOut("this processor has no bfloat16 products: trainings are in float32 whatever amp says")
    try:
        data = load_dataset("fashion_mnist", n_train=images, n_test=images)
    except VaelibError as error:
        raise LeftOut(f"FashionMNIST is not here: {error}") from None
    with workers(min(2, cores()), here=quick) as pool:
        found = {
            amp: [pool.submit(_final_elbo, data.train, data.test, seed, amp, epochs) for seed in range(seeds)]
            for amp in (True, False)
        }
        mixed, plain = (torch.tensor([one.result() for one in found[amp]], dtype=torch.float64) for amp in found)
    error = (mixed.var() / seeds + plain.var() / seeds).sqrt()
    shift = f"bfloat16 {mixed.mean():,.1f}, float32 {plain.mean():,.1f} nats"
    return [
        Row(
            f"test ELBO of {epochs} epochs, {seeds} seeds: {shift}",
            "nats",
            float((mixed.mean() - plain.mean()).abs()),
            float(error),
            "standard error over seeds",
            2.0,
            most=True,
        )
    ]
