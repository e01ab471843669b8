"""Where a result was made: every version, the processor, its threads and its memory, kept beside what they made."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from vaelib.planning import plan
from vaelib.runs import Data, Store
from vaelib.runs import provenance as where
from vaelib.runs.cost import price
from vaelib.runs.tables import environment_of

ROOT = Path(__file__).resolve().parents[1]
DATA = Data(name="toy", n_train=8, n_test=4, label="toy", digest="0", channels=1)


def made(store, artifact, megabytes):
    with store.making(artifact) as folder:
        (folder / "a.bin").write_bytes(b"abc")
        torch.ones(megabytes * 250_000).sum()
    return store.manifest(artifact)


def test_a_manifest_knows_the_machine_in_full(tmp_path):
    environment = made(Store(tmp_path), DATA, 1)["environment"]
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert len(environment["packages"]) == len({dist.metadata["Name"] for dist in metadata.distributions()} - {None})
    assert environment["threads"] == torch.get_num_threads()
    assert environment["processor"].strip()
    assert DATA.key == Data(**DATA.model_dump()).key


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is the process's, not the artifact's")
def test_the_memory_of_an_artifact_is_not_that_of_the_one_before(tmp_path):
    # In a process of its own: here the memory that other tests gave back is taken again, and no peak rises.
    code = (
        "import sys; from pathlib import Path; from tests.test_provenance import DATA, Store, made\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for mb in (400, 1):\n"
        "    artifact = DATA.model_copy(update={'label': str(mb)})\n"
        "    print(made(store, artifact, mb)['environment']['peak_bytes'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    large, small = map(int, done.stdout.split())
    assert large - small > 300e6


def test_a_build_names_every_machine_and_an_older_manifest_none():
    one = {"environment": {"processor": "A", "threads": 1, "packages": {"torch": "2"}, "peak_bytes": 5_000_000}}
    two = {"environment": {"processor": "B", "threads": 1, "packages": {"torch": "3"}, "peak_bytes": None}}
    found = environment_of([one, two, one])
    assert (found["processor"], found["threads"], found["peak memory"]) == ("A; B", "1", "5 MB in one process")
    assert len(found["packages"].split(", ")) == 2
    assert environment_of([one])["packages"] == where.packages_digest({"torch": "2"})
    assert environment_of([one, {"key": "older"}]) == {}


def test_a_plan_shows_the_memory_of_what_was_made_on_this_kind_of_processor(tmp_path):
    store, machine = Store(tmp_path), price.this_machine(quick=True)
    assert plan.price([DATA], store, machine).memory == 0
    peak = made(store, DATA, 1)["environment"]["peak_bytes"]
    assert plan.price([DATA], store, machine).memory == peak > 0
    path = store.folder(DATA) / "manifest.json"
    manifest = json.loads(path.read_text())
    for changed in (manifest["environment"] | {"processor": "another"}, None):  # None: older than this record
        manifest["environment"] = changed
        path.write_text(json.dumps({name: text for name, text in manifest.items() if text is not None}))
        assert plan.price([DATA], store, machine).memory == 0
        assert store.has(DATA)


def test_a_system_that_does_not_tell_its_peak_asks_the_module_that_knows_it(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t    1000 kB\n")  # gVisor's has no VmHWM
    monkeypatch.setattr(where, "Path", lambda name: tmp_path / Path(name).name)
    assert where.peak_memory() > 10e6


def test_without_the_module_that_knows_it_the_memory_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows, which has no /proc either
    monkeypatch.setattr(where, "Path", lambda name: Path("nowhere") / name.lstrip("/"))
    assert where.peak_memory() is None
