"""Training curves of single runs, smoothed by a slider: what the explorer draws, and what the report's page draws alike."""

import math
from collections.abc import Iterable, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd

from ..canvas import COLOURS, GREY, MARKERS, STYLE, WARM_UP, ReportFigure, padded
from .frames import DARK, MovingPicture

STYLES = ("-", "--", ":", "-.")
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


def told(quantity: str) -> tuple[str, str]:
    """Return a quantity's name for a reader and its unit; one that is not known keeps its own name."""
    return QUANTITIES.get(quantity, (quantity.replace("_", " "), ""))


def known_quantities(curves: Iterable[pd.DataFrame]) -> list[str]:
    """Return the quantities found in ``curves``, in the order of menus."""
    found = {name for curve in curves for name in curve["quantity"]}
    return [*(name for name in QUANTITIES if name in found), *sorted(found - set(QUANTITIES))]


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


def smoothed(values: np.ndarray, weight: float, first: int = 0) -> np.ndarray:
    """Return a curve averaged exponentially from its point ``first`` on, which nothing earlier drags: 0 changes nothing.

    y_t = Σ_s w^{t-s} x_s / Σ_s w^{t-s}, first ≤ s ≤ t, for points that are taken as evenly spaced; y_t = x_t before.
    """
    top = bottom = 0.0
    result = np.array(values, dtype=float)
    for place, value in enumerate(values[first:], first):
        top, bottom = weight * top + value, weight * bottom + 1
        result[place] = top / bottom
    return result


def heaviest(epochs: Iterable[np.ndarray]) -> float:
    """Return the largest weight to offer: it averages over some 1 / (1 - w) points, a third of the longest settled part."""
    points = max((len(one) - settled(one) for one in epochs if len(one)), default=0)
    return STEP * max(5, math.floor((1 - 3 / max(points, 3)) / STEP + 1e-9))


class CurvePicture(MovingPicture):
    """One quantity of several runs over effective epochs; the slider smooths, and the axes fit what is smoothed.

    Arguments:
        curves: by label, a run's ``effective_epoch, quantity, value``, with its method in ``attrs["method"]``.
        log: a logarithmic axis of epochs.
    """

    def __init__(self, curves: Mapping[str, pd.DataFrame], quantity: str, *, log: bool = False):
        chosen = {name: curve[curve["quantity"] == quantity].dropna(subset="value") for name, curve in curves.items()}
        chosen = {name: curve.sort_values("effective_epoch") for name, curve in chosen.items() if len(curve)}
        epochs = [curve["effective_epoch"].to_numpy() for curve in chosen.values()]
        self.values = [curve["value"].to_numpy() for curve in chosen.values()]
        self.first = [settled(one) for one in epochs]
        stops = round(heaviest(epochs) / STEP) + 1
        self.axes, self.start = (("smooth", [f"{STEP * stop:.2f}" for stop in range(stops)]),), (0,)
        label, unit = told(quantity)
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(9.5, 3.6 + 0.19 * len(chosen)))
            height = figure.get_figheight()
            self.ax = ax = figure.add_axes((0.11, 1 - 3.1 / height, 0.87, 2.85 / height))
            seen: dict[str, int] = {}
            self.lines = []
            for name, curve in chosen.items():
                method = curves[name].attrs.get("method", "")
                style = STYLES[seen.setdefault(method, 0) % len(STYLES)]
                seen[method] += 1
                look = {"color": COLOURS.get(method, GREY), "marker": MARKERS.get(method, "."), "ls": style}
                self.lines += ax.plot(curve["effective_epoch"], curve["value"], ms=4, label=name, **look)
            ax.set(xlabel="effective epochs", ylabel=f"{label}\n({unit})" if unit else label)
            if log:
                ax.set_xscale("log")
            if chosen:
                figure.legend(loc="lower left", bbox_to_anchor=(0.1, 0.0), fontsize=8.5, labelspacing=0.3)
            else:
                ax.text(0.5, 0.5, f"no {label} in the runs picked", transform=ax.transAxes, ha="center", color=DARK)
            ax.yaxis.set_major_formatter("{x:,.10g}")
            self.fitted = None
            self.move(0)

    def move(self, stop: int) -> None:
        """Smooth by ``stop`` steps, and fit the axes to the settled parts of the smoothed lines."""
        parts = []
        for line, values, first in zip(self.lines, self.values, self.first, strict=True):
            line.set_ydata(shown := smoothed(values, STEP * stop, first))
            parts.append(shown[first:])
        limits = padded(np.concatenate(parts)) if parts else (0.0, 1.0)
        if limits != self.fitted:
            self.fitted = limits
            self.ax.set_ylim(*limits)
            with mpl.rc_context(fname=STYLE):
                self.freeze(self.ax.figure, self.lines)
