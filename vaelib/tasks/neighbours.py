"""Nearest neighbours by blocks of matrix products: no sorting of all pairs, no more than a block in memory.

|a - b|² = |a|² + |b|² - 2 a·b, whose rounding error near 0 is that of |a|²: so the products are taken in float64, of points
about the pool's mean, and the distances that are returned anew from the differences; an exact copy is at exactly 0.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..errors import VaelibError

BLOCK = 2**24  # entries of one block of distances: 128 MiB
ROUNDING = 1e-12  # of a product of up to some thousand numbers


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, block) of the matrix of |a_i - b_j|², float64, a few rows (r, len(b)) at a time.

    The error of an entry stays below :data:`ROUNDING` times |a_i - m|² + |b_j - m|², with m the mean of ``b``.
    """
    centre = b.double().mean(0)
    a, b = a.double() - centre, b.double() - centre
    norms = b.square().sum(1)
    for start in range(0, len(a), rows := max(1, BLOCK // len(b))):
        part = a[start : start + rows]
        yield start, torch.addmm(norms, part, b.T, alpha=-2).add_(part.square().sum(1, keepdim=True)).clamp_min_(0)


def nearest(queries: Tensor, pool: Tensor, k: int = 1, *, within: bool = False) -> tuple[Tensor, Tensor]:
    """Return each query's distance to its ``k``-th nearest point of ``pool`` and that point's index, (N,) each.

    Arguments:
        queries, pool: (N, d) and (M, d), floats.
        within: the queries are the pool; a point is not its own neighbour.

    Raises:
        VaelibError: fewer than k points to choose from, or values that are not finite.
    """
    there = len(pool) - within
    if k > there:
        raise VaelibError(
            f"k = {k} neighbours requested, {max(there, 0)} images available; give more images or a smaller k"
        )
    check_finite(queries, pool)
    index = torch.empty(len(queries), dtype=torch.int64)
    for start, block in squared_distances(queries, pool):
        if within:
            rows = torch.arange(len(block))
            block[rows, rows + start] = torch.inf
        index[start : start + len(block)] = block.topk(k, largest=False).indices[:, -1]
    rows = max(1, BLOCK // queries.shape[1])
    pieces = zip(queries.split(rows), index.split(rows), strict=True)
    return torch.cat([(part - pool[chosen]).norm(dim=1) for part, chosen in pieces]), index


def check_finite(*features: Tensor) -> None:
    """Raise VaelibError if some feature is NaN or infinite."""
    if not all(bool(one.isfinite().all()) for one in features):
        raise VaelibError("features hold NaN or infinity: the network failed on some image; train it again")
