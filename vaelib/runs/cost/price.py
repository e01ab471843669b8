"""What work costs: on this machine, measured or as a reference, and on hardware given by name. One place for prices.

The order of starting, the progress bar and ``vaelib plan`` stand on it, never a result. :mod:`vaelib.runs.cost.work` says how
much work there is; a :class:`Machine` says how fast each kind of it goes. A small network leaves a GPU waiting: for Python to
start the next kernel, and in a captured step for the kernel before. A run takes the longest of arithmetic and both waits; while
one waits for Python, the card computes for others, so several workers share it, and under CUDA MPS also while one waits for
its own kernel before.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ... import paths
from ...errors import VaelibError, unknown
from ...precision import gpus_for, mps_runs, usable_gpus
from ...text import how_many
from ..cluster import share_out, workers_a_card
from ..provenance import cores, provenance
from ..settings import Artifact
from .work import Work, work

WITH_MPS = ", CUDA MPS on"
LAUNCH = 8e-6  # seconds to start a kernel from Python: a guess, until a GPU is timed
SHORTEST = 2e-6  # seconds from a small kernel to the next in a graph: also a guess


class Machine(NamedTuple):
    """A core or a GPU: units of each kind of work a second (see :class:`~vaelib.runs.cost.work.Work`).

    Attributes:
        launch, shortest: seconds until Python has started a kernel, and that a kernel takes at least; 0 on cores.
        workers: processes that work at once.
        cards: the cores or GPUs that they share.
        together: kernels of several workers run on a card at once (CUDA MPS), not in turn.
        unit: what one of these is called.
        trust: how far to trust these rates.
    """

    name: str
    fc: float
    residual: float
    training: float
    sampling: float
    mixture: float
    launch: float = 0.0
    shortest: float = 0.0
    workers: int = 1
    cards: int = 1
    together: bool = False
    unit: str = "GPU"
    trust: str = "good to a factor of about two"

    def busy(self, amount: Work) -> float:
        """Return the time that some work keeps a core or GPU from others."""
        arithmetic = sum(getattr(amount, kind) / getattr(self, kind) for kind in RATES)
        return arithmetic if self.together else max(arithmetic, (amount.kernels + amount.captured) * self.shortest)

    def seconds(self, amount: Work) -> float:
        """Return the time of some work for one worker that has a core or GPU to itself."""
        waits = amount.kernels * max(self.launch, self.shortest) + amount.captured * self.shortest
        return max(self.busy(amount), waits) + amount.core


RATES = ("fc", "residual", "training", "sampling", "mixture")
WAITS = ("launch", "shortest")
# One core of the machine this was written on (2.6 GHz AMD EPYC, bfloat16), for a machine that was not calibrated.
REFERENCE = {"fc": 6.2e10, "residual": 8e10, "training": 1e11, "sampling": 1.4e11, "mixture": 6e7}


class Card(NamedTuple):
    """A GPU by its data sheet: dense FLOP/s in the precision that ``amp`` gets, bytes of memory a second; and those it reports."""

    flops: float
    traffic: float
    memory: int


# A100 and H100 (SXM) multiply bfloat16; an RTX 2080 Ti does not, and computes in float32.
CARDS = {
    "a100": Card(312e12, 1.6e12, int(39.4 * 2**30)),
    "h100": Card(989e12, 3.35e12, int(79.1 * 2**30)),
    "rtx2080ti": Card(13.45e12, 0.616e12, int(10.7 * 2**30)),
}
# Share of a data sheet's FLOP/s that eager PyTorch gets at 32×32, by kind of work.
#   sampling: 50,000 images in 25 to 30 minutes on one A100 (Appendix D.1) are 50,000 · 35 · 41.7 GFLOP in 27.9 minutes.
#   training: 200 M images in about one day on eight A100s (Appendix D) are 200 M · 3 · 41.7 GFLOP at this share.
#   residual, fc: guesses, since the paper says nothing: convolutions as in training, narrow matrix products less.
EFFICIENCY = {"sampling": 0.14, "training": 0.116, "residual": 0.1, "fc": 0.05}
MIXTURE_BYTES = 200  # of memory traffic a component, gradient included: also a guess


def hardware(name: str, count: int = 1, together: bool = False) -> Machine:
    """Return ``count`` GPUs of a kind known by name, ``together``: under CUDA MPS.

    Raises:
        VaelibError: unknown name, or none.
    """
    if name not in CARDS:
        raise unknown("hardware =", name, CARDS)
    if count < 1:
        raise VaelibError(f"count = {count}: give at least one")
    card = CARDS[name]
    rates = {kind: share * card.flops for kind, share in EFFICIENCY.items()}
    return Machine(
        f"{count} {name}{WITH_MPS * together}",
        **rates,
        mixture=card.traffic / MIXTURE_BYTES,
        launch=LAUNCH,
        shortest=SHORTEST,
        workers=count * workers_a_card(card.memory),
        cards=count,
        together=together,
        trust="from data sheets; it was never measured and may be off by more than a factor of two",
    )


def calibration_file() -> Path:
    """Return where this machine's measured rates are kept."""
    return paths.build_root() / "calibration.json"


def identity() -> dict[str, str]:
    """Return what a calibration holds for."""
    return {name: value for name, value in provenance().items() if name in ("device", "torch")}


def measured() -> dict[str, float] | None:
    """Return what the last calibration in this build folder found, or None: none yet, or of another machine."""
    try:
        kept = json.loads(calibration_file().read_text(encoding="utf-8"))
        rates = {kind: float(kept["rates"][kind]) for kind in RATES + (WAITS if usable_gpus() else ())}
        return rates if kept["machine"] == identity() and min(rates.values()) > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def this_machine(quick: bool = False, device: str = "auto") -> Machine:
    """Return this machine by its last calibration, else (or if ``quick``) by the reference's rates.

    Of a machine with a GPU the calibration tells of the GPU: ``device`` "cpu" goes by the reference there.
    """
    gpus = len(gpus_for(device))
    rates = None if quick or (not gpus and usable_gpus()) else measured()
    if not gpus:
        return Machine(
            f"this machine's {cores()} cores", **(rates or REFERENCE), workers=cores(), cards=cores(), unit="core"
        )
    workers, together = share_out(None, device)[0], mps_runs()
    name = f"this machine's {how_many(gpus, 'GPU')}{WITH_MPS * together}"
    if rates is None:  # some GPU: better an A100's share of guesses than a core's
        return hardware("a100", gpus, together)._replace(name=f"{name}, taken for {gpus} A100", workers=workers)
    return Machine(name, **rates, workers=workers, cards=gpus, together=together)


@cache
def _here(kept: Path, changed: int, device: str) -> Machine:
    return this_machine(device=device)


def cost(artifact: Artifact, device: str = "auto") -> float:
    """Return an artifact's price in seconds of one core or GPU of this machine, its upstream not included."""
    kept = calibration_file()
    changed = kept.stat().st_mtime_ns if kept.exists() else 0
    return max(_here(kept, changed, device).seconds(work(artifact)), 1e-3)
