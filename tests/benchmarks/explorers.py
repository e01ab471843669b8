"""What a drag of an explorer's slider costs: ``python -m tests.benchmarks.explorers`` (half a minute on one thread).

The aim is a new picture within 150 ms on a CPU. A browser adds about 50 ms for the message and the drawing.
"""

import time
from collections.abc import Callable

import ipywidgets
import torch

from vaelib.models import VAE, FullyConnectedVAE, MixtureOfLogistics, ResidualVAE
from vaelib.report.explorers.widgets import attack_explorer, interpolation_explorer, traversal_explorer

from .table import Row, lines

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


def rows(quick: bool = False) -> list[Row]:
    """Return the milliseconds of building a panel, and of the slowest and the middle step of each slider."""
    found = []
    for network, build in list(NETWORKS.items())[: 1 if quick else None]:
        vaes = {method: build().eval() for method in ("normal", "dmaapx")}
        for explorer in (interpolation_explorer, traversal_explorer, attack_explorer):
            name = f"{explorer.__name__.removesuffix('_explorer')}, {network}"
            start = time.perf_counter()
            box = explorer(vaes, IMAGES)
            found.append(Row(f"{name}: panel", "ms", 1e3 * (time.perf_counter() - start)))
            for slider in sliders(box):
                times = []
                for value in stops(slider)[-2 if quick else None :]:
                    start = time.perf_counter()
                    slider.value = value
                    times.append(1e3 * (time.perf_counter() - start))
                label = f"{name}: {slider.description}"
                found += [
                    Row(f"{label}, median", "ms", sorted(times)[len(times) // 2]),
                    Row(f"{label}, worst", "ms", max(times)),
                ]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(lines(rows())))
