"""Training curves of single runs that a page draws by itself: pick runs and a quantity, smooth, take a logarithmic axis.

:func:`curve_twin` shows the runs of a table, in the report and below a notebook's figure; :func:`curve_explorer` those of the
store, list by list. Both are HTML with a script of its own (``curves.html``): no kernel is asked for anything.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ... import paths
from ...errors import VaelibError
from ...runs import Store, VAERun
from ...runs.tables import SETTING, read_table, stored_curves
from ..canvas import COLOURS, LABELS, MARKERS, WARM_UP
from ..reference import setting
from .static import TEMPLATES

DASHES = ("", "7 3", "2 3", "7 3 2 3")  # of the curves of one method
# The markers of canvas.MARKERS around (0, 0).
SHAPES = {
    "o": "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
    "s": "M-2.8,-2.8h5.6v5.6h-5.6z",
    "D": "M0,-4L4,0L0,4L-4,0z",
    "^": "M0,-4L3.6,2.6H-3.6z",
    "v": "M0,4L3.6,-2.6H-3.6z",
    "P": "M-1.3,-3.8h2.6v2.5h2.5v2.6h-2.5v2.5h-2.6v-2.5h-2.5v-2.6h2.5z",
    "X": "M-3.5,-2L-2,-3.5L0,-1.5L2,-3.5L3.5,-2L1.5,0L3.5,2L2,3.5L0,1.5L-2,3.5L-3.5,2L-1.5,0z",
}
CAPTION = (
    "Every run by itself: pick runs and a quantity, smooth, take a logarithmic axis. Smoothing is an exponential moving "
    "average that begins after the first fifth of a run's epochs, which stays as it is."
)
STEP = 0.05  # of the slider
GAP = "generalization_gap"
NATS = "nats per image"
# A quantity of the curves as a reader knows it, and its unit; menus keep this order.
QUANTITIES = {
    "elbo_test": ("ELBO on test images", NATS),
    "elbo_train": ("ELBO on training images", NATS),
    GAP: ("generalization gap", NATS),
    "elbo_star_test": ("ELBO* on test images", NATS),
    "elbo_test_subset": ("ELBO on the test images of ELBO*", NATS),
    "amortization_gap": ("amortization gap", NATS),
    "robustness_gap": ("robustness gap", "MS-SSIM"),
    "input_similarity": ("similarity of attacked inputs", "MS-SSIM"),
    "reconstruction_similarity": ("similarity of their reconstructions", "MS-SSIM"),
    "at_sigma_floor": ("share of attacks that end at the smallest σ", ""),
    "clean_floor": ("clean floor of the robustness gap", "MS-SSIM"),
    "elbo_own": ("ELBO on the own training distribution", NATS),
    "unconverged": ("test images whose q* still improved", "images"),
}


def with_gap(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves with the generalization gap (Eq. 3) at every epoch where both of its ELBOs were measured."""
    place = [name for name in curves if name not in ("quantity", "value", "se")]
    train, test = (
        curves[curves["quantity"] == name][[*place, "value"]].dropna(subset="value")
        for name in ("elbo_train", "elbo_test")
    )
    both = train.merge(test, on=place, suffixes=("", "_test"))
    gap = both.assign(quantity=GAP, value=both["value"] - both.pop("value_test"))
    return pd.concat([curves, gap], ignore_index=True) if len(gap) else curves


def settled(epochs: np.ndarray) -> int:
    """Return where a run's settled part begins: how many of its points lie in the first :data:`WARM_UP` of its epochs."""
    return int((epochs < WARM_UP * epochs[-1]).sum())


def heaviest(epochs: Iterable[np.ndarray]) -> float:
    """Return the largest weight to offer: it averages over some 1 / (1 - w) points, a third of the longest settled part."""
    points = max((len(one) - settled(one) for one in epochs if len(one)), default=0)
    return STEP * max(5, math.floor((1 - 3 / max(points, 3)) / STEP + 1e-9))


class CurveTwin(NamedTuple):
    """Training curves that a page draws: a checkbox for each run, a quantity, smoothing, a logarithmic axis.

    Attributes:
        runs: name, colour, dashes, marker (an SVG path) of each, and whether it is drawn at first.
        points: by quantity and in the order of ``runs``, the epochs and the values of each.
        names: by quantity, its name for a reader and its unit.
        first: the quantity shown first.
        heaviest: the largest weight of the average.
    """

    runs: list[tuple[str, str, str, str, bool]]
    points: dict[str, list[tuple[list[float], list[float]]]]
    names: dict[str, tuple[str, str]]
    first: str
    heaviest: float
    caption: str = CAPTION

    def _repr_html_(self) -> str:
        return str(TEMPLATES.get_template("curves.html").module.curves(self))


class CurveLists(NamedTuple):
    """Curves of several lists of runs, one list shown at a time."""

    lists: dict[str, CurveTwin]

    def _repr_html_(self) -> str:
        return str(TEMPLATES.get_template("curves.html").module.lists(self.lists))


