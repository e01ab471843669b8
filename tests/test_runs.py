"""Settings, store, engine and tables, on a toy data set that needs no download."""

import itertools
import json
import math
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import ValidationError

from tests.small import TINY
from vaelib import files, paths, progress, runs
from vaelib.data import load_dataset
from vaelib.data.identity import dataset_tag
from vaelib.errors import VaelibError
from vaelib.report.publish import command_of
from vaelib.report.study import studies
from vaelib.runs import (
    Bank,
    Data,
    Experiment,
    Point,
    Store,
    Teacher,
    VAERun,
    load_profile,
    parse_overrides,
    resolve_data,
    run,
    stages,
    tables_folder,
)
from vaelib.runs import graph_progress as board_module
from vaelib.runs.cluster import KEEP_MEMORY, client_of
from vaelib.runs.engine import all_artifacts, missing, path_lengths
from vaelib.runs.experiments import bank_of, spaced
from vaelib.runs.graph_progress import GraphProgress
from vaelib.runs.provenance import commit, cores
from vaelib.runs.settings import Exact
from vaelib.runs.store import MANIFEST, load_array, load_tensors, save_tensors
from vaelib.runs.tables import merge_table, record_build
from vaelib.studies.halves.runs import halves
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.training.vae import VAEState

EXPERIMENTS = {study.name: study.runs for study in studies().values() if study.runs}


def data(**changes):
    return Data(**({"name": "toy", "n_train": 4, "n_test": 2, "label": "toy", "digest": "0"} | changes))


# --- settings -----------------------------------------------------------------------------------------------------


def test_settings_are_frozen_and_strict():
    with pytest.raises(ValidationError):
        VAERun(data=data(), epoch=3)
    with pytest.raises(ValidationError):
        data().seed = 1


def test_the_key_names_settings_and_history():
    one = VAERun(data=data())
    assert one.key == VAERun(data=data()).key
    changed = [VAERun(data=data(), lr=2e-3), VAERun(data=data(digest="1")), VAERun(data=data(), seed=1)]
    assert len({one.key, *(run.key for run in changed)}) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"epoch": 3}, "epoch is not a setting of a profile; did you mean epochs?"),
        ({"zebra": 3}, "allowed: amortization_images"),
        ({"epochs": 0}, "epochs = 0: input should be greater than or equal to 1"),
        ({"teacher": "huge"}, "teacher = 'huge': input should be 'small' or 'edm'"),
    ],
)
def test_a_wrong_override_is_one_plain_line(overrides, message):
    with pytest.raises(VaelibError) as error:
        load_profile("smoke", overrides=overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_k_beyond_the_bank_and_a_missing_bank_are_refused():
    bank = Bank(teacher=Teacher(data=data()), size=12)
    assert VAERun(data=data(), method="dmaapx", bank=bank, k=3).k == 3
    with pytest.raises(ValidationError, match="k is at most 3 for a bank of 12"):
        VAERun(data=data(), method="dmaapx", bank=bank, k=4)
    with pytest.raises(ValidationError, match="goes with method dmaapx"):
        VAERun(data=data(), method="dmaapx")


def test_profiles_form_a_ladder_and_the_last_is_the_papers():
    names = list(yaml.safe_load(Path(runs.__file__).with_name("profiles.yaml").read_text()))
    assert names == ["smoke", "laptop", "overnight", "gpu", "paper"]
    work = [p.epochs * (p.n_train or 60_000) for p in map(load_profile, names)]
    assert work == sorted(work)
    paper = load_profile("paper")
    assert (paper.epochs, paper.seeds, paper.k, paper.sampler_steps) == (1000, 3, 1000, 18)
    with pytest.raises(VaelibError, match="choose one of smoke, laptop, overnight, gpu, paper"):
        load_profile("phone")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=20", 20),
        ("epochs=010", 10),  # eight in YAML 1.1
        ("n_train=1_000", 1000),
        ("amp=false", False),
        ("amp=no", False),
        ("lr=1e-3", 1e-3),  # a string in YAML 1.1
        ("n_test=null", None),
        ("source=null", "null"),
        ("source=2024-01-01", "2024-01-01"),
        ("teacher_revision=2024", "2024"),
        ("bank_from=my photos #1.npz", "my photos #1.npz"),
        ("k_grid=[1, 2,5]", [1, 2, 5]),
        ("k_grid=3", [3]),
        ("training_variants=[augment_probability, 'skip']", ["augment_probability", "skip"]),
        ("training_variants=[]", []),
    ],
)
def test_an_override_is_read_by_the_type_of_its_setting(text, value):
    (read,) = parse_overrides([text]).values()
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["n_test=100:30", "epochs=true", "epochs=1.5", "amp=010", "k_grid=[a]", "epoch=3", "epochs"]
)
def test_an_override_of_another_type_is_refused(text):
    with pytest.raises(VaelibError):
        parse_overrides([text])


