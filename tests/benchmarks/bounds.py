"""Cost and tightness of the certified bounds: ``python -m tests.benchmarks.bounds`` (a minute or two on one thread).

The paper's fully connected VAE with a random decoder, whose own images know their latents. Decodings (a forward pass;
for AIS with its gradient in z) are the cost of every bound, and the width of BDMC's bracket is what they buy.
"""

import time
from collections.abc import Callable

import torch

from vaelib.data.worlds import random_decoder
from vaelib.gaps import bdmc, iwae, optimize_posterior
from vaelib.gaps.ais import PILOT_CHAINS
from vaelib.progress import track

IMAGES, CHAINS = 20, 4
BUDGETS = (("prior", 100, 5), ("prior", 250, 2), ("prior", 500, 1), ("q*", 20, 5), ("q*", 50, 2), ("q*", 100, 1))


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """Return a call's result and its seconds."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def main() -> None:
    """Measure everything and print the table."""
    torch.set_num_threads(1)
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


if __name__ == "__main__":
    main()
