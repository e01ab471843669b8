"""The claims about training distributions (Sec. 4.1, Table 1, Fig. 1, Remark B.5) with the rules that judge them.

The paper argues for them without numbers; in a world whose p_data is known they are measured. Terms are ``(distribution,
N, quantity)`` in the plane, where the largest N that was run is judged, the smallest by a claim of its own, and ``(data,
model, quantity)`` for Remark B.5. Unlike the other parts' rules, these were written after a first look at the plane.
"""

import math

import pandas as pd

from ...report.entries import Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import Case, Evidence, Quantity, Rule, needs, value

PLANE, LINEAR = (("letter S", "known"),), (("linear-Gaussian", "known"),)
TABLE_1, FIG_1, REMARK = "4.1, Table 1", "4.1.1, Fig. 1", "B.5, Remark"


def _ours(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return a table's evidence over seeds."""
    found = []
    names = ("kl", "unique", "outside", "missed") if table == "plane" else ("bound", "elbo")
    for row in of_setting(tables[table], dataset, likelihood).to_dict("records"):
        place = (row["method"], row["n_train"]) if table == "plane" else (row["distribution"], row["model"])
        found += [((*place, name), row["seed"], float(row[name]), math.nan) for name in names if pd.notna(row[name])]
    return Evidence.of(found)


def sizes(evidence: Evidence) -> list[int]:
    """Return the values of N that were run, sorted."""
    return sorted({term[1] for term in evidence.values})


def less(quantity: str, method: str, other: str, smallest: bool = False) -> Rule:
    """At the largest N (or the smallest) ``method`` has less of ``quantity`` than ``other``."""

    def rule(evidence: Evidence) -> Case | str:
        n = sizes(evidence)[0 if smallest else -1]
        return needs(value(other, n, quantity) - value(method, n, quantity))

    return rule


def unlimited(method: str) -> Rule:
    """At every N, a larger share of samples is unique than of D_train's."""

    def rule(evidence: Evidence) -> Case | str:
        return needs(*(value(method, n, "unique") - value("normal", n, "unique") for n in sizes(evidence)))

    return rule


def finite_divergence(evidence: Evidence) -> Case | str:
    """KL(p_data ‖ D_train) is finite: a finite set gives a continuous p_data no density, so there is nothing to compare."""
    if not any(term[0] == "normal" and term[-1] == "kl" for term in evidence.values):
        return "KL(p_data ‖ D_train) is infinite: a finite set has no density; accurate is meant of its samples"
    return needs(*(-1 * value("normal", n, "kl") for n in sizes(evidence)))


def bounded_by_entropy(evidence: Evidence) -> Case | str:
    """No model's mean ELBO lies clearly above -H of the data; where it is not exact, it lies below."""
    pairs = list(dict.fromkeys(term[:2] for term in evidence.values))
    left = {pair: value(*pair, "bound") - value(*pair, "elbo") for pair in pairs}
    inexact = [quantity for (_, model), quantity in left.items() if "exact" not in model]
    return needs(*inexact, never=[quantity for (_, model), quantity in left.items() if "exact" in model])


def low_entropy_wins(evidence: Evidence) -> Case | str:
    """Under one model, data of a lower entropy than its training data have the higher mean ELBO."""
    own: Quantity = value("p", "its own, the posterior exact", "elbo")
    return needs(value("p, less noise", "that of p", "elbo") - own)


ENTRIES = [
    Entry("t1-unique-aug", "p_aug yields more unique samples than D_train", TABLE_1, "share unique", "plane",
          unlimited("aug_naive"), PLANE),
    Entry("t1-unique-dm", "p_DM yields more unique samples than D_train", TABLE_1, "share unique", "plane",
          unlimited("dmaapx"), PLANE),
    Entry("t1-train", "D_train is an accurate approximation of p_data", TABLE_1, "KL", "plane", finite_divergence, PLANE),
    Entry("t1-naive", "p_DM approximates p_data more accurately than p_aug, naive", TABLE_1, "KL", "plane",
          less("kl", "dmaapx", "aug_naive"), PLANE),
    Entry("t1-tuned", "p_DM approximates p_data more accurately than p_aug, tuned", TABLE_1, "KL", "plane",
          less("kl", "dmaapx", "aug_tuned"), PLANE),
    Entry("t1-few", "At the smallest N, too, p_DM beats p_aug, tuned", TABLE_1, "KL", "plane",
          less("kl", "dmaapx", "aug_tuned", True), PLANE),
    Entry("f1-outside", "p_aug has density outside the support of p_data", FIG_1, "share outside", "plane",
          less("outside", "p_data", "aug_naive"), PLANE),
    Entry("f1-gaps", "p_DM interpolates between data where p_aug leaves gaps", FIG_1, "share missed", "plane",
          less("missed", "dmaapx", "aug_tuned", True), PLANE),
    Entry("b5-bound", "The mean ELBO on a distribution is at most minus its entropy", REMARK, "−H − ELBO", "remark_b5",
          bounded_by_entropy, LINEAR),
    Entry("b5-entropy", "The ELBO on test data of a lower entropy can be higher than on D_train", REMARK, "ELBO",
          "remark_b5", low_entropy_wins, LINEAR),
]  # fmt: skip
PART = Part(ENTRIES, _ours, elsewhere=False)