def test_several_overrides_in_one_text_are_several():
    assert parse_overrides(["", "epochs=20  mz_grid=[1, 2] source=a b", "k=2"]) == {
        "epochs": 20, "mz_grid": [1, 2], "source": "a b", "k": 2
    }  # fmt: skip


def test_a_path_with_an_equals_sign_in_it_is_one(tmp_path, monkeypatch):
    (tmp_path / "run lr=0.1").mkdir()
    (tmp_path / "run lr=0.1/s.npz").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_overrides(["bank_from=run lr=0.1/s.npz", "k=3"]) == {
        "bank_from": str(tmp_path / "run lr=0.1/s.npz"),
        "k": 3,
    }
    assert parse_overrides(["bank_from=none k=3"]) == {"bank_from": None, "k": 3}


@pytest.mark.parametrize("name", ["~nobody_of_this_name/images", "~"])
def test_a_tilde_that_is_no_home_is_a_name(name, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expanded(name) == Path("/home/me" if name == "~" else name)


def test_a_path_among_the_overrides_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.npz").touch()
    read = parse_overrides(["bank_from=samples.npz", "teacher_from=google/ddpm-cifar10-32"])
    assert read == {"bank_from": str(tmp_path / "samples.npz"), "teacher_from": "google/ddpm-cifar10-32"}


@pytest.mark.parametrize(("last", "points"), [(200, 4), (3, 10), (1, 1), (1000, 7)])
def test_spaced_points_rise_to_the_last(last, points):
    values = spaced(last, points)
    assert list(values) == sorted(set(values))
    assert values[-1] == last
    assert values[0] >= 1
    assert len(values) <= points


def test_the_headline_compares_four_methods_under_the_papers_protocol(toy, monkeypatch):
    monkeypatch.setattr("vaelib.runs.experiments.resolve_data", lambda *a, **k: data(name="binary_mnist", n_test=100))
    chosen = three_gaps("laptop", "binary_mnist")
    assert chosen.likelihood == "bernoulli"
    assert {run.vae.method for run in chosen.runs} == {"normal", "dmaapx", "aug_tuned", "aug_naive"}
    assert {run.vae.seed for run in chosen.runs} == {0, 1, 2}
    banks = {run.vae.bank.key for run in chosen.runs if run.vae.bank}
    assert len(banks) == 1
    assert all(run.vae.bank.binarize for run in chosen.runs if run.vae.bank)
    assert {(run.attack_images, run.attack_steps, run.attack_radius) for run in chosen.runs} == {(50, 50, 0.1)}


def test_the_longest_path_starts_first(toy):
    todo = all_artifacts(three_gaps("laptop", toy, overrides={"n_train": 40, "n_test": 16}).runs)
    length = {artifact: path_lengths(todo)[artifact.key] for artifact in todo}
    for artifact in todo:
        assert all(length[one] > length[artifact] for one in artifact.upstream())
    (teacher,) = (artifact for artifact in todo if artifact.kind == "teacher")
    assert length[teacher] > max(length[a] for a in todo if a.kind == "vae")


@pytest.fixture
def board(monkeypatch):
    """Return a function that makes a board of two workers over artifacts of price 10, its clock, and what its bar is told."""
    clock, told = [0.0], []
    monkeypatch.setattr(board_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(board_module, "cost", lambda artifact: 10.0)
    monkeypatch.setattr(progress.Progress, "update", lambda self, n, note, left: told.append((n, note, left)))

    def make(needs):
        return GraphProgress(list(needs), "runs", 2, {one.key: [up.key for up in ups] for one, ups in needs.items()})

    return make, clock, told


def test_the_board_tells_the_speed_of_what_is_under_way(board):
    make, clock, told = board
    bank = Bank(teacher=Teacher(data=data()), size=300, shard_size=100)
    vae = VAERun(data=data(), epochs=80, evaluations=(80,), snapshots=(80,))
    shown = make({bank: [], vae: []})
    shown.tell(f"{bank.key}/0", "bank", 1.0, "")  # one of three: the bank's share is told, not a shard's
    for second in range(3):
        clock[0] = second
        shown.tell(vae.key, "vae", 0.5 + 0.1 * second, "ELBO -9")  # it goes on from a checkpoint
        shown.tell(f"{bank.key}/1", "bank", 0.25 * second, "")
    assert told[-1][1] == "0 of 2 made, bank 50% at 25 images/s, vae 70% at 8 epochs/s ELBO -9"
    shown.finish(bank.key)
    shown.tell(f"{bank.key}/1", "bank", 0.75, "late")
    shown.tell("0123456789abcdef", "vae", 0.5, "of another call on the same scheduler")
    shown.finish(vae.key)
    assert told[-2][1] == "1 of 2 made, vae 70% at 8 epochs/s ELBO -9"
    assert told[-1][1] == "2 of 2 made"


def test_what_an_earlier_process_did_tells_no_time(board):
    """The first words of a run that goes on from 64 % were "3 min left", for an hour of work."""
    make, clock, told = board
    vae = VAERun(data=data(), epochs=80, evaluations=(80,), snapshots=(80,))
    again, fresh = make({vae: []}), make({vae: []})
    clock[0] = 60.0
    again.tell(vae.key, "vae", 0.64, "")
    assert told[-1][2] == math.inf
    clock[0] = 0.0
    fresh.tell(vae.key, "vae", 0.0, "")  # as a run does that finds no checkpoint
    clock[0] = 60.0
    fresh.tell(vae.key, "vae", 0.25, "")
    assert told[-1][2] == pytest.approx(180.0)


def test_a_run_tells_its_beginning_unless_it_goes_on(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(stages.vae, "TELL_EVERY", math.inf)
    run = three_gaps("smoke", toy, overrides=TINY | {"epochs": 4}).points[0].vae
    store, heard = Store(tmp_path), []
    stages.make(run.data, store, "cpu")

    def killed_in_the_middle(share, note):
        heard.append(share)
        if share >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.make(run, store, "cpu", killed_in_the_middle)
    assert heard == [0.0, 0.25, 0.5]
    stages.make(run, store, "cpu", lambda share, note: heard.append(share))
    assert heard[3:] == [0.75, 1.0]


def test_an_epoch_that_takes_long_is_told_and_kept_in_parts(toy, tmp_path, monkeypatch):
    """An epoch of CIFAR-10's largest network takes a core twenty minutes: killed within it, all of them were lost."""
    monkeypatch.setenv("VAELIB_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(stages.vae, "TELL_EVERY", 0.0)
    run = three_gaps("smoke", toy, overrides=TINY | {"epochs": 2, "batch_size": 20}).points[0].vae
    batches = run.data.n_train // 20
    straight, killed, heard = Store(tmp_path / "straight"), Store(tmp_path / "killed"), []
    for store in (straight, killed):
        stages.make(run.data, store, "cpu")
    stages.make(run, straight, "cpu", lambda share, note: heard.append(share))
    assert heard == sorted([0.0, 0.5, 1.0, *(step / (2 * batches) for step in range(1, 2 * batches))])
    assert batches > 1
    steps, ascend = [], VAEState.ascend

    def counted(state, *arguments):
        steps.append(state.steps)
        return ascend(state, *arguments)

    def killed_in_the_middle(share, note):
        if len(steps) == batches + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(VAEState, "ascend", counted)
    with pytest.raises(KeyboardInterrupt):
        stages.make(run, killed, "cpu", killed_in_the_middle)
    stages.make(run, killed, "cpu")
    assert len(steps) == 2 * batches  # none twice
    assert killed.manifest(run)["files"] == straight.manifest(run)["files"]


def test_a_shard_tells_its_beginning_unless_it_is_there(toy, tmp_path):
    """A shard is told once more when it is done: without its beginning the whole bank would tell no pace."""
    bank, store, heard = three_gaps("smoke", toy, overrides=TINY).points[1].vae.bank, Store(tmp_path), []
    for artifact in missing([bank.teacher], store):
        stages.make(artifact, store, "cpu")
    for _ in range(2):
        stages.make_shard(bank, 0, store, "cpu", lambda share, note: heard.append(share))
    assert heard == [0.0, 1.0, 1.0]


def test_shares_that_are_rounding_noise_tell_no_time(board):
    make, clock, told = board
    vaes = [VAERun(data=data(), seed=seed) for seed in range(9)]
    shown = make({vae: [] for vae in vaes})
    for second, share in enumerate((0.1, 0.1 + 1e-16, 0.3 - 0.2 + 1e-12)):
        clock[0] = float(second)
        shown.tell(vaes[0].key, "vae", share, "")
    assert told[-1][2] == math.inf
    clock[0] = 20.0
    shown.tell(vaes[0].key, "vae", 0.2, "")
    assert 0 < told[-1][2] < 3600


def test_the_time_left_counts_the_workers_and_the_longest_chain(board):
    make, clock, told = board
    vaes = [VAERun(data=data(), seed=seed) for seed in range(6)]
    side_by_side = make({vae: [] for vae in vaes})
    for vae in vaes[:2]:
        side_by_side.tell(vae.key, "vae", 0.0, "")
    assert told[-1][2] == math.inf
    clock[0] = 20.0  # two runs of price 10 took two workers 20 s each: a price is worth 2 s
    for vae in vaes[:2]:
        side_by_side.finish(vae.key)
    assert told[-1][2] == pytest.approx(40.0)  # four more, two at a time
    clock[0] = 0.0
    chained = make({vae: vaes[:number][-1:] for number, vae in enumerate(vaes)})
    chained.tell(vaes[0].key, "vae", 0.0, "")
    clock[0] = 20.0
    chained.finish(vaes[0].key)
    assert told[-1][2] == pytest.approx(100.0)  # five more, one after another
    assert sum(n for n, _, _ in told[-1:]) == 166


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "calibrate_protocol"])
def test_of_images_of_ones_own_no_more_are_asked_for_than_there_are(name, toy, capsys):
    chosen = EXPERIMENTS[name]("laptop", toy)
    again = EXPERIMENTS[name]("laptop", toy)
    kept = {"regularisers": 67, "memorisation": 25}.get(name, 80)  # one validates on a sixth, one has sizes of its own
    assert (chosen.data.n_train, chosen.data.n_test) == (kept, 20)
    assert [run.key for run in chosen.runs] == [run.key for run in again.runs]
    assert all(run.batch_size <= kept for run in all_artifacts(chosen.runs) if isinstance(run, VAERun))
    said = [line for line in capsys.readouterr().out.splitlines() if "is lowered to 80, for there are no more" in line]
    assert len(said) == len(set(said))  # once in a process


@pytest.mark.parametrize(("study", "setting"), [("halves", "halves_sizes"), ("memorisation", "memorisation_sizes")])
def test_whoever_gives_n_train_to_a_study_of_several_sizes_is_told(study, setting, toy, capsys):
    given = EXPERIMENTS[study]("smoke", toy, overrides={"n_train": 30})
    assert [run.key for run in given.runs] == [run.key for run in EXPERIMENTS[study]("smoke", toy).runs]
    said = [line for line in capsys.readouterr().out.splitlines() if "n_train is not used" in line]
    assert said == [f"{study}: n_train is not used; its sizes are {setting} = {SIZES[study]}"]


SIZES = {"halves": "20, 60", "memorisation": "40, 80"}


def test_of_a_published_set_that_is_here_in_part_halves_take_what_there_is(toy, monkeypatch):
    whole = load_dataset(toy)

    def in_part(name, n_train=None, n_test=None, at_most=False, **kwargs):
        if not at_most and (n_train or 0) > 80:
            raise VaelibError("n_train must lie between 1 and 80")
        return replace(whole, train=whole.train[:n_train], test=whole.test[:n_test])

    monkeypatch.setattr(runs.stages.data, "load_dataset", in_part)
    chosen = halves("smoke", "fashion_mnist", overrides={"halves_sizes": [20, 60, 600]})
    assert [point.x for point in chosen.points] == [20, 40]
    with pytest.raises(VaelibError, match="between 1 and 80"):
        three_gaps("smoke", "fashion_mnist", overrides={"n_train": 600})


@pytest.mark.parametrize("study", ["ladder", "halves", "memorisation", "image_memorisation", "teacher_fractions"])
@pytest.mark.parametrize("setting", ["teacher_from", "bank_from"])
def test_studies_of_how_a_teacher_was_trained_refuse_those_of_others(study, setting, toy):
    with pytest.raises(VaelibError, match="teacher_from and bank_from"):
        EXPERIMENTS[study]("smoke", toy, overrides={setting: toy})


def test_the_command_beside_a_figure_makes_its_runs(toy):
    given = {"epochs": 3, "k": 1, "early_evaluations": [1, 2], "n_test": None, "amp": False}
    chosen = three_gaps("smoke", toy, overrides=given | {"only_finished": False})
    words = shlex.split(command_of(chosen))
    pairs = [value for name, value in itertools.pairwise(words) if name == "--set"]
    assert parse_overrides(pairs) == given
    assert chosen.profile.changed({"seeds": 1}).given == chosen.profile.given
    again = three_gaps(words[4], words[6], words[8], parse_overrides(pairs))
    assert [run.key for run in again.runs] == [run.key for run in chosen.runs]
    for name, make in EXPERIMENTS.items():  # what a study takes by itself nobody has changed
        assert name == "calibrate_protocol" or "--set" not in command_of(make("smoke", toy))


def test_what_a_finished_artifact_was_made_from_may_be_deleted(toy, tmp_path):
    store, images = Store(tmp_path / "store"), resolve_data(toy, 20, 10)
    vae = VAERun(data=images, epochs=1, batch_size=20, evaluations=(1,), snapshots=(1,))
    run([vae], store=store, workers=0)
    chosen = Experiment("three_gaps", load_profile("smoke"), "toy", "gaussian", [Point("normal", 1.0, vae)], dict)
    record_build(chosen, store)
    whole = files.read_json(tables_folder("smoke").parent / "build.json")[chosen.entry]
    shutil.rmtree(store.folder(images))
    record_build(chosen, store)
    again = files.read_json(tables_folder("smoke").parent / "build.json")[chosen.entry]
    assert again["artifacts"] == whole["artifacts"] - 1
    assert again["commit"] == whole["commit"]


def test_what_is_lowered_is_told_once(tmp_path, capsys):
    path = tmp_path / "few.npz"
    np.savez(path, images=np.random.default_rng(1).integers(0, 256, (50, 20, 20), dtype=np.uint8))
    three_gaps("laptop", str(path))
    three_gaps("laptop", str(path))
    tag = dataset_tag(str(path))
    assert capsys.readouterr().out.splitlines() == [
        f"{tag}: n_train = 1,000 is lowered to 40, for there are no more images",
        f"{tag}: batch_size = 64 is lowered to 40, for there are no more images",
    ]


def test_a_negative_number_of_workers_is_refused(toy):
    with pytest.raises(VaelibError, match="workers = -1 must be 0"):
        runs.run(three_gaps("smoke", toy, overrides=TINY).runs, workers=-1)


def test_mistakes_in_an_experiment_are_named_before_anything_is_made(toy):
    with pytest.raises(VaelibError, match="choose one of default, bernoulli, gaussian, mol"):
        three_gaps("smoke", toy, "poisson")
    with pytest.raises(VaelibError, match="did you mean gaussian"):
        three_gaps("smoke", toy, "gauss")
    with pytest.raises(VaelibError, match="fashion_mnist"):
        three_gaps("smoke", "fashion_minst")


# --- store --------------------------------------------------------------------------------------------------------


def filled(store, artifact, content=b"abc"):
    with store.making(artifact) as folder:
        (folder / "a.bin").write_bytes(content)
    return store.folder(artifact)


def interrupted(store, artifact):
    with store.making(artifact) as folder:
        (folder / "a.bin").write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_artifact_is_whole_or_absent(tmp_path):
    store, artifact = Store(tmp_path), data()
    with pytest.raises(KeyboardInterrupt):
        interrupted(store, artifact)
    assert not store.has(artifact)
    folder = filled(store, artifact)
    assert store.has(artifact)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["settings"] == artifact.model_dump(mode="json")
    assert {"torch", "commit", "device"} <= set(manifest["code"])
    with store.making(artifact) as again:
        assert again is None


@pytest.mark.parametrize("damage", ["alter", "cut", "delete"])
def test_damage_is_found_and_named(tmp_path, damage):
    store, artifact = Store(tmp_path), data()
    path = filled(store, artifact) / "a.bin"
    {"alter": lambda: path.write_bytes(b"abd"), "cut": lambda: path.write_bytes(b"a"), "delete": path.unlink}[damage]()
    assert "a.bin" in store.complaints(artifact)[0]
    if damage != "alter":  # equal size: only `vaelib verify` reads every byte
        with pytest.raises(VaelibError, match=r"delete .* and run again"):
            store.require(artifact)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "other", "files": {}}'])
def test_a_foreign_manifest_is_refused(tmp_path, text):
    store, artifact = Store(tmp_path), data()
    (filled(store, artifact) / "manifest.json").write_text(text)
    with pytest.raises(VaelibError, match=r"manifest\.json .* delete"):
        store.has(artifact)


def test_a_missing_artifact_says_how_to_make_it(tmp_path):
    with pytest.raises(VaelibError, match="make it with `vaelib run`"):
        Store(tmp_path).require(data())


def _hold(root, started, finish):
    with Store(root).making(data()) as folder:
        started.set()
        finish.wait(30)
        (folder / "a.bin").write_bytes(b"first")


def test_two_processes_make_an_artifact_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    started, finish = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, started, finish))
    other.start()
    assert started.wait(60)
    finish.set()
    with Store(tmp_path).making(data()) as folder:
        assert folder is None
    other.join()
    assert (Store(tmp_path).folder(data()) / "a.bin").read_bytes() == b"first"


