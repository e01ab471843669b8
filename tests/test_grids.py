"""The sweeps as data, and their stages end to end on a toy data set."""

import json
import math

import numpy as np
import pytest
import torch

from tests import defaults
from tests.small import TINY_SWEEPS
from vaelib import runs
from vaelib.data import load_dataset
from vaelib.errors import VaelibError
from vaelib.report.study import studies
from vaelib.runs import RHA, Bank, Data, Gaps, Store, Teacher, VAERun
from vaelib.runs.cost.price import cost
from vaelib.runs.engine import all_artifacts
from vaelib.runs.settings import HeldOut, Network, Regularisation
from vaelib.runs.stages import spare_images
from vaelib.studies.sweeps.runs import limited_k, sizes, teacher_fractions

EXPERIMENTS = {study.name: study.runs for study in studies().values() if study.runs}

SWEEPS = [study.name for study in studies().values() if study.sweep and study.name != "teacher_sheet"]


def data(**changes):
    return Data(**({"name": "toy", "n_train": 10, "n_test": 2, "label": "toy", "digest": "0"} | changes))


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_key_changes_with_any_setting_and_with_upstream_but_not_with_new_defaults():
    bank = Bank(teacher=Teacher(data=data()), size=100)
    run = VAERun(data=data(), method="dmaapx", bank=bank)
    changed = [
        run.model_copy(update={"k": 2}),
        VAERun(data=data(), method="dmaapx", bank=Bank(teacher=Teacher(data=data(), share=0.5), size=100)),
        VAERun(data=data(), real_share=0.5, bank=bank),
        VAERun(data=data(), mollify="sigmoid"),
        VAERun(data=data(), network={"architecture": "residual"}),
    ]
    assert len({run.key, *(one.key for one in changed)}) == 6
    assert run.key == VAERun(data=data(), method="dmaapx", bank=bank, mollify="none", epochs=1000).key


def test_a_new_version_upstream_is_another_run(monkeypatch):
    gaps = Gaps(vae=VAERun(data=data()))
    before = gaps.key
    monkeypatch.setattr(VAERun, "version", gaps.vae.version + 1)
    assert gaps.key != before


def test_a_version_may_depend_on_the_settings():
    """So that a change that touches some runs leaves the others' keys, here of version 1 as they always were."""
    normal, naive, few = (
        VAERun(data=data(digest=8 * "0", n_train=n, n_test=10), method=m, network=Network(likelihood="bernoulli"))
        for n, m in ((300, "normal"), (300, "aug_naive"), (30, "normal"))
    )
    assert (normal.version, naive.version, few.version) == (1, 2, 2)
    assert normal.key == "fa2b33ec578823c0407f"
    assert naive.key != "813a2eb985b4f0e34b38"
    assert few.key != "dc4abd62ee6f3b05fa30"  # of a batch of 64, by which every other epoch took no step


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "dmaapx"}, "a bank of samples goes with"),
        ({"real_share": 0.5}, "a bank of samples goes with"),
        ({"method": "held_out"}, "held-out images go with"),
        (
            {"method": "held_out", "held_out": HeldOut(data=data(), size=20), "k": 3},
            "k is at most 2 for a held-out set",
        ),
        (
            {"method": "dmaapx", "bank": Bank(teacher=Teacher(data=data()), size=30), "k": 4},
            "k is at most 3 for a bank",
        ),
    ],
)
def test_a_run_without_its_images_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        VAERun(data=data(), **values)


def test_noise_on_images_and_consistency_are_refused_together():
    with pytest.raises(ValueError, match="choose one of the two"):
        VAERun(data=data(), mollify="sigmoid", regularisation=Regularisation(consistency=1.0))


def test_rha_needs_a_decoder_checkpoint_and_epochs_to_go():
    run = VAERun(data=data(), epochs=10, snapshots=(5, 10))
    assert RHA(vae=run, start=5, epochs=10).upstream() == [run]
    with pytest.raises(ValueError, match="start = 4 has no decoder checkpoint; the VAE keeps weights at 5, 10"):
        RHA(vae=run, start=4, epochs=10)
    with pytest.raises(ValueError, match="leaves no epoch"):
        RHA(vae=run, start=10, epochs=10)
    with pytest.raises(ValueError, match="by the ELBO alone; give a VAE without regularisation"):
        RHA(vae=run.model_copy(update={"regularisation": Regularisation(dropout=0.1)}), start=5, epochs=10)


