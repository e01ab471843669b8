"""Tables of per-image memorisation: a row an image, and a row a VAE."""

import pandas as pd
import torch

from ...gaps.memorisation import memorisation
from ...runs.experiments import Experiment
from ...runs.store import TENSORS, Store, load_array, load_tensors
from ...runs.tables import about_data
from .stages import SCORES


def memorisation_tables(experiment: Experiment, store: Store) -> dict[str, pd.DataFrame]:
    """Return ``image_memorisation`` and ``memorisation_folds``; all but labels and counts in nats.

    ``image_memorisation`` has a row a method, seed (repeat) and image of D_train, by its number there: ``inside`` and
    ``outside``, the mean log p(x) with and without it in the training set, and ``memorisation``, their difference; the
    same ``_by_encoder``, where the bound on log p(x) is drawn from the encoder's q(z|x); ``error``, the largest Monte
    Carlo error of a bound that was averaged. ``memorisation_folds`` has a row a VAE: its mean log p(x) of both kinds of images.
    """
    about = experiment.setting
    labels = load_array(store.require(experiment.data) / "train_labels.npy")
    images, folds, groups = [], [], {}
    for point in experiment.points:
        groups.setdefault((point.series, point.run.seed), []).append(point)
    for (method, seed), points in groups.items():
        found = [load_tensors(store.require(point.run) / TENSORS)[0] for point in points]
        scores = {name: torch.stack([one[name] for one in found]) for name in SCORES}
        left_out = torch.stack([point.vae.data.left_out() for point in points])
        place = about | {"method": method, "seed": seed}
        best, own = memorisation(scores["log_p"], left_out), memorisation(scores["encoder"], left_out)
        columns = {"inside": best.inside, "outside": best.outside, "memorisation": best.score}
        columns |= {f"{name}_by_encoder": values for name, values in zip(columns, own, strict=True)}
        columns["error"] = scores["error"].amax(0)
        frame = pd.DataFrame({name: values.numpy() for name, values in columns.items()}).round(3)
        frame.insert(0, "image", range(len(frame)))
        frame.insert(1, "label", labels)
        images.append(frame.assign(**place, **about_data(experiment.data)))
        for point, out, log_p, elbo in zip(points, left_out, scores["log_p"], scores["elbo"], strict=True):
            row = {"fold": point.vae.data.fold, "folds": point.vae.data.folds}
            for name, values in (("log_p", log_p), ("elbo", elbo)):
                row |= {f"{name}_inside": float(values[~out].mean()), f"{name}_outside": float(values[out].mean())}
            folds.append(place | row | about_data(experiment.data) | {"key": point.run.key})
    return {"image_memorisation": pd.concat(images, ignore_index=True), "memorisation_folds": pd.DataFrame(folds)}


def rank_correlation(pair: pd.DataFrame) -> float:
    """Return Spearman's correlation of two columns.

    >>> rank_correlation(pd.DataFrame({"a": [1, 2, 3], "b": [10, 100, 1000]}))
    1.0
    """
    return float(pair.rank().corr().iloc[0, 1])