def test_checkpoints_round_trip_and_refuse_strangers(tmp_path):
    path, tensors = tmp_path / "state.safetensors", {"a": torch.randn(3), "b": torch.arange(4)}
    save_tensors(path, tensors, {"epochs": 3})
    loaded, meta = load_tensors(path)
    assert meta == {"epochs": 3}
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(VaelibError, match="not a readable checkpoint"):
        load_tensors(path)


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(VaelibError, match="not a readable array"):
        load_array(path)


def test_a_full_disk_is_one_line(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(VaelibError, match="No space left"), store.making(data()):
        raise OSError(28, os.strerror(28))


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_whole_experiment_then_nothing_left_to_do(toy, tmp_path):
    chosen = three_gaps("smoke", toy, overrides=TINY)
    store = Store(tmp_path / "store")
    runs.run(chosen.runs, store=store, workers=0)
    assert missing(chosen.runs, store) == []
    assert not list((tmp_path / "store").glob("*/*.work"))
    table = runs.write_tables(chosen, store)["three_gaps"]
    assert sorted(table["method"]) == ["aug_naive", "dmaapx", "normal"]
    assert (table["amortization_gap"] >= 0).all()
    torch.testing.assert_close(
        torch.tensor(table["generalization_gap"].to_numpy()),
        torch.tensor((table["elbo_train"] - table["elbo_test"]).to_numpy()),
    )
    before = time.monotonic()
    runs.run(chosen.runs, store=store)  # would start workers, were anything missing
    assert time.monotonic() - before < 2
    first = store.require(chosen.runs[0]) / MANIFEST
    first.write_text(json.dumps(json.loads(first.read_text()) | {"code": {"commit": "0ther"}}))
    record_build(chosen, store)
    kept = json.loads((runs.tables_folder("smoke").parent / "build.json").read_text())[chosen.entry]
    assert sorted(kept["commit"].split("; ")) == sorted(["0ther", commit()])  # of all runs, not of the last one alone


def test_workers_give_the_same_bits(toy, tmp_path):
    chosen = three_gaps("smoke", toy, overrides=TINY)
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    runs.run(chosen.runs, store=here, workers=0)
    runs.run(chosen.runs, store=there, workers=2)
    for artifact in all_artifacts(chosen.runs):
        ours, theirs = here.manifest(artifact)["files"], there.manifest(artifact)["files"]
        assert ours == theirs, artifact.kind


def test_a_failed_run_leaves_the_independent_rest_done(toy, tmp_path):
    chosen = three_gaps("smoke", toy, overrides=TINY | {"lr": 1e18})
    store = Store(tmp_path / "store")
    with pytest.raises(VaelibError, match="try a lower lr"):
        runs.run(chosen.runs, store=store)
    banks = [run.vae.bank for run in chosen.runs if run.vae.bank]
    assert all(store.has(bank) for bank in banks)
    assert not any(store.has(run.vae) for run in chosen.runs)


@pytest.mark.parametrize("during", ["sampling", "writing"])
def test_a_bank_that_another_process_finishes_meanwhile_fails_no_shard(during, toy, tmp_path, monkeypatch):
    experiment, store, write = three_gaps("smoke", toy, overrides=TINY), Store(tmp_path), files.write_array
    bank = bank_of(Exact(data=experiment.data), experiment.data, experiment.profile)
    runs.run([bank.teacher], store=store, workers=0)

    def meanwhile(path, array):
        def slowly(part):
            part.write_bytes(b"half of it")
            monkeypatch.setattr(files, "_PROCESS", "another")
            stages.make(bank, store, "cpu")

        monkeypatch.setattr(files, "write_array", write)
        if during == "sampling":
            stages.make(bank, store, "cpu")
            write(path, array)
        else:
            files.write_atomic(path, slowly)

    monkeypatch.setattr(files, "write_array", meanwhile)
    stages.make_shard(bank, 0, store, "cpu", lambda share, note: None)
    folder = store.folder(bank)
    assert store.complaints(bank) == []
    assert {path.name for path in folder.iterdir()} == {*store.manifest(bank)["files"], "manifest.json"}
    assert not store.work_folder(bank).exists()


def test_a_night_can_be_shown_before_it_ends(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path))
    finished = TINY | {"only_finished": True}
    with pytest.raises(VaelibError, match="none of the 3 runs is in"):
        three_gaps("smoke", toy, overrides=finished)
    whole = three_gaps("smoke", toy, overrides=TINY)
    (first,) = (point for point in whole.points if point.series == "normal")
    runs.run([first.run], workers=0)
    shown = three_gaps("smoke", toy, overrides=finished)
    assert shown.points == [first]  # the same key: what is shown early is not made again later
    assert list(runs.write_tables(shown)["three_gaps"]["method"]) == ["normal"]


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "calibrate_protocol"])
def test_no_study_makes_runs_under_only_finished(name, toy, monkeypatch):
    with pytest.raises(VaelibError, match="only_finished: none of the"):
        EXPERIMENTS[name]("smoke", toy, overrides={"only_finished": True})
    whole = EXPERIMENTS[name]("smoke", toy).runs
    first, last = ({type(run): run.key for run in runs} for runs in (reversed(whole), whole))
    unmade = {*last.values()} - {*first.values()}  # one of each kind that has several
    monkeypatch.setattr(Store, "has", lambda self, run: run.key not in unmade)
    shown = EXPERIMENTS[name]("smoke", toy, overrides={"only_finished": True}).runs
    assert {run.key for run in shown} <= {run.key for run in whole} - unmade


