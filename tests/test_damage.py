"""Damaged files, full and read-only disks, wrong clocks: a plain line that names the file and the way out, or made again."""

import errno
import json
import os
import resource
import subprocess
import time

import pandas as pd
import pytest
import torch

from tests.small import TINY
from tests.test_runs import data
from tests.test_survival import FORK
from vaelib import files, runs
from vaelib.cli import verify
from vaelib.errors import VaelibError
from vaelib.runs import Store
from vaelib.runs.engine import all_artifacts
from vaelib.runs.stages import make
from vaelib.runs.stages.context import Context
from vaelib.runs.store import MANIFEST, load_tensors, save_tensors
from vaelib.runs.tables import merge_table, read_table
from vaelib.studies.three_gaps.runs import three_gaps


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 4
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


DAMAGE = pytest.mark.parametrize("damage", [cut, flip, empty])


@pytest.fixture
def gaps(toy):
    """Return the gaps of the normally trained VAE: the data set, the VAE and they are three artifacts."""
    (chosen,) = (run for run in three_gaps("smoke", toy, overrides=TINY).runs if run.vae.method == "normal")
    return chosen


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files_of(store, artifact):
    return {one.kind: store.manifest(one)["files"] for one in all_artifacts([artifact])}


@DAMAGE
@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("data", "train.npy"), ("vae", "weights-*.safetensors"), ("vae", "curve.json"), ("vae", MANIFEST)],
)
def test_a_damaged_artifact_is_named_and_made_again(gaps, store, kind, pattern, damage):
    runs.run([gaps.vae], store=store, workers=0)
    before = files_of(store, gaps.vae)
    artifact = gaps.vae if kind == "vae" else gaps.vae.data
    path = sorted(store.folder(artifact).glob(pattern))[-1]
    damage(path)
    if path.name == MANIFEST and damage is flip:
        path.write_text(path.read_text().replace(artifact.key, artifact.key[::-1]))
    with pytest.raises(VaelibError) as error:
        make(gaps, store)
    assert str(path) in str(error.value)
    assert f"delete {store.folder(artifact)} and run again" in str(error.value)
    assert not store.has_manifest(gaps)
    for one in store.folder(artifact).iterdir():  # as the message says
        one.unlink()
    store.folder(artifact).rmdir()
    runs.run([artifact], store=store, workers=0)
    assert files_of(store, gaps.vae) == before


@pytest.mark.parametrize("change", [{"version": 99}, {"files": None}, {"files": {"a": {}}}, {"files": 3}])
def test_a_manifest_of_another_version_is_refused(store, change):
    with store.making(data()) as folder:
        (folder / "a.bin").write_bytes(b"abc")
    path = store.folder(data()) / MANIFEST
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"unknown": 1, "settings": content["settings"] | {"zebra": 1}}))
    assert store.require(data()) == path.parent  # what a later version may add does no harm
    path.write_text(json.dumps(content | change))
    with pytest.raises(VaelibError, match=r"manifest\.json .*delete .* and run again"):
        store.require(data())


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {}}', None])
def test_verify_names_an_unreadable_manifest_beside_other_damage(text):
    one, other = (data().model_copy(update={"seed": seed}) for seed in (1, 2))
    for artifact in (one, other):
        with Store().making(artifact) as folder:
            (folder / "a.bin").write_bytes(b"abc")
    verify()
    damaged = Store().folder(one) / MANIFEST
    damaged.unlink()
    damaged.mkdir() if text is None else damaged.write_text(text)
    flip(Store().folder(other) / "a.bin")
    with pytest.raises(VaelibError, match="2 of the store's files are damaged") as error:
        verify()
    assert f"{damaged} is not a readable manifest" in str(error.value)
    assert f"{Store().folder(other) / 'a.bin'} was altered" in str(error.value)


class Stop(Exception):
    """The end of a run, at a place that the test chooses."""


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf"])
def test_a_pause_between_checkpoints_that_is_none_is_named(store, tmp_path, monkeypatch, text):
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", text)
    with pytest.raises(VaelibError, match=f"VAELIB_CHECKPOINT_SECONDS = '{text}' is no number of seconds; set it to 0"):
        Context(store, tmp_path, torch.device("cpu"), print)


@pytest.mark.parametrize("damage", [None, cut, flip, empty])
@pytest.mark.parametrize("kind", ["vae", "gaps"])
def test_a_damaged_checkpoint_costs_its_work_and_nothing_else(gaps, store, tmp_path, monkeypatch, capsys, kind, damage):
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", "0")
    straight, artifact = Store(tmp_path / "straight"), gaps if kind == "gaps" else gaps.vae
    for one in all_artifacts([artifact]):
        make(one, straight)
    shares = []

    def stop(share, note):
        shares.append(share)
        if share >= 0.5:
            raise Stop

    for one in all_artifacts([artifact])[:-1]:
        make(one, store)
    with pytest.raises(Stop):
        make(artifact, store, report=stop)
    (path,) = (store.work_folder(artifact) / "checkpoint").iterdir()
    if damage:
        damage(path)
    again = []
    make(artifact, store, report=lambda share, note: again.append(share))
    said = capsys.readouterr().out
    assert (f"{path} " in said and "this run begins again without it" in said) == bool(damage)
    # Gaps report every snapshot, those that were kept too.
    assert kind == "gaps" or (again[0] > shares[-1] - 1e-9) == (damage is None)
    assert files_of(store, artifact) == files_of(straight, artifact)


