"""Results that come with the project: ``results/<profile>``, what a reader should see before anything is trained.

They are copies of a build's tables, figures with their records, ledger, sliders, rendered notebooks and the few weights that
explorers need. A report can be drawn from them, and explorers find them where nothing is made; a run takes them for its own
(:mod:`vaelib.results.making`) only where ``use_results`` says so.
"""

import base64
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from .. import paths
from ..errors import VaelibError
from ..files import read_json, write_json
from ..report.claims import judge_build, require_build
from ..report.study import studies
from ..runs.tables import SETTING, build_records, read_table, replaced
from .gallery import gallery

KEPT = (
    "build.json",
    "claims.json",
    "tables/*.csv",
    "figures/*.png",
    "figures/*.json",
    "twins/*.json",
    "weights/*.safetensors",
    "notebooks/*.html",
)
LARGEST, IN_ALL = 4_000_000, 25_000_000  # bytes of a file, and of everything below results/
TAKEN = "taken from"  # in build.json: the experiment's numbers were shipped, not made here
SAME = ("data", "training and test images", "epochs")  # of build.json: seeds of others cannot stand in one table
# Names that a renderer draws by lot, and lines that tell of seconds.
BY_LOT = re.compile(r"(?<=cell-id=)[0-9a-f]{8}|(?<=\bT_)[0-9a-f]{5}(?=[_\"' ])")
PICTURE = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/]+=*")  # in a rendered notebook
ALIKE = 10.0  # mean squared difference of two 8-bit pictures, PSNR 38 dB, below which nobody sees any
PACE = re.compile(
    r"(?<=[\n>])[^\n<>]{1,200}?: (?:\d+%|[\d,]+/[\d,]+ [^\n<>]{1,60}?), [^\n<>]{1,60}? left(?: \([^\n<>]{1,100}\))?\n"
)