COMMAND = [sys.executable, "-m", "vaelib", "run", "three_gaps", "--profile", "smoke", "--workers", "0"]


def test_an_unknown_setting_on_the_command_line_is_one_line(tmp_path):
    done = subprocess.run([*COMMAND, "--set", "epoch=3"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "vaelib: epoch is not a setting of a profile; did you mean epochs?\n"


# --- tables -------------------------------------------------------------------------------------------------------


def test_what_an_experiment_no_longer_measures_leaves_its_tables(toy, monkeypatch):
    monkeypatch.setattr("vaelib.runs.tables.record_build", lambda *_: None)
    chosen = three_gaps("smoke", toy, overrides=TINY)
    own, other = chosen.setting | {"value": 1}, chosen.setting | {"likelihood": "mol", "value": 2}
    folder = runs.tables_folder("smoke")
    merge_table(folder / "alone.csv", pd.DataFrame([own, other]))
    merge_table(folder / "shared.csv", pd.DataFrame([own | {"experiment": "three_gaps"}, own | {"experiment": "rha"}]))
    for nothing in (pd.DataFrame(), pd.DataFrame(columns=["experiment", "dataset", "likelihood", "value"])):
        runs.write_tables(chosen._replace(tables=lambda *_, rows=nothing: dict.fromkeys(("alone", "shared"), rows)))
        assert pd.read_csv(folder / "alone.csv").to_dict("records") == [other]
        assert pd.read_csv(folder / "shared.csv")["experiment"].tolist() == ["rha"]
    runs.write_tables(chosen._replace(tables=lambda *_: {"absent": pd.DataFrame()}))
    assert not (folder / "absent.csv").exists()


def test_one_build_never_erases_anothers_rows(tmp_path):
    path = tmp_path / "three_gaps.csv"
    one = pd.DataFrame({"dataset": ["a", "a"], "likelihood": ["mol", "mol"], "value": [1, 2]})
    other = pd.DataFrame({"dataset": ["b"], "likelihood": ["mol"], "value": [3]})
    merge_table(path, one)
    merge_table(path, other)
    merge_table(path, one.assign(value=9)[:1])
    assert sorted(pd.read_csv(path)["value"]) == [3, 9]
    path.write_text("nonsense\n1\n")
    with pytest.raises(VaelibError, match="delete it and run again"):
        merge_table(path, one)


def test_workers_keep_their_memory_and_share_the_cores(monkeypatch):
    """glibc's settings must be there when a worker's process starts: half of the training time hung on this."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    for count in (1, 2):
        threads = max(1, cores() // count)
        with client_of(count, None) as client:
            environments = client.run(Path("/proc/self/environ").read_text).values()
            assert set(client.run(torch.get_num_threads).values()) == {threads}
        wanted = {f"{name}={value}" for name, value in KEEP_MEMORY.items()} | {f"OMP_NUM_THREADS={threads}"}
        assert all(wanted <= set(environment.split("\0")) for environment in environments)
        assert dict(os.environ) == before
