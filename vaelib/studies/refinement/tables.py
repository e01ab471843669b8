"""The table ``refinement.csv``: a row a VAE and number of steps."""

import math

import numpy as np
import pandas as pd

from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import SETTING, about_data, leading, rows_of


def refinement_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``refinement``: ``method, seed, steps, elbo_test, gain, share, seconds``, with errors over images.

    ``gain`` is what the steps add to the test ELBO, ``share`` its part of what all steps add; ``seconds`` are of one core or
    GPU, an image.
    """
    pieces = []
    for point in experiment.points:
        rows = rows_of(point.run, store)
        place = experiment.setting | {"method": point.series, "seed": point.vae.seed}
        last = rows["gain"].iloc[-1]
        rows = rows.assign(share=rows["gain"] / last if last > 0 else math.nan, **place)
        pieces.append(rows.assign(**about_data(experiment.data), key=point.run.key))
    table = pd.concat(pieces, ignore_index=True)
    return {"refinement": leading(table, [*SETTING, "method", "seed", "steps"])}


def steps_to_reach(rows: pd.DataFrame, target: float) -> pd.DataFrame:
    """Return by method after how many steps, and seconds an image, its mean test ELBO reaches ``target``; NaN: never.

    Between two numbers of steps that were run, log(1 + steps) and seconds are read off a line. 0 steps: it starts above.

    >>> curve = pd.DataFrame({"method": "a", "steps": [0, 1, 3], "elbo_test": [0.0, 1.0, 2.0], "seconds": [0.0, 0.1, 0.3]})
    >>> steps_to_reach(curve, 1.5).round(2).to_dict("records")
    [{'method': 'a', 'steps': 1.83, 'seconds': 0.2}]
    """
    found = []
    for method, own in rows.groupby("method", sort=False):
        curve = own.groupby("steps")[["elbo_test", "seconds"]].mean()
        best = np.maximum.accumulate(curve["elbo_test"].to_numpy())
        steps, seconds = (math.nan, math.nan)
        if best[-1] >= target:
            steps = float(np.expm1(np.interp(target, best, np.log1p(curve.index.to_numpy(dtype=float)))))
            seconds = float(np.interp(target, best, curve["seconds"]))
        found.append({"method": method, "steps": steps, "seconds": seconds})
    return pd.DataFrame(found)
