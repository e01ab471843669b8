"""What we expected of cheap regularisers beside DMaaPx, as claims of our own, written before any of their numbers.

From the headline it is known that DMaaPx has the highest test ELBO of the paper's four methods, the smallest G_g and G_a,
and on FashionMNIST a large G_r. Of the regularisers nothing had been measured when this was written. We expect the first three
claims to hold, for a regulariser adds no image; the fourth to fail, since DMaaPx's own G_r is larger than that of normal
training; KL warm-up to break the fifth, since its end is normal training; and on DMaaPx a gain that is small beside DMaaPx's own.
"""

import math

from ...report.entries import OWN, Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import SAME, Case, Evidence, larger, needs, smaller, value
from ..sweeps.claims import QUANTITIES
from .runs import ON_DMAAPX, REMEDIES


def measured(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return each method's last values: ``(method, quantity)`` over seeds."""
    rows = of_setting(tables["regularisers"], dataset, likelihood).to_dict("records")
    return Evidence.of(
        ((row["method"], name), row["seed"], row.get(name, math.nan), row.get(f"{name}_se", math.nan))
        for row in rows
        for name in QUANTITIES
    )


def adds_little(evidence: Evidence) -> Case | str:
    """The best regulariser adds less to DMaaPx than a fifth of what DMaaPx adds to normal training."""
    dmaapx = value("dmaapx", "elbo_test")
    gain = dmaapx - value("normal", "elbo_test")
    return needs(SAME * gain - (value(ON_DMAAPX, "elbo_test") - dmaapx), premise=[gain])


ENTRIES = [Entry(name, sentence, OWN, quantity, "regularisers", rule, ()) for name, sentence, quantity, rule in (
    ("cheap-elbo", "DMaaPx has a higher test ELBO than every tuned cheap regulariser", "test ELBO",
     lambda _: needs(*larger("elbo_test", "dmaapx", *REMEDIES))),
    ("cheap-g", "DMaaPx has a smaller generalization gap than every tuned cheap regulariser", "G_g",
     lambda _: needs(*smaller("generalization_gap", "dmaapx", *REMEDIES))),
    ("cheap-a", "DMaaPx has a smaller amortization gap than every tuned cheap regulariser", "G_a",
     lambda _: needs(*smaller("amortization_gap", "dmaapx", *REMEDIES))),
    ("cheap-r", "DMaaPx has a smaller robustness gap than every tuned cheap regulariser", "G_r",
     lambda _: needs(*smaller("robustness_gap", "dmaapx", *REMEDIES))),
    ("cheap-helps", "Every tuned cheap regulariser improves the test ELBO over normal training", "test ELBO",
     lambda _: needs(*(c for remedy in REMEDIES for c in larger("elbo_test", remedy, "normal")))),
    ("cheap-aug", "Aug.Naive has a higher test ELBO than every tuned cheap regulariser", "test ELBO",
     lambda _: needs(*larger("elbo_test", "aug_naive", *REMEDIES))),
    ("cheap-adds", "The best cheap regulariser adds to DMaaPx's test ELBO", "test ELBO",
     lambda _: needs(*larger("elbo_test", ON_DMAAPX, "dmaapx"))),
    ("cheap-little", "It adds less than a fifth of what DMaaPx adds to normal training", "test ELBO", adds_little),
)]  # fmt: skip
PART = Part(ENTRIES, measured)