def _twin(runs: Mapping[str, tuple[str, pd.DataFrame]], first: str, picked: Iterable[str]) -> CurveTwin:
    """Return runs by name, each with its method and its ``effective_epoch, quantity, value``, as curves of a page."""
    curves = {
        name: with_gap(rows.dropna(subset="value")).sort_values("effective_epoch") for name, (_, rows) in runs.items()
    }
    looks, seen = [], Counter()
    found = {quantity for curve in curves.values() for quantity in curve["quantity"]}
    known = [*(quantity for quantity in QUANTITIES if quantity in found), *sorted(found - set(QUANTITIES))]
    points: dict[str, list] = {quantity: [] for quantity in known}
    for name, (method, _) in runs.items():
        look = COLOURS[method], DASHES[seen[method] % len(DASHES)], SHAPES[MARKERS[method]]
        looks.append((name, *look, name in picked))
        seen[method] += 1
        for quantity, series in points.items():
            own = curves[name][curves[name]["quantity"] == quantity]
            series.append((own["effective_epoch"].tolist(), [float(f"{value:.6g}") for value in own["value"]]))
    names = {quantity: QUANTITIES.get(quantity, (quantity.replace("_", " "), "")) for quantity in points}
    most = heaviest(np.array(epochs) for series in points.values() for epochs, _ in series)
    return CurveTwin(looks, points, names, first if first in points else next(iter(points)), round(most, 2))


def curve_twin(curves: pd.DataFrame, first: str = "elbo_test") -> CurveTwin:
    """Return the runs of one setting in ``curves.csv``, all of them drawn at first."""
    keys = {(method, seed) for method, seed in curves[["method", "seed"]].itertuples(index=False)}
    runs = {
        f"{LABELS[method]} · seed {seed}": (method, curves[(curves["method"] == method) & (curves["seed"] == seed)])
        for method, seed in sorted(keys, key=lambda key: (list(LABELS).index(key[0]), key[1]))
    }
    return _twin(runs, first, runs)


def _told(vae: VAERun) -> tuple[str, str]:
    """Return a run's list (what it shares with others that may be compared) and its name there, for a reader."""
    network, data = vae.network, vae.data
    kind = "residual" if network.architecture == "residual" else "fully connected"
    group = f"{setting(data.name, network.likelihood)} · {kind} network"
    group += f" · N = {data.n_train:,} · {vae.epochs:,} epochs"
    method = vae.method if vae.mollify == "none" else f"{vae.method}_mollify"
    name = f"{LABELS.get(method, LABELS[vae.method])} · seed {vae.seed}"
    name += f" · nc = {network.nc}, mz = {network.mz}" if network.architecture == "residual" else ""
    name += f" · k = {vae.k}" if vae.k else ""
    name += "".join(f" · {remedy.replace('_', ' ')} {value:g}" for remedy, value in vae.regularisation if value)
    return group, name + (f" · {vae.real_share:.0%} real images" if vae.real_share is not None else "")


def _lists(found: Iterable[tuple[VAERun, pd.DataFrame]]) -> dict[str, dict[str, tuple[str, pd.DataFrame]]]:
    """Return runs by list and name, the list that shows most methods (of the most training) first, all runs last."""
    order, lists, every = list(LABELS), {}, {}
    found = sorted(found, key=lambda one: (order.index(one[0].method), one[0].seed, one[0].key))
    cost = {_told(vae)[0]: vae.epochs * vae.data.n_train for vae, _ in found}
    methods = {group: {vae.method for vae, _ in found if _told(vae)[0] == group} for group in cost}
    for group in sorted(cost, key=lambda group: (-len(methods[group]), -cost[group], group)):
        runs = lists[group] = {}
        for vae, curve in found:
            if _told(vae)[0] == group:
                name = _told(vae)[1]
                name = f"{name} · {vae.key[:6]}" if name in runs else name
                runs[name] = every[f"{name} · {group}"] = vae.method, curve
    return lists | ({"all runs in the store": every} if len(lists) > 1 else {})


def _shipped(quantity: str) -> dict[str, CurveTwin]:
    """Return the curves that come with the project, by setting and profile."""
    return {
        f"{setting(*place)} · profile {path.parents[1].name}": curve_twin(rows, quantity)
        for path in sorted(paths.results_folder("").glob("*/tables/curves.csv"))
        for place, rows in read_table(path).groupby(SETTING, sort=False)
    }


def curve_explorer(store: Store | None = None, *, quantity: str = "elbo_test") -> CurveLists:
    """Return the training curves in the store: choose a list, pick runs and a quantity, smooth, take a logarithmic axis.

    Runs of one data set, network, N and number of epochs form a list; so runs of another profile have one of their own. Where
    the store has none, the curves are those that come with the project, and a line says so. At the start ``quantity`` of up to
    four runs is shown that differ in their method alone.

    Raises:
        VaelibError: the store holds no trained VAE, and none was shipped.
    """
    lists = _lists(stored_curves(store or Store()))
    if not lists and (shipped := _shipped(quantity)):
        print("no VAE has been trained here yet: these curves come with the project")
        return CurveLists(shipped)
    if not lists:
        raise VaelibError(
            "no VAE has been trained yet: run `make`, or `vaelib run three_gaps --profile smoke` (seconds)"
        )
    twins = {}
    for group, runs in lists.items():
        alike: dict[str, list[str]] = {}  # runs that differ in their method alone
        for name in runs:
            alike.setdefault(name.partition(" · ")[2], []).append(name)
        twins[group] = _twin(runs, quantity, max(alike.values(), key=len)[:4])
    return CurveLists(twins)