def pack(profile: str, join: bool = False) -> list[Path]:
    """Make ``results/<profile>`` a copy of what a reader wants of ``build/<profile>``; return its files.

    Equal builds give equal bytes. With ``join`` what is shipped already stays: tables keep the rows of other data sets and of
    other seeds, and of two files with one name the build's is taken.

    Raises:
        VaelibError: there is no build; its numbers were shipped; seeds of other settings are to be joined; a file, or all of
            them, would be too large. Then nothing is changed.
    """
    build, out = require_build(paths.build_root() / profile), paths.results_folder(profile)
    if not any(build.glob("tables/*.csv")):
        raise VaelibError(
            f"{paths.shown(build)} has no tables, so there is nothing to pack: make its figures first (make PROFILE={profile})"
        )
    record = build_records(build)
    if taken := [name for name, about in record.items() if TAKEN in about]:
        raise VaelibError(
            f"{'; '.join(taken)}: these numbers were shipped, not made here: run `make` without use_results"
        )
    part = out.with_name(f".{profile}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        if join and out.is_dir():
            shutil.copytree(out, part)
        for path in sorted(path for pattern in KEPT for path in build.glob(pattern)):
            copy = part / path.relative_to(build)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".html":
                copy.write_text(_still(path.read_text(encoding="utf-8")), encoding="utf-8")
            elif join and path.suffix == ".csv" and copy.exists():
                table = read_table(path)
                identity = [column for column in ("experiment", *SETTING, "seed") if column in table]
                table = replaced(read_table(copy), table, identity)  # of other data sets, experiments or seeds
                table.sort_values(identity, kind="stable", ignore_index=True).to_csv(copy, index=False)
            elif path.suffix == ".png":
                copy.write_bytes(small(path.read_bytes()))
            elif path.name != "build.json":
                shutil.copyfile(path, copy)
        known = build_records(part)
        write_json(part / "build.json", {n: _both(n, known, record) for n in sorted(known | record)})
        if join:
            _derive(part, profile)
        judge_build(part, profile)  # by the tables that are packed, whatever the build's own ledger was judged by
        (part / "README.md").write_text(gallery(part, profile), encoding="utf-8")
        _refuse_large(part, out, build)
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _both(name: str, shipped: dict[str, Any], build: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an experiment of which one side or both hold seeds."""
    one, other = shipped.get(name, {}), build.get(name, {})
    if not (one and other) or set(one["seeds"]) <= set(other["seeds"]):
        return other or one
    unlike = [what for what in SAME if what in one and what in other and one[what] != other[what]]
    if unlike:
        raise VaelibError(
            f"{name}: {unlike[0]} is {other[unlike[0]]} here and {one[unlike[0]]} in what is shipped, so their seeds do not "
            "join; make it under the same settings, or pack without --join"
        )
    both = {  # each once, however often they are joined
        what: "; ".join(dict.fromkeys([*str(one[what]).split("; "), *str(other[what]).split("; ")]))
        for what in one.keys() & other.keys()
        if one[what] != other[what]
    }
    seeds = sorted({*one["seeds"], *other["seeds"]})
    return one | other | both | {"seeds": seeds, "finished": max(one["finished"], other["finished"])}


def _derive(folder: Path, profile: str) -> None:
    """Compute anew the tables of means over seeds."""
    for name, source, compute in (one for study in studies().values() for one in study.derived):
        path, of = folder / f"tables/{name}.csv", folder / f"tables/{source}.csv"
        if path.exists() and of.exists():
            kept = read_table(path)
            new, settings = _anew(kept, compute(read_table(of))), set(map(tuple, kept[SETTING].to_numpy()))
            new[[tuple(row) in settings for row in new[SETTING].to_numpy()]].to_csv(path, index=False)


def _anew(kept: pd.DataFrame, computed: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was computed again, with the facts of each setting that a notebook wrote beside what is ``kept``."""
    facts = [column for column in kept if column not in computed]
    return computed.merge(kept[[*SETTING, *facts]].drop_duplicates(SETTING), how="left", on=SETTING)


def small(png: bytes) -> bytes:
    """Return a picture with a palette of 256 colours, a third of the bytes, or as it is where one would see that."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        whole = picture.convert("RGB")
    few = whole.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    if np.square(np.asarray(whole, float) - np.asarray(few.convert("RGB"))).mean() > ALIKE:
        return png
    few.save(out, "PNG", optimize=True)
    return min(png, out.getvalue(), key=len)


def _still(page: str) -> str:
    """Return a rendered notebook with small pictures and without what differs from one rendering to the next.

    >>> _still('<div id="cell-id=0a1b2c3d"><a href="#cell-id=0a1b2c3d"><i id="T_abcde_row0">')
    '<div id="cell-id=00000000"><a href="#cell-id=00000000"><i id="T_00001_row0">'
    """
    numbers: dict[str, int] = {}
    page = PICTURE.sub(lambda found: base64.b64encode(small(base64.b64decode(found[0]))).decode(), PACE.sub("", page))
    return BY_LOT.sub(lambda found: f"{numbers.setdefault(found[0], len(numbers)):0{len(found[0])}d}", page)


def _refuse_large(part: Path, out: Path, build: Path) -> None:
    """Raise VaelibError if a file, or with those of other profiles all of them, are over the limits."""
    sizes = {path: path.stat().st_size for path in part.rglob("*") if path.is_file()}
    if large := [path.name for path, size in sizes.items() if size > LARGEST]:
        raise VaelibError(
            f"{', '.join(large)}: over {LARGEST / 1e6:.0f} MB; delete it from {paths.shown(build)} or make it smaller"
        )
    others = [path for path in out.parent.rglob("*") if path.is_file() and not {part, out} & set(path.parents)]
    total = sum([*sizes.values(), *(path.stat().st_size for path in others)])
    if total > IN_ALL:
        raise VaelibError(
            f"results would take {total / 1e6:.0f} MB, over {IN_ALL / 1e6:.0f}: delete what few people open"
        )


def shown_build(profile: str) -> tuple[Path, bool]:
    """Return the folder that a profile's report is drawn from, and whether it is the build's own, not the shipped one.

    Raises:
        VaelibError: there is neither.
    """
    build, shipped = paths.build_root() / profile, paths.results_folder(profile)
    if not any(build.glob("tables/*.csv")) and shipped.is_dir():
        return shipped, False
    return require_build(build), True


def judged(profile: str) -> list[dict]:
    """Return the ledger of a build, judged now, or the one that was shipped where nothing is made.

    Raises:
        VaelibError: there is neither.
    """
    folder, own = shown_build(profile)
    if own:
        return judge_build(folder, profile)
    print(f"nothing is made here yet: this is the ledger that comes with the project, {paths.shown(folder)}")
    return read_json(folder / "claims.json")
