"""Kinds of artifacts: how one is made, what that costs and how large it is, declared beside the function that makes it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import VaelibError
from .settings import Artifact

SMALL = 4_000  # bytes of a manifest and a short table


class Kind(NamedTuple):
    """What there is to know of a class of settings.

    Attributes:
        make: writes the files, called with the settings and a :class:`~vaelib.runs.stages.context.Context`.
        work: the settings' :class:`~vaelib.runs.cost.work.Work`, upstream not included; None: a second of one core.
        size: bytes on disk.
        gpu: whether a GPU has a part in it; if not, no worker of a GPU is held up by it.
    """

    make: Callable[[Any, Any], None]
    work: Callable[[Any], Any] | None
    size: Callable[[Any], int]
    gpu: bool = True


_kinds: dict[type[Artifact], Kind] = {}


def makes(
    settings: type[Artifact],
    work: Callable[[Any], Any] | None = None,
    size: Callable[[Any], int] = lambda settings: SMALL,
    gpu: bool = True,
) -> Callable[[Callable[[Any, Any], None]], Callable[[Any, Any], None]]:
    """Declare that the decorated function makes artifacts of class ``settings``; the rest is as :class:`Kind` has it."""

    def declare(make: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        _kinds[settings] = Kind(make, work, size, gpu)
        return make

    return declare


def kind_of(settings: Artifact) -> Kind:
    """Return the kind of some settings.

    Raises:
        VaelibError: no function that is imported makes them.
    """
    if type(settings) not in _kinds:
        raise VaelibError(
            f"nothing makes a {type(settings).__name__}: import the module with its @makes function first"
        )
    return _kinds[type(settings)]
