"""What a person can fix: one line that names the setting, the allowed values and the way out."""

import difflib
from collections.abc import Iterable


class VaelibError(Exception):
    """A mistake outside the code (setting, file, data, machine); the CLI prints its text and no traceback.

    >>> from vaelib import build_likelihood
    >>> try:
    ...     build_likelihood("gauss")
    ... except VaelibError as error:
    ...     print(error)
    likelihood = 'gauss' is unknown; choose one of bernoulli, gaussian, mol; did you mean gaussian?
    """


class NonFinite(VaelibError):
    """A network gave NaN or infinity; nothing was made of it."""


class NonFiniteLoss(NonFinite):
    """Training met NaN or infinity and stopped; the last good checkpoint is kept."""


def hint(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a name that is close to a known one, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def at_least_one(**counts: int) -> None:
    """Raise VaelibError for a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise VaelibError(f"{name} = {count}: give at least 1")


def unknown(what: str, name: object, known: Iterable[str]) -> VaelibError:
    """Return the error for a name that is none of those ``known``; ``what`` stands before it, as in ``profile =``."""
    known = list(known)
    return VaelibError(f"{what} {name!r} is unknown; choose one of {', '.join(known)}{hint(name, known)}")
