"""Training curves of single runs, smoothed by a slider."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd

from .canvas import COLOURS, GREY, STYLE, ReportFigure
from .frames import DARK, MovingPicture
from .plotting import ELBO_LABEL, robust_limits

STYLES = ("-", "--", ":", "-.")


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average of a curve, corrected for its start: weight 0 changes nothing.

    y_t = Σ_s w^{t-s} x_s / Σ_s w^{t-s}, s ≤ t, for points that are taken as evenly spaced.
    """
    top = bottom = 0.0
    result = np.empty(len(values))
    for place, value in enumerate(values):
        top, bottom = weight * top + value, weight * bottom + 1
        result[place] = top / bottom
    return result


class CurvePicture(MovingPicture):
    """One quantity of several runs over effective epochs; the slider smooths, the axes stay.

    Arguments:
        curves: by label, a run's ``effective_epoch, quantity, value``, with its method in ``attrs["method"]``.
        log: a logarithmic axis of epochs.
    """

    def __init__(self, curves: Mapping[str, pd.DataFrame], quantity: str, *, log: bool = False):
        self.axes, self.start = (("smooth", [f"{0.05 * stop:.2f}" for stop in range(20)]),), (0,)
        chosen = {name: curve[curve["quantity"] == quantity] for name, curve in curves.items()}
        chosen = {name: curve.sort_values("effective_epoch") for name, curve in chosen.items() if len(curve)}
        self.values = [curve["value"].to_numpy() for curve in chosen.values()]
        with mpl.rc_context(fname=STYLE):
            figure = ReportFigure(figsize=(9.5, 3.6 + 0.19 * len(chosen)))
            height = figure.get_figheight()
            ax = figure.add_axes((0.11, 1 - 3.1 / height, 0.87, 2.85 / height))
            seen: dict[str, int] = {}
            self.lines = []
            for name, curve in chosen.items():
                method = curves[name].attrs.get("method", "")
                style = STYLES[seen.setdefault(method, 0) % len(STYLES)]
                seen[method] += 1
                look = {"color": COLOURS.get(method, GREY), "label": name, "ls": style}
                self.lines += ax.plot(curve["effective_epoch"], curve["value"], marker="o", ms=3, **look)
            ax.set(xlabel="effective epochs", ylabel=ELBO_LABEL if quantity.startswith("elbo") else quantity)
            if log:
                ax.set_xscale("log")
            if chosen:
                ax.set_ylim(*robust_limits(pd.concat(chosen.values()), (quantity,)))
                figure.legend(loc="lower left", bbox_to_anchor=(0.1, 0.0), fontsize=8.5, labelspacing=0.3)
            else:
                ax.text(0.5, 0.5, f"no {quantity} in the runs picked", transform=ax.transAxes, ha="center", color=DARK)
            ax.yaxis.set_major_formatter("{x:,.5g}")
            self.freeze(figure, self.lines)

    def move(self, stop: int) -> None:
        """Smooth by 0.05 · ``stop``."""
        for line, values in zip(self.lines, self.values, strict=True):
            line.set_ydata(smoothed(values, 0.05 * stop))