# --- grids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_a_table_of_runs_on_one_data_set(toy, name):
    chosen = EXPERIMENTS[name]("smoke", toy, overrides=TINY_SWEEPS)
    assert chosen.name == name
    assert chosen.likelihood == "gaussian"
    assert all(point.vae.network.architecture == "residual" for point in chosen.points)
    assert {point.vae.data.key for point in chosen.points} == {chosen.data.key}
    places = [(p.series, p.x, p.vae.seed, p.vae.network.nc, p.vae.network.mz) for p in chosen.points]
    assert len({str(place) for place in places}) == len(places)


def test_the_base_vaes_are_trained_once_for_all_figures(toy):
    wanted = {name: EXPERIMENTS[name]("smoke", toy, overrides=TINY_SWEEPS) for name in SWEEPS}
    base = {point.run.key for point in wanted["smoothness"].points}
    for name in ("limited_k", "rha", "sizes", "mollify", "mixing", "teacher_fractions"):
        assert base <= {run.key for run in wanted[name].runs}, name
    every = all_artifacts([run for chosen in wanted.values() for run in chosen.runs])
    assert sum(isinstance(one, Teacher) for one in every) == 2  # on all of D_train and on half of it
    assert all(cost(one) > 0 for one in every)


def test_seeds_are_points_of_their_own(toy):
    chosen = limited_k("smoke", toy, overrides=TINY_SWEEPS | {"sweep_seeds": 2})
    assert len(chosen.points) == 2 * (1 + 2 + 2)
    assert {point.vae.seed for point in chosen.points} == {0, 1}


def test_sizes_cover_both_axes_and_share_the_crossing(toy):
    chosen = sizes("smoke", toy, overrides=TINY_SWEEPS | {"mz_grid": [1, 2], "nc_grid": [2, 3], "nc_mz": [1, 2]})
    cells = {(p.series, p.vae.network.nc, p.vae.network.mz) for p in chosen.points}
    assert cells == {(m, nc, mz) for m in ("normal", "dmaapx") for nc in (2, 3) for mz in (1, 2)}


def test_the_control_stops_where_real_images_end(toy):
    grid = {"k": 5, "k_grid": [1, 2, 5]}
    chosen = limited_k("smoke", toy, overrides=TINY_SWEEPS | grid)
    spare = spare_images(chosen.data)
    assert [p.x for p in chosen.points if p.series == "held_out"] == [k for k in (1, 2, 5) if 20 * k <= spare]
    without = limited_k("smoke", toy, overrides=TINY_SWEEPS | grid | {"n_train": None})
    assert not [p for p in without.points if p.series == "held_out"]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("limited_k", {"k_grid": [1, 9]}, "k_grid reaches 9, the bank holds k = 2"),
        ("sizes", {"mz_grid": []}, "mz_grid"),
        ("sizes", {"nc_grid": [0]}, r"nc_grid.0 = 0: .* greater than or equal to 1"),
        ("sizes", {"mz_grid": [1, 65]}, r"mz_grid.1 = 65: .* less than or equal to 64"),
        ("rha", {"epochs": 7}, "epochs = 7 and gap_points = 2: .* make both even"),
        ("rha", {"epochs": 12, "gap_points": 3}, "epochs = 12 and gap_points = 3: .* make both even"),
        ("latents", {"mz": 2, "latents_mz": 2}, "latents_mz = 2 is mz, .* set it to another"),
        ("teacher_fractions", {"teacher_fractions": [0]}, r"teacher_fractions.0 = 0: .* greater than 0"),
        ("mixing", {"real_shares": [120]}, r"real_shares.0 = 120: .* less than or equal to 100"),
    ],
)
def test_a_grid_out_of_range_is_refused_before_anything_is_trained(toy, name, overrides, message):
    with pytest.raises(VaelibError, match=message):
        EXPERIMENTS[name]("smoke", toy, overrides=TINY_SWEEPS | overrides)


