"""What we expected of rate and distortion, written before any number of them; none of it is the paper's.

The decoder's Gaussian is narrow (0.03 of the range of a pixel), so an image that is reconstructed badly costs thousands of
nats of distortion, while the rate of a 16-dimensional posterior can hardly differ by more than some tens: what generalizes
badly must be the distortion, of every method. A VAE that saw each image 300 times can afford to place it precisely, which
costs rate; one whose images are ten times as many cannot. And all 16 latents should be in use by all.
"""

import pandas as pd

from ...report.entries import OWN, Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import Case, Evidence, Quantity, needs, two_sided, value

NEARLY = 0.9  # of a gap or a gain is "nearly all" of it


def last_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every VAE's last snapshot."""
    latest = table.groupby(["dataset", "likelihood", "method", "seed"])["effective_epoch"].transform("max")
    return table[table["effective_epoch"] == latest]


def measured(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return the last values by seed: ``(method, split, quantity)``."""
    found = []
    for row in last_rows(of_setting(tables[table], dataset, likelihood)).to_dict("records"):
        for name in ("rate", "distortion"):
            found.append(((row["method"], row["split"], name), row["seed"], row[name], row[f"{name}_se"]))
        found.append(((row["method"], row["split"], "active_units"), row["seed"], row["active_units"], 0.0))
    return Evidence.of(found)


def rate(method: str, split: str = "test") -> Quantity:
    """Return a rate."""
    return value(method, split, "rate")


def distortion(method: str, split: str = "test") -> Quantity:
    """Return a distortion."""
    return value(method, split, "distortion")


def elbo(method: str, split: str = "test") -> Quantity:
    """Return an ELBO."""
    return -1 * (rate(method, split) + distortion(method, split))


def gap_in_distortion(method: str):
    """The distortion's part of the generalization gap is between 90 and 110 % of it; the rate's is the rest."""

    def rule(evidence: Evidence) -> Case:
        gap = elbo(method, "train") - elbo(method)
        part = distortion(method) - distortion(method, "train")
        return needs(*two_sided(part - NEARLY * gap, (2 - NEARLY) * gap - part), premise=[gap])

    return rule


def less_rate(evidence: Evidence) -> Case:
    """DMaaPx's rate on test images is lower than normal training's."""
    return needs(rate("normal") - rate("dmaapx"))


def gain_in_distortion(evidence: Evidence) -> Case:
    """Of what DMaaPx adds to normal training's test ELBO, 90 % or more is distortion that it saves."""
    gain = elbo("dmaapx") - elbo("normal")
    return needs(distortion("normal") - distortion("dmaapx") - NEARLY * gain, premise=[gain])


def as_active(evidence: Evidence) -> Case:
    """DMaaPx has at least nine tenths as many active units on test images as normal training."""
    return needs(value("dmaapx", "test", "active_units") - NEARLY * value("normal", "test", "active_units"))


ENTRIES = [Entry(*line, ()) for line in (
    ("rd-gap", "DMaaPx's generalization gap is nearly all in the distortion", OWN, "distortion's part of G_g",
     "rate_distortion", gap_in_distortion("dmaapx")),
    ("rd-gap-normal", "Normal training's generalization gap is nearly all in the distortion", OWN,
     "distortion's part of G_g", "rate_distortion", gap_in_distortion("normal")),
    ("rd-rate", "DMaaPx spends fewer nats of rate on test images than normal training", OWN, "rate", "rate_distortion",
     less_rate),
    ("rd-gain", "What DMaaPx adds to the test ELBO is nearly all distortion that it saves", OWN, "distortion",
     "rate_distortion", gain_in_distortion),
    ("rd-active", "DMaaPx uses at least nine tenths as many latents as normal training", OWN, "active units",
     "rate_distortion", as_active),
)]  # fmt: skip
PART = Part(ENTRIES, measured)
