"""Where the truth is known: runs at a tiny size, tables, figures from tables made by hand, claims in all three outcomes."""

import math

import pandas as pd
import pytest

from vaelib import runs
from vaelib.gaps.calibration import estimates
from vaelib.report.claims import OURS, evaluate_claims
from vaelib.runs import Store, VAERun
from vaelib.runs.stages import make, resolve_data
from vaelib.runs.tables import rows_of
from vaelib.studies.ground_truth import pages as report
from vaelib.studies.ground_truth import stages
from vaelib.studies.ground_truth.runs import S, brackets, ground_truth, write_brackets, write_ground_truth
from vaelib.studies.ground_truth.stages import Brackets, Calibration

TINY = {"plane_points": [40], "plane_seeds": 1, "plane_images": 2_000, "plane_samples": 4_000, "repetitions": 2,
        "world_images": 10, "bracket_images": 3, "bracket_draws": 20, "bracket_temperatures": 3}  # fmt: skip


@pytest.fixture
def lab():
    chosen = ground_truth("smoke", TINY)
    return chosen._replace(worlds=[world for world in chosen.worlds if world.likelihood == "gaussian"])


def test_tiny_runs_make_tables_and_figures(lab):
    runs.run(lab.runs, workers=0)
    tables = write_ground_truth(lab)
    plane = tables["plane"].set_index(["method", "n_train"])
    assert set(tables["plane"]["n_train"]) == {40}
    assert plane.loc[("normal", 40), "unique"] == pytest.approx(40 / 4_000)
    assert plane["kl"].isna().tolist() == [method == "normal" for method, _ in plane.index]
    assert plane.loc[("p_data", 40), "kl"] == pytest.approx(0, abs=1e-9)
    assert plane.loc[("aug_tuned", 40), "mass"] == pytest.approx(1, abs=1e-3)
    assert plane.loc[("p_data", 40), "outside"] == pytest.approx(0.01, abs=0.005)
    assert set(tables["calibration"]["quantity"]) == {"ELBO", "ELBO*", "log p(x)", "G_g", "G_a"}
    remark = tables["remark_b5"]
    assert ((remark["elbo"] - remark["exact"]).abs() < 5 * remark["elbo_se"]).all()
    assert (remark["exact"] <= remark["bound"] + 1e-5).all()
    divergence = report.draw_accuracy(lab, tables).axes[0]
    for line, method in zip(divergence.lines, ("aug_tuned", "aug_naive", "dmaapx"), strict=True):
        assert line.get_ydata().tolist() == [plane.loc[(method, 40), "kl"]]
    marks = [
        line.get_xdata()[0] for line in report.draw_remark(lab, tables).axes[0].lines if len(line.get_xdata()) == 1
    ]
    assert set(marks) == set(remark["bound"])
    rows = tables["calibration"]
    near = ((rows["value"] - rows["exact"]).abs() <= 3 * rows["error"]).groupby(rows["quantity"], sort=False).sum()
    panels = report.draw_calibration_of(lab, tables).axes
    assert [panel.texts[0].get_text() for panel in panels] == [f"{count} of 2 within 3 errors" for count in near]
    assert report.coverage(tables).data["within 3"].tolist() == [f"{count} of 2" for count in near]
    below = report.draw_missed_modes(lab, tables).axes[0].lines[0].get_ydata()
    assert sorted(below) == list(below)
    assert len(below) == lab.worlds[0].images
    told = [text.get_text() for panel in report.draw_training_distributions(lab).axes for text in panel.texts]
    assert any(text.startswith(f"KL {plane.loc[('dmaapx', 40), 'kl']:.2f} nats") for text in told)
    assert report.table_1(tables).data["KL(p_data ‖ p), nats"].tolist()[0] == "∞"
    assert "impossible" in report.bounds_table(tables["world_bounds"], ["likelihood", "starts"]).to_html()
    assert "seed 0" in report.provenance_note(lab)


def test_estimates_are_those_of_a_direct_call_and_a_killed_run_goes_on(monkeypatch):
    begun, settings = [], Calibration(repetitions=2, images=10, draws=20)

    def stopping(*world, seed, **options):
        begun.append(seed)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return estimates(*world, seed=seed, **options)

    monkeypatch.setattr(stages.calibration, "estimates", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(settings, Store())
    for _ in range(2):
        make(settings, Store())
    assert begun == [0, 1, 1]
    direct = estimates(*stages.calibration.calibration_world(), images=10, k=20, seed=1)
    found = rows_of(settings, Store())
    assert found[found["repetition"] == 1]["value"].tolist() == [one.value for one in direct]


def test_brackets_of_a_trained_vae_are_read_from_the_store():
    """A VAE in the store is bracketed, none is trained; the table and figure split its inference gap."""
    data = resolve_data("fashion_mnist", 20, 20)
    run = VAERun(data=data, epochs=1, snapshots=(1,), evaluations=(1,))
    store = Store()
    for artifact in (data, run):
        make(artifact, store)
    one = Brackets(vae=run, images=3, draws=20, chains=2, temperatures=3, steps=200)
    runs.run([one], workers=0)
    rows = rows_of(one, store)
    assert rows.groupby("images").size().to_dict() == {"own samples": 3, "test images": 3}
    assert rows.loc[rows["images"] == "test images", "BDMC"].isna().all()
    assert (rows["ELBO*"] >= rows["ELBO"]).all()
    assert not rows["impossible"].any()
    table = write_brackets("smoke", {"normal": one})
    lab = ground_truth("smoke", TINY)
    ours = rows[rows["images"] == "test images"]
    test, own = report.draw_brackets(lab, table).axes
    assert test.patches[0].get_height() == pytest.approx((ours["ELBO*"] - ours["ELBO"]).mean())
    assert len(own.patches) == 2
    assert brackets("smoke", "fashion_mnist") == {}


def plane_table(kl, seeds=3, noise=0.0):
    """Rows of three seeds at two N: ``kl`` by method at the larger, twice that at the smaller."""
    rows = []
    for seed in range(seeds):
        for n, factor in ((100, 2.0), (1_000, 1.0)):
            for method, value in kl.items():
                shift = noise * (seed - 1) * (1 if method == "dmaapx" else -1)
                rows.append({"dataset": S[0], "likelihood": S[1], "method": method, "n_train": n, "seed": seed,
                             "kl": factor * value + shift, "unique": 0.01 if method == "normal" else 1.0,
                             "outside": {"p_data": 0.02, "dmaapx": 0.3}.get(method, 0.1), "missed": 0.01, "key": "k"})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("dmaapx", "noise", "expected"),
    [(0.02, 0.001, "supported"), (0.2, 0.001, "contradicted"), (0.05, 0.2, "not_testable")],
)
def test_table_1_can_be_supported_contradicted_or_neither(dmaapx, noise, expected):
    kl = {"p_data": 0.0, "normal": math.nan, "aug_tuned": 0.05, "aug_naive": 0.15, "dmaapx": dmaapx}
    found = evaluate_claims({"plane": plane_table(kl, noise=noise)}, "laptop")
    rows = {row["id"].split("/")[0]: row for row in found if row["evidence"] == OURS}
    assert rows["t1-tuned"]["verdict"] == expected
    assert rows["t1-unique-dm"]["verdict"] == "supported"
    assert rows["f1-outside"]["verdict"] == "supported"
    assert rows["t1-train"]["verdict"] == "not_testable"
    assert "infinite" in rows["t1-train"]["note"]
    assert rows["t1-tuned"]["notebook"] == "01_training_distributions"
