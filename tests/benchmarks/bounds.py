"""Cost and tightness of the certified bounds: ``python -m tests.benchmarks.bounds`` (some minutes on one thread).

First the prices on 1,000 FashionMNIST images under the paper's fully connected VAE: IWAE with 5,000 draws an image, and
ELBO* in chunks against one image at a time. Then the same network with a random decoder, whose own images know their
latents: decodings (a forward pass; for AIS with its gradient in z) are the cost of every bound, and the width of BDMC's
bracket is what they buy.
"""

import resource
import time
from collections.abc import Callable

import torch

from vaelib.data import load_dataset
from vaelib.data.worlds import random_decoder
from vaelib.gaps import bdmc, iwae, optimize_posterior
from vaelib.gaps.ais import PILOT_CHAINS
from vaelib.models import FullyConnectedVAE
from vaelib.progress import track
from vaelib.training.distributions import TrainingDistribution
from vaelib.training.vae import VAEState, train_vae

IMAGES, CHAINS, ALONE = 20, 4, 8
BUDGETS = (("prior", 100, 5), ("prior", 250, 2), ("prior", 500, 1), ("q*", 20, 5), ("q*", 50, 2), ("q*", 100, 1))


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """Return a call's result and its seconds."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def peak() -> float:
    """Return the most memory that this process ever held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def prices() -> None:
    """Print what IWAE-5000 and ELBO* of 1,000 FashionMNIST images cost, and ELBO* one image at a time."""
    data = load_dataset("fashion_mnist", n_train=1_000, n_test=1_000)
    vae = FullyConnectedVAE()
    for _ in train_vae(VAEState(vae), TrainingDistribution(data.train, 1_000), epochs=30):
        pass
    before = peak()
    found, spent = timed(lambda: iwae(vae, data.test, k=5_000))
    print(
        f"IWAE-5000 of 1,000 images: {spent:.0f} s, {5e6 / spent:,.0f} decodings/s, mean {found.value.mean():.1f} nats"
    )
    print(f"peak memory: {before:.2f} GiB before it, {peak():.2f} GiB after")
    for options in ({"max_steps": 100, "tol": 0.0}, {}):
        many, together = timed(lambda o=options: optimize_posterior(vae, data.test, **o))
        each = [timed(lambda i=i, o=options: optimize_posterior(vae, data.test[i : i + 1], **o)) for i in range(ALONE)]
        alone = sum(spent for _, spent in each) / ALONE
        shift = torch.cat([one.elbo_star for one, _ in each]) - many.elbo_star[:ALONE]
        name = "100 steps" if options else "to convergence"
        print(
            f"ELBO* of 1,000 images, {name}: {together:.1f} s; one at a time {alone * 1_000:.0f} s, "
            f"{alone * 1_000 / together:.1f} times; value {shift.mean():+.2f} ± {shift.std() / ALONE**0.5:.2f} nats"
        )


def tightness() -> None:
    """Print every bound of a random decoder's own images."""
    world = random_decoder("bernoulli", d_z=16, hidden=512, gain=0.5)
    z, x = world.pairs(IMAGES)
    best, spent = timed(lambda: optimize_posterior(world.vae, x))
    rows = [("ELBO*", best.elbo_star, None, spent, None)]
    for k in (100, 2_000):
        bound, spent = timed(lambda k=k: iwae(world.vae, x, k=k, q=best))
        rows.append((f"IWAE from q*, k = {k:,}", bound.value, None, spent, k * IMAGES))
    for start, temperatures, leapfrogs in track(BUDGETS, "BDMC"):
        options = {"chains": CHAINS, "temperatures": temperatures, "leapfrogs": leapfrogs}
        options["q"] = best if start == "q*" else None
        bracket, spent = timed(lambda options=options: bdmc(world.vae, z, x, **options))
        decodings = (PILOT_CHAINS + 2 * CHAINS) * temperatures * leapfrogs * IMAGES
        rows.append((f"BDMC from {start}, {temperatures} × {leapfrogs} leapfrogs", *bracket, spent, decodings))
    print(f"{f'mean of {IMAGES} images, nats':36}{'lower':>10}{'upper':>10}{'width':>8}{'s':>8}{'decodings/s':>13}")
    for name, lower, upper, spent, decodings in rows:
        above = f"{'':18}" if upper is None else f"{upper.mean():10.2f}{(upper - lower).mean():8.2f}"
        rate = "" if decodings is None else f"{decodings / spent:13,.0f}"
        print(f"{name:36}{lower.mean():10.2f}{above}{spent:8.1f}{rate}")


def main() -> None:
    """Measure everything and print it."""
    torch.set_num_threads(1)
    prices()
    tightness()


if __name__ == "__main__":
    main()