def test_one_flipped_bit_in_any_tensor_or_note_is_seen(tmp_path):
    path = tmp_path / "state.safetensors"
    tensors = {
        "a": torch.randn(5).bfloat16(),
        "b": torch.tensor(3),
        "c": torch.zeros(0),
        "d": torch.randn(2, 3).double(),
    }
    save_tensors(path, tensors, {"epochs": 12})
    whole = path.read_bytes()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_tensors(path)[0].items())
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in [whole.index(b"12"), *range(start, len(whole), 7)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(VaelibError, match=r"(altered|not a readable).*delete it and run again"):
            load_tensors(path)


@pytest.mark.parametrize(
    "content", [b"dataset,likelihood,value\na,mol,1\na,mo", b"\xff\xfe\x00", b"", b"nonsense\n1\n"]
)
def test_a_damaged_table_is_named(tmp_path, content):
    path = tmp_path / "three_gaps.csv"
    path.write_bytes(content)
    with pytest.raises(VaelibError, match=r"three_gaps\.csv is not a .*table.*; delete it and run again"):
        merge_table(path, pd.DataFrame({"dataset": ["a"], "likelihood": ["mol"], "value": [1]}))
    assert path.read_bytes() == content
    path.unlink()
    with pytest.raises(VaelibError, match=r"three_gaps\.csv is not there; `vaelib studies` lists"):
        read_table(path)
    merge_table(path, pd.DataFrame({"dataset": ["a"], "likelihood": ["mol"], "value": [1]}))
    assert list(read_table(path)["value"]) == [1]


# --- disks --------------------------------------------------------------------------------------------------------


def mounted(folder, options):
    """Mount a small disk on ``folder``; return False where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """Yield a disk of 200 KB, too small for a data set and a VAE."""
    folder = tmp_path / "disk"
    if not mounted(folder, "size=200k"):
        pytest.skip("mounting is not allowed here; the limit of a file's size is tested instead")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_lost(gaps, small_disk, store):
    full = Store(small_disk / "store")
    with pytest.raises(VaelibError, match=r"cannot write .*No space left on device.*; free .*run again"):
        runs.run([gaps.vae], store=full, workers=0)
    assert not full.has_manifest(gaps.vae)
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    for one in (full, store):
        runs.run([gaps.vae], store=one, workers=0)
    assert files_of(full, gaps.vae) == files_of(store, gaps.vae)


def test_a_checkpoint_stays_until_the_artifact_is_whole(gaps, tmp_path, monkeypatch):
    """What is refused after the last epoch (here the manifest) costs no epoch."""
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", "0")
    store, told = Store(tmp_path / "other"), []
    write = files.write_json

    def full(path, content):
        if path.name == MANIFEST and content["kind"] == "vae":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", full)
        with pytest.raises(VaelibError, match="it goes on from its checkpoint"):
            runs.run([gaps.vae], store=store, workers=0)
    monkeypatch.setattr(
        "vaelib.runs.stages.vae.train_vae", lambda state, *_, **__: told.append(state.epochs) or iter(())
    )
    runs.run([gaps.vae], store=store, workers=0)
    assert told == [gaps.vae.epochs]  # nothing was left to train
    assert not list(store.folder(gaps.vae).rglob("checkpoint"))


@pytest.mark.parametrize("place", ["a file/x.json", "/proc/none/x.json"])
def test_a_folder_that_cannot_be_is_one_line(place, tmp_path):
    (tmp_path / "a file").write_text("mine")
    with pytest.raises(VaelibError, match=r"cannot write .*x.json"):
        files.write_json(tmp_path / place, {})


def limited(root, artifact, said):
    """Run where no file may be larger than 20 KB: the error of the system is another, the path through the code the same."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        runs.run([artifact], store=Store(root), workers=0)
    except VaelibError as error:
        said.put(str(error))


def test_a_write_that_fails_half_way_is_one_line(gaps, tmp_path):
    said = FORK.SimpleQueue()
    process = FORK.Process(target=limited, args=(tmp_path / "store", gaps.vae, said))
    process.start()
    process.join()
    assert process.exitcode == 0
    text = said.get()
    assert "cannot write" in text
    assert "free or change the disk and run again" in text
    assert not list((tmp_path / "store").rglob("*.part"))


def test_a_read_only_store_serves_what_it_has(gaps, store):
    runs.run([gaps.vae.data], store=store, workers=0)
    root = str(store.root)
    if os.geteuid() == 0:  # whom mode bits do not stop
        bind = [["mount", "--bind", root, root], ["mount", "-o", "remount,ro,bind", root]]
        if any(subprocess.run(one, capture_output=True, check=False).returncode for one in bind):
            pytest.skip("root without the right to mount: nothing is read-only for it")
    else:
        for folder in (store.root, *store.root.glob("*")):
            folder.chmod(0o555)
    try:
        runs.run([gaps.vae.data], store=store, workers=0)
        make(gaps.vae.data, store)
        with pytest.raises(
            VaelibError, match=r"cannot write vae .* set VAELIB_BUILD to another folder, then run again"
        ):
            make(gaps.vae, store)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", root], check=True)
        else:
            for folder in (store.root, *store.root.glob("*")):
                folder.chmod(0o755)


# --- clocks -------------------------------------------------------------------------------------------------------


def test_a_clock_that_runs_backwards_changes_nothing(gaps, store, tmp_path, monkeypatch):
    runs.run([gaps], store=store, workers=0)
    clock = iter(range(10**9, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    backwards = Store(tmp_path / "backwards")
    for artifact in all_artifacts([gaps]):
        make(artifact, backwards)
        for path in [backwards.folder(artifact), *backwards.folder(artifact).iterdir()]:
            os.utime(path, (0, time.time()))  # the later, the older
    assert files_of(store, gaps) == files_of(backwards, gaps)
    assert backwards.complaints(gaps) == []
    runs.run([gaps], store=backwards, workers=0)
