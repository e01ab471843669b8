"""What we expect of two teachers of disjoint halves, written before any laptop number; the paper says nothing of it.

Expected, from Kadkhodaie et al. (2024): with few images the teachers' samples from the same noise are about as far apart as any two
samples; with more they come nearer, until both draw one image. A laptop's teachers see too few images for the last.
"""

from ...report.entries import OWN, Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import CONSTANT, Case, Evidence, Quantity, needs, steps, value

HALF = 0.5


def _ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return ``("halves", x, "apart")`` and the constant ``("half", CONSTANT)``."""
    rows = of_setting(tables[table], dataset, likelihood).itertuples()
    found = [(("halves", row.x, "apart"), row.seed, row.apart, row.apart_se) for row in rows]
    return Evidence.of([*found, *((("half", CONSTANT), seed, HALF, 0.0) for seed in {one[1] for one in found})])


def apart(size: float) -> Quantity:
    """Return the distance at equal seeds as a share of that at different ones."""
    return value("halves", size, "apart")


def come_nearer(found: Evidence) -> Case | str:
    """From the fewest images to the most the teachers' samples from one noise come nearer, and no step takes them apart."""
    sizes = found.points("halves")
    if len(sizes) < 2:
        return "needs two values in halves_sizes"
    return needs(apart(sizes[0]) - apart(sizes[-1]), never=steps([apart(size) for size in reversed(sizes)]))


def agree(found: Evidence) -> Case | str:
    """At the most images samples from one noise are less than half as far apart as samples from different noise."""
    return needs(value("half", CONSTANT) - apart(found.points("halves")[-1]))


ENTRIES = [Entry(*line, settings=()) for line in (
    ("halves-nearer", "The more images, the nearer are samples that two teachers of disjoint halves draw from one noise",
     OWN, "distance ratio", "halves", come_nearer),
    ("halves-agree", "With the most images, they are less than half as far apart as any two samples", OWN,
     "distance ratio", "halves", agree),
)]  # fmt: skip
PART = Part(ENTRIES, _ours)
