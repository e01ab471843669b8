"""What a drag of an explorer's slider costs: ``python -m tests.benchmarks.explorers`` (half a minute on one thread).

The aim is a new picture within 150 ms on a CPU. A browser adds about 50 ms for the message and the drawing.
"""

import time
from collections.abc import Callable

import ipywidgets
import torch

from vaelib.models import VAE, FullyConnectedVAE, MixtureOfLogistics, ResidualVAE
from vaelib.report.widgets import attack_explorer, interpolation_explorer, traversal_explorer

IMAGES = (torch.rand(12, 1, 32, 32) * 255).to(torch.uint8)
NETWORKS: dict[str, Callable[[], VAE]] = {
    "fully connected": FullyConnectedVAE,
    "residual nc = 32, mol": lambda: ResidualVAE(nc=32, mz=1, channels=1, likelihood=MixtureOfLogistics()),
}


def sliders(box: ipywidgets.Box) -> list:
    """Return the sliders inside a panel."""
    found = []
    for child in getattr(box, "children", ()):
        kinds = (ipywidgets.FloatSlider, ipywidgets.IntSlider, ipywidgets.SelectionSlider)
        found += [child] if isinstance(child, kinds) else sliders(child)
    return found


def stops(slider) -> list:
    """Return every value that a slider can take."""
    if isinstance(slider, ipywidgets.SelectionSlider):
        return [value for _, value in slider.options]
    return [slider.min + place * slider.step for place in range(round((slider.max - slider.min) / slider.step) + 1)]


def rows() -> list[tuple[str, float, str]]:
    """Return the rows of ``make bench``: building a panel, and the slowest and the middle step of each slider."""
    found = []
    for network, build in NETWORKS.items():
        vaes = {method: build().eval() for method in ("normal", "dmaapx")}
        for explorer in (interpolation_explorer, traversal_explorer, attack_explorer):
            name = f"{explorer.__name__.removesuffix('_explorer')}, {network}"
            start = time.perf_counter()
            box = explorer(vaes, IMAGES)
            found.append((f"{name}: panel", 1e3 * (time.perf_counter() - start), "ms"))
            for slider in sliders(box):
                times = []
                for value in stops(slider):
                    start = time.perf_counter()
                    slider.value = value
                    times.append(1e3 * (time.perf_counter() - start))
                label = f"{name}: {slider.description}"
                found += [
                    (f"{label}, median", sorted(times)[len(times) // 2], "ms"),
                    (f"{label}, worst", max(times), "ms"),
                ]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, value, unit in rows():
        print(f"{name:60} {value:8,.0f} {unit}")
