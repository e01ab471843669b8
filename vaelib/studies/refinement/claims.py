"""What we expected of refinement at test time, as claims of our own, written before any of its numbers.

The two ends were known from the headline: the encoder's test ELBO (no step) and ELBO* (all steps; there normal training ends
about where DMaaPx begins, and both augmentations end above DMaaPx). What is claimed is the way between: that a few steps
change no order, that normal training does not reach DMaaPx's encoder within 50 steps, that augmentation does within 20, and
that DMaaPx, whose encoder is nearer to the top, is sooner there.
"""

from ...report.entries import OWN, Entry, Part, Tables
from ...report.reference import of_setting
from ...report.rules import AUGMENTATIONS, OTHERS, Case, Evidence, Quantity, Rule, needs, value


def measured(tables: Tables, table: str, dataset: str, likelihood: str) -> Evidence:
    """Return ELBOs and shares by steps: ``(method, steps, quantity)`` over seeds; shares have no error over images."""
    found = []
    for row in of_setting(tables["refinement"], dataset, likelihood).to_dict("records"):
        term = row["method"], row["steps"]
        found.append(((*term, "elbo_test"), row["seed"], row["elbo_test"], row["elbo_test_se"]))
        found.append(((*term, "share"), row["seed"], row["share"], float("nan")))
    return Evidence.of(found)


def elbo(method: str, steps: int) -> Quantity:
    """Return a method's test ELBO after so many steps an image."""
    return value(method, steps, "elbo_test")


def at(steps: int, *positive: Quantity) -> Rule:
    """Return the rule "all of these are positive" for grids that have a number of steps."""

    def rule(evidence: Evidence) -> Case | str:
        if steps not in evidence.points("normal"):
            return f"needs {steps} steps in refinement_steps, and as many amortization_steps"
        return needs(*positive)

    return rule


ENTRIES = [Entry(name, sentence, OWN, quantity, "refinement", rule, ()) for name, sentence, quantity, rule in (
    ("refine-first", "After 10 steps an image DMaaPx still has the highest test ELBO of the four", "test ELBO",
     at(10, *(elbo("dmaapx", 10) - elbo(other, 10) for other in OTHERS))),
    ("refine-normal", "50 steps an image do not lift normal training to DMaaPx's test ELBO without any", "test ELBO",
     at(50, elbo("dmaapx", 0) - elbo("normal", 50))),
    ("refine-aug", "20 steps an image lift both augmentations above DMaaPx's test ELBO without any", "test ELBO",
     at(20, *(elbo(method, 20) - elbo("dmaapx", 0) for method in AUGMENTATIONS))),
    ("refine-fast", "After 20 steps DMaaPx has more of what refinement adds to it than normal training has", "share of the gain",
     at(20, value("dmaapx", 20, "share") - value("normal", 20, "share"))),
)]  # fmt: skip
PART = Part(ENTRIES, measured)
