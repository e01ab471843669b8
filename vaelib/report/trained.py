"""What drawing reads from the store, or of what was shipped: an experiment's test images and its trained VAEs."""

from collections.abc import Sequence

from torch import Tensor

from .. import paths
from ..errors import VaelibError
from ..models import VAE
from ..runs import Experiment, Store, load_vae, run
from ..runs.stages import build_vae
from ..runs.stages.context import pick_device
from ..runs.store import load_split
from ..runs.weights import kept_weights, weights_file
from .canvas import LABELS
from .publish import command_of


def load_test_set(experiment: Experiment) -> tuple[Tensor, Tensor]:
    """Return the experiment's test images, (N, C, 32, 32) uint8, and their labels."""
    if experiment.profile.use_results:
        run([experiment.data])  # reads them, which is no training
    return tuple(load_split(Store(), experiment.data, name) for name in ("test", "test_labels"))


def trained_vaes(experiment: Experiment, methods: Sequence[str] | None = None) -> dict[str, VAE]:
    """Return the trained VAE of seed 0 of each series (or of ``methods``), read from the store; nothing is trained here.

    Under ``use_results`` they are those that were shipped, in half precision.

    Of several VAEs of a series it is the first one: the sensitivity panel trains some again under another setting.

    Raises:
        VaelibError: one is not there yet, with the command that makes it.
    """
    store, vaes, device = Store(), {}, pick_device()
    for point in experiment.points:
        if point.vae.seed == 0 and point.series not in vaes and (methods is None or point.series in methods):
            if experiment.profile.use_results:
                vae = vaes[point.series] = build_vae(point.vae.network, experiment.data.channels).to(device)
                kept_weights(weights_file(paths.results_folder(experiment.profile.name), point.vae.key), vae)
                continue
            if not store.has_manifest(point.vae):
                making = command_of(experiment)
                raise VaelibError(
                    f"{LABELS.get(point.series, point.series)}, seed 0, is not in the store: run `{making}` (with your "
                    "overrides as --set name=value), or the notebook's own cells above; or set use_results=true"
                )
            vaes[point.series] = load_vae(point.vae, store, device=device)
    return vaes
