"""The panel's table, ``sensitivity.csv``: a row a variant, method and seed; and what the attack and MS-SSIM do of themselves."""

import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import about_data, curve, last_row, measured_table
from .stages import AttackStrength, Remeasured, SimilarityPairs

PROTOCOL = "as configured"  # the panel's first row: what notebook 03 measures


def panel_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``sensitivity``, ``similarity_pairs`` (a row a pair of images and variant) and ``attack_strength``.

    In ``attack_strength``, a row a method, gradient, radius, number of steps and of restarts, ``skl`` in nats and ``gap``
    (MS-SSIM) are means over images and restarts, ``_se`` over images; ``_worst`` is the mean over images of the largest
    among ``restarts``.
    """
    about = about_data(experiment.also[0].vae.data)
    pairs, strengths = (
        measured_table(experiment, store, kind).assign(**about) for kind in (SimilarityPairs, AttackStrength)
    )
    return {
        "sensitivity": sensitivity_table(experiment, store),
        "similarity_pairs": pairs.astype({"value": "float32"}),
        "attack_strength": strengths,
    }


def sensitivity_table(experiment: Experiment, store: Store) -> pd.DataFrame:
    """Return one row a variant, method and seed with the gaps measured (NaN: not touched by it), in the panel's order."""
    rows = []
    for point in experiment.points:
        vae, points = point.vae, curve(point.run, store)
        row = experiment.setting | {"variant": getattr(point.run, "variant", PROTOCOL)}
        row |= {"method": point.series, "seed": vae.seed}
        row |= last_row(points)
        if isinstance(point.run, Remeasured) and len(point.run.gaps) == 1:  # the VAE's own gap is not measured again
            row = {name: value for name, value in row.items() if not name.startswith(("generalization", "elbo_t"))}
        rows.append(row | about_data(vae.data) | {"key": point.run.key})
    return pd.DataFrame(rows)
