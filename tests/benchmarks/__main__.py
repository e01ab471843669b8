"""Print one table, ours and the peers' side by side in one run, and write it as JSON to ``build/benchmarks.json``.

``--only NAME`` (again for more) runs some rows, ``--long`` adds the slow ones. Single-threaded rows count
processor time: the engine gives each run a core of its own.
"""

import argparse
import time

import torch

from vaelib import files, paths
from vaelib.progress import Progress, duration
from vaelib.runs.provenance import provenance

from . import (
    alone,
    bounds_and_attack,
    corruptions,
    explorers,
    from_disk,
    memory,
    mol,
    residual,
    sampling,
    training,
    upkeep,
)
from .table import Bench, LeftOut, Row, lines

COMPARED = (
    Bench("pythae", training.against_pythae, 70),
    Bench("sweep", training.sweep, 75),
    Bench("workers", training.two_workers, 35),
    Bench("mean", training.bounded_mean, 20),
    Bench("late", training.late_epochs, 60),
    Bench("ceilings", training.ceilings, 30),
    Bench("elbo", training.equal_elbo, 150, long=True),
    Bench("sampling", sampling.against_diffusers, 50),
    Bench("elbo-star", bounds_and_attack.elbo_star, 20),
    Bench("attack", bounds_and_attack.attack, 10),
    Bench("bank", sampling.bank_writing, 15),
    Bench("checkpoints", upkeep.checkpoints, 15),
    Bench("memory", memory.memory, 60),
    Bench("from-disk", from_disk.from_disk, 180, long=True),
    Bench("make", upkeep.warm_make, 15),
)
ALONE = (
    Bench("alone", alone.rows, 30),
    Bench("import", alone.import_time, 15),
    Bench("mol", mol.rows, 20),
    Bench("residual", residual.rows, 40),
    Bench("corruptions", corruptions.rows, 20),
    Bench("explorers", explorers.rows, 30),
)


def chosen(only: list[str], long: bool) -> list[Bench]:
    """Return the measurements asked for."""
    return [one for one in COMPARED + ALONE if (one.name in only if only else long or not one.long)]


def measure(benches: list[Bench]) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return each measurement's rows, and why those left out were, under a bar with the time left."""
    found, absent = {}, {}
    with Progress(max(1, round(sum(one.seconds for one in benches))), "benchmarks", "%") as progress:
        for one in benches:
            progress.update(0, one.name)
            try:
                found[one.name] = list(one.run(False))
            except LeftOut as reason:
                absent[one.name] = str(reason)
            progress.update(round(one.seconds), f"{one.name} done")
    return found, absent


def main() -> None:
    """Measure, print the tables and write them."""
    names = [one.name for one in COMPARED + ALONE]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--long", action="store_true", help="the slow rows too: equal ELBO in bfloat16 and float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    found, absent = measure(chosen(options.only, options.long))
    for title, benches in (("beside a peer", COMPARED), ("alone, one thread", ALONE)):
        rows = [row for one in benches for row in found.get(one.name, [])]
        if rows:
            print(f"\n{title}\n" + "\n".join(lines(rows)))
    for name, reason in absent.items():
        print(f"\nleft out: {name}: {reason}")
    judged = [row.met for rows in found.values() for row in rows if row.met is not None]
    print(f"\n{sum(judged)} of {len(judged)} targets met, in {duration(time.monotonic() - start)}")
    table = {
        "machine": provenance(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "rows": [{"name": name} | row.record() for name, rows in found.items() for row in rows],
        "left_out": absent,
    }
    path = paths.build_root() / "benchmarks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, table)
    print(f"written: {paths.shown(path)}")


if __name__ == "__main__":
    main()
