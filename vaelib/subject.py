"""Whose scorecard: a VAE that a function of one's own returns, ``module:function``, or one of the store, by its key.

A name is text: it is taken apart, imported and looked up, and never evaluated.
"""

import importlib
import inspect
import os
import re
import sys
from typing import Any, NamedTuple

from pydantic import ValidationError
from torch import Tensor, nn

from .errors import VaelibError, unknown
from .models.adapters import check_vae, from_pythae, is_pythae
from .runs import Gaps, Store, VAERun, load_vae
from .runs.store import MANIFEST, load_split, read_manifest

KEY = re.compile(r"[0-9a-f]{6,20}")  # the beginning of one is enough


class Subject(NamedTuple):
    """A VAE, what it is called, and its images where they came with it: train, test, and the labels of test."""

    vae: nn.Module
    name: str
    images: tuple[Tensor, Tensor, Tensor | None] | None


def find(text: str) -> Subject:
    """Return what ``text`` names: ``module:function``, or the key (or its beginning) of a VAE or of its gaps in the store.

    Raises:
        VaelibError: no such module, function or key; a function that takes arguments or returns something else.
    """
    return _stored(text) if KEY.fullmatch(text) else _returned(text, _function(text)())


def _function(text: str) -> Any:
    """Return the function called ``module:function``; modules of the current folder are found as those installed are."""
    module, _, name = text.partition(":")
    if not name.isidentifier() or not all(map(str.isidentifier, module.split("."))) or module.endswith(".py"):
        cure = re.sub(r"\.py(?=:|$)", "", text).strip("./").replace("/", ".")
        cure = cure if re.fullmatch(r"[\w.]+:\w+", cure) else "mine:my_vae, for the function my_vae of mine.py"
        raise VaelibError(f"{text!r} names no function and no key of the store; give module:function: {cure}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise VaelibError(f"{module} imports {error.name}, which is not installed; install it") from None
        raise VaelibError(
            f"there is no module {error.name}, neither in {os.getcwd()} nor installed; run this in the folder of "
            f"{error.name}.py, or check the spelling"
        ) from None
    function = getattr(found, name, None)
    if function is None:
        known = [one for one, value in vars(found).items() if inspect.isfunction(value) and value.__module__ == module]
        if not known:
            raise VaelibError(f"{module} has no function of its own; write one that returns the VAE")
        raise unknown(f"function of {module} =", name, known)
    if not callable(function) or isinstance(function, nn.Module):
        raise VaelibError(f"{text} is a {type(function).__name__}; give a function that returns the VAE")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise VaelibError(f"{text} cannot be called without arguments ({error}); give a function that can") from None
    return function


def _returned(text: str, found: Any) -> Subject:
    """Return the subject that a function returned."""
    vae, *images = found if isinstance(found, tuple | list) else (found,)
    if len(images) not in (0, 2, 3):
        raise VaelibError(
            f"{text} returned {1 + len(images)} things; return the VAE, or (vae, train, test, labels), labels of test"
        )
    try:
        vae = from_pythae(vae) if is_pythae(vae) else vae
        check_vae(vae)
    except VaelibError as error:
        raise VaelibError(f"what {text} returned: {error}") from None
    train, test, labels = [*images, None, None, None][:3]
    return Subject(vae, text, (train, test, labels) if images else None)


def _stored(text: str) -> Subject:
    """Return a trained VAE of the store with the images that it was trained and scored on."""
    store = Store()
    places = [path.parent for kind in (VAERun, Gaps) for path in (store.root / kind.kind).glob(f"{text}*/{MANIFEST}")]
    places = [place for place in places if place.suffix != ".work"]
    if len(places) != 1:
        there = "no VAE" if not places else f"{len(places)} VAEs and gaps"
        raise VaelibError(
            f"key = {text}: {there} of the store {store.root} begin so; give one of the column key of three_gaps.csv"
        )
    (place,) = places
    try:
        run = (VAERun if place.parent.name == VAERun.kind else Gaps).model_validate(
            read_manifest(place / MANIFEST)["settings"]
        )
    except ValidationError:
        raise VaelibError(
            f"{place} was made by another version of this vaelib; make it again with `vaelib run`"
        ) from None
    settings = run if isinstance(run, VAERun) else run.vae
    vae = load_vae(settings, store)
    if isinstance(run, Gaps):
        vae.smallest_sigma = run.sigma_floor
    images = tuple(load_split(store, settings.data, name) for name in ("train", "test", "test_labels"))
    return Subject(vae, f"{settings.method}, seed {settings.seed}, {settings.data.name}", images)
