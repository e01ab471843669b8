"""What a run costs, roughly: the order of starting, the progress bar and ``vaelib plan`` stand on it, never a result."""

from .evaluations import Corrupted, Downstream
from .settings import RHA, Artifact, Bank, Gaps, Teacher, VAERun

# On one core of the machine this was written on.
IMAGES_PER_SECOND = {
    "gaussian": 6_500,
    "bernoulli": 6_500,
    "mol": 520,
    "mol_channel": 6_000,
    "teacher": 270,
    "evaluations": 1_150,
    "corruptions": 5_000,
}


def cost(artifact: Artifact) -> float:
    """Return a rough price in single-core seconds, for the progress bar and for starting the longest path first."""
    if isinstance(artifact, Teacher):
        return artifact.images / IMAGES_PER_SECOND["teacher"]
    if isinstance(artifact, Bank):
        return artifact.size * (2 * artifact.steps - 1) / IMAGES_PER_SECOND["evaluations"]
    if isinstance(artifact, VAERun):
        return artifact.epochs * artifact.data.n_train * _seconds_an_image(artifact)
    if isinstance(artifact, RHA):
        return (artifact.epochs - artifact.start) * artifact.vae.data.n_train * _seconds_an_image(artifact.vae)
    if isinstance(artifact, Gaps):
        return len(artifact.vae.snapshots) * (artifact.amortization_images or artifact.vae.data.n_test) / 50
    if isinstance(artifact, Corrupted):
        return artifact.images * len(artifact.names) * artifact.data.channels / IMAGES_PER_SECOND["corruptions"]
    if isinstance(artifact, Downstream):
        sets, images = len(artifact.corrupted.names) + 2, artifact.corrupted.images
        return sets * (0.2 + 5e-8 * images**2)  # one-against-one linear SVMs; the kernel SVM
    return 1.0


def _seconds_an_image(run: VAERun) -> float:
    network = run.network
    if network.architecture == "fc":
        return 1 / IMAGES_PER_SECOND[network.likelihood]
    flops = 6 * (8_704 * network.nc**2 + 114_688 * network.nc)
    return flops / 8e10 + run.data.channels / IMAGES_PER_SECOND["mol_channel"]
