"""Weights from a file go into a network whole: none missing, none left over, none of another shape or kind."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from ..errors import VaelibError

# What wrappers put before every name of the network inside them.
WRAPPERS = {
    "module.": "DistributedDataParallel, DataParallel or AveragedModel",
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FullyShardedDataParallel",
}


def _some(names: Collection[str], of: str) -> str:
    """Return a count of names and the first three of them, or nothing for none."""
    first = sorted(names)[:3]
    more = [f"{len(names) - 3:,} more"] if len(names) > 3 else []
    return f"{len(names):,} {of} ({', '.join([*first, *more])})" if names else ""


def matched(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """Return ``tensors`` under the names of ``wanted``; prefixes of wrappers go where every name carries them.

    Raises:
        VaelibError: a tensor that is missing, belongs nowhere, or has another shape or kind of number.
    """
    found = dict(tensors)
    while found and not found.keys() & wanted.keys():
        prefix = next((prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in found)), None)
        if prefix is None:
            break
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    # Counters of batch normalisation that nothing here reads; torch itself lets old files lack them.
    found = {name: t for name, t in wanted.items() if name.endswith(".num_batches_tracked")} | found
    missing, extra = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    unlike = {
        name
        for name in found.keys() & wanted.keys()
        if found[name].shape != wanted[name].shape
        or found[name].is_floating_point() != wanted[name].is_floating_point()
    }
    wrong = _some(missing, "missing"), _some(extra, "unexpected"), _some(unlike, "of another shape or type")
    if any(wrong):
        around = next((prefix for prefix in WRAPPERS if any(name.startswith(prefix) for name in extra)), None)
        what = f"the state_dict of the network inside its {WRAPPERS[around]}" if around else "this network's state_dict"
        raise VaelibError(f"{source} does not fit the network: {'; '.join(filter(None, wrong))}: save {what} again")
    return found


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Load all of ``tensors`` into all of ``network``; ``source`` names them in errors.

    Raises:
        VaelibError: see :func:`matched`.
    """
    network.load_state_dict(matched(tensors, network.state_dict(), source))
