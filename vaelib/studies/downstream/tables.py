"""Tables of the downstream tasks: ``downstream.csv`` and ``corruptions.csv``."""

import pandas as pd

from ... import files
from ...runs.experiments import Experiment
from ...runs.store import Store
from ...runs.tables import about_data, leading
from .stages import CLEAN, OVERALL


def downstream_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return what VAEs are worth in use: ``downstream`` and ``corruptions``, both long.

    ``downstream`` has ``quantity, value, se`` a run: ``accuracy_<classifier>`` on images as they are, ``overall_<...>`` with
    one corruption drawn for each, ``corrupted_<...>`` the mean over corruptions; ``psnr_sample`` and ``psnr_mean`` in dB;
    ``proxy_fid``, ``proxy_is`` and the like of ``samples`` images, ``fid`` and ``inception_score`` where measured.
    ``corruptions`` has ``corruption, classifier, accuracy, se`` a run. Standard errors are over test images.
    """
    rows, cells = [], []
    for point in experiment.points:
        vae, images = point.vae, point.run.corrupted
        run = experiment.setting | {"method": point.series, "seed": vae.seed}
        about = about_data(vae.data) | {"images": images.images, "severity": images.severity}
        about |= {"corruptions": "CIFAR-10-C" if images.official else f"{len(images.names)} of our own draws"}
        found = pd.DataFrame(files.read_json(store.require(point.run) / "measured.json"))
        split = found["quantity"].str.partition("_")
        corrupt = found.assign(classifier=split[2])[~found["images"].isin([CLEAN, OVERALL])]
        named = found["quantity"].where(found["images"] != OVERALL, OVERALL + "_" + split[2])
        single = found.assign(quantity=named)[found["images"].isin([CLEAN, OVERALL])].drop(columns="images")
        mean = corrupt.groupby("classifier", as_index=False, sort=False)["value"].mean()
        mean = mean.assign(quantity="corrupted_" + mean.pop("classifier"))
        single = pd.concat([single, mean], ignore_index=True)
        rows.append(single.assign(**run, **about, samples=point.run.samples, key=point.run.key))
        corrupt = corrupt.rename(columns={"images": "corruption", "value": "accuracy"}).drop(columns="quantity")
        cells.append(corrupt.assign(**run, **about))
    return {
        name: leading(pd.concat(pieces, ignore_index=True), list(run))
        for name, pieces in (("downstream", rows), ("corruptions", cells))
    }
