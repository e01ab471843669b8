"""What we expect of the rungs, written before any laptop number; the paper says nothing of them.

Expected: a teacher that only remembers gives normal training back. Noise and averages smooth D_train and help a little, as an
augmentation would; new combinations of known patches help more; a network that has learned from the same images more than any
closed form of them, and a better network more than a worse one; real images, which alone hold what is new, most.
"""

from ...report.entries import OWN, Entry, Part
from ...report.rules import Case, Evidence, Quantity, needs, same, value
from ..memorisation.claims import ours


def elbo(rung: str) -> Quantity:
    """Return the test ELBO of a rung's VAE."""
    return value(rung, None, "elbo_test")


def rungs(found: Evidence, *starts: str) -> list[str]:
    """Return the rungs whose names begin so."""
    return sorted({str(term[0]) for term in found.values if str(term[0]).startswith(starts)})


def memory_is_normal(found: Evidence) -> Case | str:
    """The exact denoiser's VAE has normal training's test ELBO, to a fifth of what the network gains."""
    gain = elbo("network") - elbo("normal")
    return needs(*same(elbo("memory"), elbo("normal"), gain), premise=[gain])


def noise_helps(found: Evidence) -> Case | str:
    """At some bandwidth a kernel density has a higher test ELBO than normal training."""
    kernels = rungs(found, "kernel_")
    return Case([[elbo(one) - elbo("normal")] for one in kernels]) if kernels else "needs a value in ladder_bandwidths"


def patches_beat_noise(found: Evidence) -> Case | str:
    """The denoiser of patches has a higher test ELBO than every kernel density and every average."""
    others = rungs(found, "kernel_", "ended_")
    return needs(*(elbo("patches") - elbo(one) for one in others)) if others else "needs a value in ladder_bandwidths"


def network_beats_closed_forms(found: Evidence) -> Case | str:
    """The network has a higher test ELBO than every teacher in closed form."""
    return needs(*(elbo("network") - elbo(one) for one in rungs(found, "kernel_", "ended_", "patches", "memory")))


def better_network(found: Evidence) -> Case | str:
    """The network has a higher test ELBO than one of half its width."""
    return needs(elbo("network") - elbo("network_half"))


def real_is_best(found: Evidence) -> Case | str:
    """Held-out real images have a higher test ELBO than every teacher."""
    if not rungs(found, "held_out"):
        return "needs N real images beside D_train"
    others = rungs(found, "kernel_", "ended_", "patches", "memory", "network", "normal")
    return needs(*(elbo("held_out") - elbo(one) for one in others))


ENTRIES = [Entry(*line, settings=()) for line in (
    ("ladder-memory", "A teacher that only remembers gives normal training back", OWN, "test ELBO", "ladder",
     memory_is_normal),
    ("ladder-noise", "A kernel density of the training images beats the training images", OWN, "test ELBO", "ladder",
     noise_helps),
    ("ladder-patches", "New combinations of known patches beat noise and averages", OWN, "test ELBO", "ladder",
     patches_beat_noise),
    ("ladder-network", "A network beats every teacher in closed form: DMaaPx is more than smoothing", OWN, "test ELBO",
     "ladder", network_beats_closed_forms),
    ("ladder-better", "A network of twice the width is a better teacher", OWN, "test ELBO", "ladder", better_network),
    ("ladder-real", "Held-out real images beat every teacher", OWN, "test ELBO", "ladder", real_is_best),
)]  # fmt: skip
PART = Part(ENTRIES, ours)
