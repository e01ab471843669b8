"""What we expect of teachers that begin to memorise, written before any laptop number; the paper says nothing of it.

Expected, from Bonnaire et al. (2025) and Favero et al. (2025): a network first makes samples that are new and then copies; with
twice the training images it takes twice as long, so that shares of copies agree at equal passes over D_train. A VAE that
learns from copies learns from D_train and nothing else: its teacher's best snapshot lies before that time, and after it
DMaaPx is normal training, with its gap.

What was looked at before: one teacher of 75 images, whose samples held no copy after 38,400 images seen; no VAE.
"""

import itertools
import math
from collections.abc import Iterator
from functools import reduce

import pandas as pd

from ...report.entries import OWN, Entry, Part, Tables
from ...report.rules import Case, Evidence, Quantity, needs, same, steps, value
from ..sweeps.claims import sweep_evidence

QUANTITIES = ("elbo_train", "elbo_test", "generalization_gap", "copies", "authentic")
ALMOST_ALL = 0.9  # of the samples copied: past the time of memorising


def evidence(rows: pd.DataFrame, dataset: str, likelihood: str) -> Evidence:
    """Return the last values ``(series, x, quantity)`` over seeds; x is None where a series has none.

    Every seed's VAE learns from one bank, whose copies therefore count once: as one value with its error over images.
    """
    first = rows["seed"] == rows["seed"].min()
    once = {name: rows[name].where(first) for name in ("copies", "authentic") if name in rows}
    return sweep_evidence(rows.assign(**once), dataset, likelihood, quantities=QUANTITIES)


def ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    return evidence(tables[table], dataset, likelihood)


def sizes(found: Evidence) -> list[int]:
    """Return the numbers of training images, N, sorted."""
    return sorted({int(str(term[0]).removeprefix("dmaapx_")) for term in found.values if "dmaapx" in str(term[0])})


def at(size: int, seen: float | None, quantity: str) -> Quantity:
    """Return a value of the VAE (or the bank) of a teacher of N images when it had seen so many; None: of normal training."""
    return value(f"normal_{size}" if seen is None else f"dmaapx_{size}", seen, quantity)


def snapshots(found: Evidence) -> Iterator[tuple[int, list[float]]]:
    """Yield each N and what its teacher had seen at the snapshots that were searched for copies, where there are two or more."""
    for size in sizes(found):
        seen = [x for x in found.points(f"dmaapx_{size}") if (f"dmaapx_{size}", x, "copies") in found.values]
        if len(seen) > 1:
            yield size, seen


def copies_begin(found: Evidence) -> Case | str:
    """For every N the share of copies is larger at the end than at the first snapshot, and no step is a fall."""
    every = list(snapshots(found))
    if not every:
        return "needs two snapshots in memorisation_seen"
    rises = [at(size, seen[-1], "copies") - at(size, seen[0], "copies") for size, seen in every]
    return needs(*rises, never=[one for size, seen in every for one in steps([at(size, x, "copies") for x in seen])])


def later_with_more(found: Evidence) -> Case | str:
    """On average over the snapshots that both have, the teacher of fewer training images copies more."""
    quantities = []
    for few, many in itertools.pairwise(sizes(found)):
        both = set(found.points(f"dmaapx_{few}")) & set(found.points(f"dmaapx_{many}"))
        each = [at(few, x, "copies") - at(many, x, "copies") for x in sorted(both)]
        quantities += [1 / len(each) * reduce(Quantity.__add__, each)] if each else []
    return needs(*quantities) if quantities else "needs two values in memorisation_sizes"


def in_proportion(found: Evidence) -> Case | str:
    """After as many passes over D_train the shares of copies differ by less than a fifth of what they rise in all."""
    pairs, rises = [], []
    for few, many in itertools.pairwise(sizes(found)):
        for seen in found.points(f"dmaapx_{few}"):  # whole batches: passes are equal to a hundredth
            for other in found.points(f"dmaapx_{many}"):
                if math.isclose(other, seen * many / few, rel_tol=0.01):
                    pairs.append((at(few, seen, "copies"), at(many, other, "copies")))
    for size, seen in snapshots(found):
        rises.append(at(size, seen[-1], "copies") - at(size, seen[0], "copies"))
    if not pairs or not rises:
        return "needs sizes and snapshots at which teachers of several N have made equally many passes"
    return needs(*itertools.chain(*(same(*pair, rises[0]) for pair in pairs)), premise=rises[:1])


def becomes_normal(found: Evidence) -> Case | str:
    """Where nearly all samples are copies, DMaaPx's test ELBO is normal training's, to a fifth of what DMaaPx gains at best."""
    quantities, gains = [], []
    for size, seen in snapshots(found):
        if found.mean(f"dmaapx_{size}", seen[-1], "copies") >= ALMOST_ALL:
            best = max(seen, key=lambda x, size=size: found.mean(f"dmaapx_{size}", x, "elbo_test"))
            gains.append(at(size, best, "elbo_test") - at(size, None, "elbo_test"))
            last = at(size, seen[-1], "elbo_test"), at(size, None, "elbo_test")
            quantities += same(*last, gains[-1])
    if not quantities:
        return f"no teacher's last snapshot copies {ALMOST_ALL:.0%} or more"
    return needs(*quantities, premise=gains)


def gap_comes_back(found: Evidence) -> Case | str:
    """Where copies have become more, the student's gap is larger at the last snapshot than at the first, for every N."""
    ends = [(size, seen[0], seen[-1]) for size, seen in snapshots(found)]
    if not ends:
        return "needs two snapshots in memorisation_seen"
    more, copied = (
        [at(size, last, quantity) - at(size, first, quantity) for size, first, last in ends]
        for quantity in ("generalization_gap", "copies")
    )
    return needs(*more, premise=copied)


def best_before(found: Evidence) -> Case | str:
    """With the fewest training images some snapshot before nearly all is copied beats, for a student, each one after it."""
    for size, seen in snapshots(found):
        past = [x for x in seen if found.mean(f"dmaapx_{size}", x, "copies") >= ALMOST_ALL]
        if not past:
            return f"no snapshot copies {ALMOST_ALL:.0%} or more"
        if past[0] == seen[0]:
            return "needs a snapshot before the time of memorising"
        after = [at(size, x, "elbo_test") for x in past]
        return Case([[at(size, x, "elbo_test") - one for one in after] for x in seen if x < past[0]])
    return "needs two snapshots in memorisation_seen"


ENTRIES = [Entry(*line, settings=()) for line in (
    ("mem-begins", "The longer a teacher trains, the more of its samples are copies of training images", OWN,
     "share of copies", "memorisation", copies_begin),
    ("mem-later", "After as many images, the teacher of fewer training images copies more", OWN, "share of copies",
     "memorisation", later_with_more),
    ("mem-proportion", "The time to memorise grows in proportion to N: equal passes, equal shares of copies", OWN,
     "share of copies", "memorisation", in_proportion),
    ("mem-normal", "Past the time of memorising DMaaPx turns into normal training", OWN, "test ELBO", "memorisation",
     becomes_normal),
    ("mem-gap", "As the teacher begins to copy, the student's generalization gap comes back", OWN, "G_g",
     "memorisation", gap_comes_back),
    ("mem-best", "The teacher's best snapshot for a student lies before the time of memorising", OWN, "test ELBO",
     "memorisation", best_before),
)]  # fmt: skip
PART = Part(ENTRIES, ours)