# --- data -------------------------------------------------------------------------------------------------------------


def test_held_out_images_are_real_distinct_and_disjoint(toy):
    loaded = load_dataset(toy, n_train=20, n_test=10, held_out=40)
    pools = (loaded.train, loaded.test, loaded.held_out)
    rows = [{image.numpy().tobytes() for image in pool} for pool in pools]
    assert [len(row) for row in rows] == [20, 10, 40]
    assert not (rows[0] | rows[1]) & rows[2]
    assert torch.equal(loaded.train, load_dataset(toy, n_train=20, n_test=10).train)
    with pytest.raises(VaelibError, match=r"held_out = 900: beside n_train = 20 only \d+ training images are left"):
        load_dataset(toy, n_train=20, n_test=10, held_out=900)


# --- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_sweep_runs_and_its_table_tells_what_it_did(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "build"))
    store = Store()
    for name in SWEEPS:
        chosen = EXPERIMENTS[name]("smoke", toy, overrides=TINY_SWEEPS)
        runs.run(chosen.runs, store=store, workers=0)
        tables = runs.write_tables(chosen, store)
        rows, curves = tables["rows"], tables["curves"]
        assert len(rows) == len(chosen.points)
        assert np.allclose(rows.generalization_gap, rows.elbo_train - rows.elbo_test)
        assert (rows.best_elbo_test >= rows.elbo_test).all()
        assert np.isfinite(rows.elbo_test).all()
        assert set(curves.experiment) == {name}
        assert runs.read_table(runs.tables_folder("smoke") / f"{name}.csv").shape == rows.shape
    half = curves_of("rha", store, toy)
    base, asleep = half["normal"], half["normal_rha"]
    first = base[base.effective_epoch <= 1].reset_index(drop=True)
    assert first.equals(asleep[asleep.effective_epoch <= 1].reset_index(drop=True))
    assert asleep.effective_epoch.max() == 2
    sizes = runs.read_table(runs.tables_folder("smoke") / "sizes.csv")
    assert (sizes.d_z == 64 * sizes.mz).all()
    assert sizes.groupby(["nc", "mz"]).parameters.nunique().eq(1).all()
    assert json.loads((tmp_path / "build" / "smoke" / "build.json").read_text())
    assert not [one for one in all_artifacts(chosen.runs) if not store.has_manifest(one)]


def curves_of(name, store, toy):
    """Return a sweep's curves by series, without the columns that name the series."""
    chosen = EXPERIMENTS[name]("smoke", toy, overrides=TINY_SWEEPS)
    columns = ["effective_epoch", "quantity", "value"]
    return {point.series: runs.tables.curve(point.run, store)[columns] for point in chosen.points}


def test_a_teacher_of_a_share_sees_that_share(toy, tmp_path, monkeypatch):
    from vaelib.runs.stages.context import Context
    from vaelib.runs.stages.diffusion import _training_images

    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "build"))
    store = Store()
    chosen = teacher_fractions("smoke", toy, overrides=TINY_SWEEPS)
    teachers = [p.vae.bank.teacher for p in chosen.points if not math.isnan(p.x)]
    runs.run([chosen.data], store=store, workers=0)
    context = Context(store, tmp_path, torch.device("cpu"), lambda *_: None)
    half, whole = (_training_images(teacher, context) for teacher in teachers)
    assert (len(half), len(whole)) == (10, 20)
    everything = {image.numpy().tobytes() for image in whole}
    assert {image.numpy().tobytes() for image in half} <= everything


# --- what a key stands on ---------------------------------------------------------------------------------------------

KNOWN = {block.partition(",")[0]: block.splitlines() for block in defaults.FILE.read_text().split("\n\n")}


@pytest.mark.parametrize("kind", defaults.kinds(), ids=lambda kind: kind.__name__)
def test_no_default_changes_without_a_new_version(kind):
    assert defaults.lines_of(kind) == KNOWN.get(kind.__name__, []), defaults.__doc__


def test_no_record_is_gone():
    assert sorted(KNOWN) == [kind.__name__ for kind in defaults.kinds()]
