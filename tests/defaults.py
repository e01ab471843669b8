"""The defaults of every record that a key is made of, kept as lines in ``defaults.txt``: ``python -m tests.defaults`` writes them.

A key holds only what differs from the defaults. If a default, or what comes out under equal settings, changes on purpose, raise
the ``version`` of that artifact and write the file anew. A setting added with the old behaviour as its default adds a line and
raises nothing.
"""

from collections.abc import Iterator
from pathlib import Path

from vaelib.report.study import studies
from vaelib.runs.settings import Artifact, Network, Settings

FILE = Path(__file__).with_name("defaults.txt")


def _below(kind: type[Settings]) -> Iterator[type[Settings]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def kinds() -> list[type[Settings]]:
    """Return all artifacts' records of the library, and the network's, by name."""
    studies()  # imports them all
    found = {one for one in _below(Artifact) if one.__module__.startswith("vaelib.")}
    return sorted(found | {Network}, key=lambda kind: kind.__name__)


def lines_of(kind: type[Settings]) -> list[str]:
    """Return a record's name with its version, and a line for each field with its default."""
    version = getattr(kind, "version", "none")
    version = "its runs'" if isinstance(version, property) else version
    given = {name: repr(info.default) for name, info in kind.model_fields.items() if not info.is_required()}
    fields = [f"  {name} = {given[name]}" if name in given else f"  {name}" for name in sorted(kind.model_fields)]
    return [f"{kind.__name__}, version: {version}", *fields]


if __name__ == "__main__":
    FILE.write_text("\n\n".join("\n".join(lines_of(kind)) for kind in kinds()) + "\n", encoding="utf-8")
