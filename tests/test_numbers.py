"""Ours beside the paper's at equal epochs: the verdict from the interval over seeds and 5 %."""

import numpy as np
import pandas as pd
import pytest

from vaelib.report.reference import paper_curves
from vaelib.results import making
from vaelib.runs.stages.data import reading_once
from vaelib.studies.three_gaps.numbers import against_paper, beside_paper
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.studies.three_gaps.sentences import report_page

SETTING = {"dataset": "fashion_mnist", "likelihood": "gaussian"}


def paper_at(quantity, epoch, method="normal"):
    curves = paper_curves()
    own = curves[(curves["dataset"] == "fashion_mnist") & (curves["likelihood"] == "gaussian")]
    own = own[(own["method"] == method) & (own["quantity"] == quantity)].sort_values("effective_epoch")
    return float(np.interp(epoch, own["effective_epoch"], own["value"]))


def ours(factor, seeds=3, spread=0.0, epochs=(100, 200)):
    """Return curves that are ``factor`` times the paper's at some epochs, seeds ``spread`` nats apart."""
    quantities = ("elbo_train", "elbo_test", "elbo_star_test", "elbo_test_subset")
    return pd.DataFrame(
        SETTING
        | {"method": "normal", "seed": seed, "effective_epoch": epoch, "quantity": quantity, "se": 1.0}
        | {"value": factor * paper_at(quantity, epoch) + spread * (seed - (seeds - 1) / 2)}
        for seed in range(seeds)
        for epoch in epochs
        for quantity in quantities
    )


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "reproduced"), (0.96, "reproduced"), (0.9, "higher"), (1.1, "lower")]
)
def test_within_five_percent_is_reproduced_and_else_the_side_is_told(factor, verdict):
    table = against_paper(ours(factor)).set_index(["quantity", "effective_epoch"])
    assert table.loc[("elbo_test", 100), "verdict"] == verdict
    assert table.loc[("elbo_test", 100), "ratio"] == pytest.approx(factor)
    assert table.loc[("elbo_test", 100), "paper"] == pytest.approx(paper_at("elbo_test", 100))


def test_seeds_that_scatter_widen_the_interval():
    apart = against_paper(ours(0.9, spread=200)).set_index(["quantity", "effective_epoch"])
    assert apart.loc[("elbo_test", 100), "verdict"] == "reproduced"
    assert apart.loc[("elbo_test", 100), "low"] < apart.loc[("elbo_test", 100), "paper"]
    assert against_paper(ours(0.9, seeds=1)).query("quantity == 'elbo_test'")["verdict"].tolist() == [
        "higher",
        "higher",
    ]


def test_gaps_are_differences_and_epochs_without_a_counterpart_are_left_out():
    table = against_paper(ours(1.0, epochs=(20, 100, 2000)))
    gap = table.query("quantity == 'generalization_gap' and effective_epoch == 100")["ours"].item()
    assert gap == pytest.approx(paper_at("elbo_train", 100) - paper_at("elbo_test", 100))
    assert set(table.query("quantity == 'amortization_gap'")["effective_epoch"]) == {100}  # the paper's begins there
    assert 2000 not in set(table["effective_epoch"])


def test_only_epochs_where_the_gaps_were_measured_are_judged():
    curves = ours(1.0)
    extra = curves.query("quantity == 'elbo_test' and effective_epoch == 100").assign(effective_epoch=120)
    assert set(against_paper(pd.concat([curves, extra]))["effective_epoch"]) == {100, 200}


def test_the_table_of_a_notebook_says_ours_the_papers_and_the_verdict():
    html = beside_paper(against_paper(ours(0.9))).to_html()
    assert "Normal training" in html
    theirs = f"{paper_at('elbo_test', 100):,.0f}".replace("-", "\N{MINUS SIGN}")
    assert f"({theirs}) higher" in html
    assert "orders can" in beside_paper(against_paper(ours(1.0).iloc[:0])).to_html()


def test_the_report_has_the_numbers_with_their_verdicts_counted(tmp_path):
    (tmp_path / "tables").mkdir()
    assert report_page(tmp_path) == {}
    table = against_paper(ours(0.9, seeds=1))
    table.assign(n_train=60_000).to_csv(tmp_path / "tables/numbers.csv", index=False)
    (block,) = report_page(tmp_path)["numbers"]
    assert block["setting"] == "FashionMNIST, Gaussian"
    assert block["about"] == "60,000 training images, 1 seed"
    assert f"of {len(table)} numbers" in block["html"]
    assert f"{(table['verdict'] == 'higher').sum()} higher" in block["html"]


def test_the_file_says_how_many_test_images_there_were(build_folder, monkeypatch):
    with reading_once():
        experiment = three_gaps("overnight", "fashion_mnist", overrides={"n_test": 3_000})
    gaps = dict.fromkeys(("generalization_gap", "amortization_gap", "robustness_gap"), 1.0)
    row = experiment.setting | {"method": "normal", "seed": 0, "n_train": 60_000, "n_test": 3_000} | gaps
    tables, folder = {"curves": ours(0.9), "three_gaps": pd.DataFrame([row])}, build_folder / "overnight/tables"

    def finish(experiment):
        folder.mkdir(parents=True)
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        return tables

    monkeypatch.setattr(making, "run", lambda *_, **__: None)
    monkeypatch.setattr(making, "write_tables", finish)
    making.made(experiment)
    written = pd.read_csv(folder / "numbers.csv")
    assert len(written) > 0
    assert set(written["n_train"]) == {60_000}
    assert set(written["n_test"]) == {3_000}
