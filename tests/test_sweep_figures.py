"""Figures of the sweeps from synthetic tables: every line is what the table says, and no two texts overlap."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.test_report import boxes, clash
from vaelib.errors import VaelibError
from vaelib.report.canvas import COLOURS
from vaelib.report.publish import provenance_line
from vaelib.report.reference import digitised, epochs_done, paper_curves
from vaelib.runs import load_profile
from vaelib.runs.experiments import Point
from vaelib.runs.settings import Data, Network, VAERun
from vaelib.studies.sweeps import figures as sweeps
from vaelib.studies.sweeps import pages as sweep_figures
from vaelib.studies.sweeps.paper import SWEEPS, paper_sweep, paper_sweep_curves, parameter_count
from vaelib.studies.sweeps.tables import sweep_experiment
from vaelib.studies.three_gaps import pages as headline

LAPTOP_SIZES = sorted(
    {(32, mz) for mz in (1, 2, 4, 8, 16, 32, 64)} | {(n, m) for n in (4, 8, 16, 32, 64) for m in (1, 8, 64)}
)
SETTING = {"dataset": "fashion_mnist", "likelihood": "mol"}
RUNS = {
    "rha": ("normal", "normal_rha", "dmaapx", "dmaapx_rha"),
    "mollify": ("normal", "normal_mollify", "dmaapx", "dmaapx_mollify"),
    "latents": ("mz1", "mz8"),
}


def values(name):
    """Return {(series, x, nc, mz): (train, test)} of a laptop build: everything as the paper claims, by wide margins."""
    base = (32, 1)
    if name == "limited_k":
        found = {("normal", math.nan, *base): (-1000.0, -4000.0)}
        for k, test in ((1, -4050.0), (2, -3000.0), (5, -2300.0), (10, -2100.0), (20, -2090.0)):
            found["dmaapx", k, *base] = (test + 100, test)
            found["held_out", k, *base] = (test + 400, test + 300)
        return found
    if name == "mixing":
        shares = {0: 0, 20: 150, 40: 400, 60: 800, 80: 1300, 100: 2000}
        plain = {("no_augmentation", x, *base): (-1950.0 + 0.5 * loss, -2000.0 - loss) for x, loss in shares.items()}
        return plain | {
            ("aug_tuned", x, *base): (-1775.0 + 0.3 * loss, -1800.0 - 0.5 * loss) for x, loss in shares.items()
        }
    if name == "teacher_fractions":
        tests = {10: -5000.0, 30: -4000.0, 50: -3000.0, 70: -2200.0, 100: -2100.0}
        taught = {("dmaapx", x, *base): (test + 50, test) for x, test in tests.items()}
        return {("normal", math.nan, *base): (-1000.0, -4010.0)} | taught
    if name == "sizes":
        return _sizes()
    finals = {"normal": (-1000.0, -4000.0), "dmaapx": (-2050.0, -2100.0)}
    finals |= {"normal_rha": (-1400.0, -3300.0), "dmaapx_rha": (-2060.0, -2110.0)}
    finals |= {"normal_mollify": (-3930.0, -3990.0), "dmaapx_mollify": (-2200.0, -2250.0)}
    finals |= {"mz1": (-1000.0, -4000.0), "mz8": (-1500.0, -2500.0)}
    x = {"mz1": (1, 32, 1), "mz8": (8, 32, 8)}
    return {(s, *x.get(s, (math.nan, *base))): finals[s] for s in RUNS[name]}


def _sizes():
    """Return a grid with a U-shape in nc at mz = 1 that goes away at large mz, and a gain from mz up to 16."""
    found = {}
    for nc, mz in LAPTOP_SIZES:
        rise = 900 * math.log2(min(mz, 16)) + 400 * math.log2(nc)
        fall = {4: 0, 8: 0, 16: 900, 32: 1900, 64: 3400}[nc] / mz**2
        gap = 30 * nc / mz**0.5
        found["normal", math.nan, nc, mz] = (-9000 + rise - fall + gap, -9000 + rise - fall)
        found["dmaapx", math.nan, nc, mz] = (-9000 + rise + 10, -9000 + rise)
    return found


def rows_of(name, seeds=1, noise=0.0, error=1.0, table=None, **setting):
    """Return a sweep's rows in the contract's format; ``noise`` is what a run differs from its value, drawn per run."""
    rng, rows = np.random.default_rng(0), []
    for (series, x, nc, mz), pair in (table or values(name)).items():
        for seed in range(seeds):
            train, test = pair + noise * rng.standard_normal(2)
            row = {"experiment": name, **SETTING, **setting, "series": series, "x": x, "seed": seed, "method": "normal"}
            row |= {"nc": nc, "mz": mz, "d_z": 64 * mz, "parameters": parameter_count(nc, mz), "effective_epochs": 60}
            row |= {"elbo_train": train, "elbo_test": test, "generalization_gap": train - test}
            row |= {f"{key}_se": error for key in ("elbo_train", "elbo_test", "generalization_gap")}
            row |= {"best_elbo_test": test + 200.0 * (series == "normal"), "best_epoch": 30}
            if name == "latents":
                more = noise * rng.standard_normal(2)
                row |= {"amortization_gap": 500.0 / mz + more[0], "amortization_gap_se": error}
                row |= {"robustness_gap": 0.4 / mz + more[1] / 1e3, "robustness_gap_se": error / 1e3}
                row |= {"unconverged": 0.0}
            rows.append(row | {"n_train": 1000, "n_test": 10_000, "source": "FashionMNIST, bit-exact", "key": "k"})
    return pd.DataFrame(rows)


def curves_of(name, seeds=1):
    """Return a sweep's curves: an early rise, mollified runs far below until half time, the last values of the rows."""
    lines = []
    for row in rows_of(name, seeds).to_dict("records"):
        place = {key: row[key] for key in ("experiment", "dataset", "likelihood", "series", "x", "seed")}
        for epoch in (10, 20, 30, 40, 50, 60):
            low = 20_000 if row["series"].endswith("mollify") and epoch <= 30 else 9000 * math.exp(-epoch / 8)
            points = {"elbo_train": row["elbo_train"] - low, "elbo_test": row["elbo_test"] - low - 5 * row["seed"]}
            if name == "latents":
                points |= {"elbo_test_subset": points["elbo_test"], "input_similarity": 0.95}
                points["elbo_star_test"] = points["elbo_test"] + row["amortization_gap"]
                points["reconstruction_similarity"] = 0.95 - row["robustness_gap"]
            lines += [
                place | {"effective_epoch": epoch, "quantity": q, "value": v, "se": 1.0} for q, v in points.items()
            ]
    return pd.DataFrame(lines)


def draw(name, seeds=1, **frame):
    """Return the figure of a sweep from its synthetic tables."""
    rows = rows_of(name, seeds, noise=30.0 * (seeds > 1))
    frame = (
        {"title_note": "FashionMNIST"}
        | ({} if "footer" in frame else {"footer": provenance_line(rows, profile="laptop")})
        | frame
    )
    if name == "rha":
        return sweeps.rha_figure(curves_of(name, seeds), rows, frozen=30, **frame)
    if name == "mollify":
        return sweeps.mollify_figure(curves_of(name, seeds), rows, clean=30, **frame)
    if name == "latents":
        return sweeps.latents_figure(curves_of(name, seeds), rows, **frame)
    function = {
        "limited_k": sweeps.limited_k_figure,
        "mixing": sweeps.mixing_figure,
        "teacher_fractions": sweeps.teacher_figure,
        "sizes": sweeps.sizes_figure,
        "path": sweeps.path_figure,
        "early_stopping": sweeps.early_stopping_figure,
    }[name]
    return function(rows, **frame)


def lines(ax):
    """Return the drawn lines with data of an axes as (colour, style, xs, ys); horizontal lines have xs (0, 1)."""
    found = [line for line in ax.get_lines() if len(line.get_xdata())]
    return [(o.get_color(), o.get_linestyle(), list(o.get_xdata()), list(o.get_ydata())) for o in found]


def means(rows, series, quantity):
    return rows[rows["series"] == series].groupby("x")[quantity].mean()


# --- what is drawn is what the table says -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["limited_k", "mixing", "teacher_fractions"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_lines_over_x_are_the_tables_means_and_seeds_make_bands(name, seeds):
    rows, ax = rows_of(name, seeds, noise=30.0 * (seeds > 1)), draw(name, seeds).axes[0]
    drawn = lines(ax)
    for series in set(rows["series"]):
        for quantity, style in (("elbo_train", "--"), ("elbo_test", "-")):
            expected = means(rows, series, quantity)
            if series == "normal":
                level = rows[rows["series"] == "normal"][quantity].mean()
                assert any(c == COLOURS[series] and s == style and np.allclose(y, level) for c, s, _, y in drawn)
            else:
                shown = [(x, y) for c, s, x, y in drawn if c == COLOURS[series] and s == style and len(x) > 2]
                assert any(x == list(expected.index) and np.allclose(y, expected) for x, y in shown), (series, quantity)
    assert bool(ax.collections) == (seeds > 1)
    assert "nats per image" in ax.get_ylabel()


def test_the_thin_line_of_the_mixtures_is_dmaapx_alone():
    assert (COLOURS["dmaapx"], "-", [0, 1], [-2000.0, -2000.0]) in lines(draw("mixing").axes[0])


def test_without_held_out_images_the_control_is_left_out():
    rows = rows_of("limited_k")
    rows = rows[rows["series"] != "held_out"]
    fig = sweeps.limited_k_figure(rows, title_note="x")
    assert COLOURS["held_out"] not in {colour for colour, *_ in lines(fig.axes[0])}
    assert not any("held-out" in text.get_text() for text in fig.legends[0].get_texts())


@pytest.mark.parametrize("name", ["rha", "mollify"])
def test_curves_end_in_brackets_with_the_tables_gaps(name):
    fig = draw(name)
    texts = {text for text, _ in boxes(fig)}
    gaps = rows_of(name).set_index("series")["generalization_gap"]
    assert {f"{gap:,.0f}" if gap > 99 else f"{gap:.1f}" for gap in gaps} <= texts
    assert any(x == [30, 30] for _, style, x, _ in lines(fig.axes[0]) if style == ":")


def test_rha_starts_where_the_decoder_is_frozen():
    shown = [x for colour, _, x, _ in lines(draw("rha").axes[0]) if colour == COLOURS["normal_rha"]]
    assert shown == [[30, 40, 50, 60]] * 2


def test_mollified_curves_stay_in_view_below_a_change_of_scale():
    fig = draw("mollify")
    ax, strip = fig.axes[:2]
    low, high = ax.get_ylim()
    assert low < -20_000 < -1000 < high
    fig.draw_without_rendering()
    bottom, top = ax.get_window_extent().y0, ax.get_window_extent().y1
    at = [(ax.transData.transform((0, y))[1] - bottom) / (top - bottom) for y in (-20_000, -4000, -1000)]
    assert 0 < at[0] < 0.28 < at[1] < at[2] < 1
    assert ax.transData.transform((0, -2100))[1] == pytest.approx(strip.transData.transform((0, -2100))[1])
    curves = curves_of("mollify").query("effective_epoch > 30")  # all in view: the scale stays as it is
    plain = sweeps.mollify_figure(curves, rows_of("mollify"), clean=30, title_note="x").axes[0]
    assert plain.get_yscale() == "linear"
    assert plain.get_ylim()[0] < curves["value"].min()


def test_latents_are_the_three_gaps_of_two_sizes():
    fig = draw("latents")
    assert [ax.get_title(loc="left") for ax in fig.axes[::2]] == [
        "Generalization gap", "Amortization gap", "Robustness gap"
    ]  # fmt: skip
    texts = {text for text, _ in boxes(fig)}
    assert {"mz = 1", "mz = 8", "3,000", "1,000", "500", "62.5", "0.40", "0.05"} <= texts


def test_sizes_show_four_panels_of_the_grid():
    rows = rows_of("sizes")
    a, b, c, d = draw("sizes").axes[::2]
    cells = rows.set_index(["series", "nc", "mz"])
    across = [1, 2, 4, 8, 16, 32, 64]
    wanted = [cells.loc[("normal", 32, mz), "elbo_test"] for mz in across]
    assert any(x == across and np.allclose(y, wanted) for _, s, x, y in lines(a) if s == "-")
    assert len(lines(a)) == 4
    assert len(lines(b)) == 2
    assert b.get_yscale() == "log"
    assert [ax.get_xscale() for ax in (a, b, c, d)] == ["log"] * 4
    for ax, quantity in ((c, "elbo_test"), (d, "generalization_gap")):
        drawn = [(x, y) for *_, x, y in lines(ax)]
        assert len(drawn) == 6
        for method, mz in itertools.product(("normal", "dmaapx"), (1, 8, 64)):
            wanted = [cells.loc[(method, nc, mz), quantity] for nc in (4, 8, 16, 32, 64)]
            assert any(x == [4, 8, 16, 32, 64] and np.allclose(y, wanted) for x, y in drawn)


def test_gaps_below_zero_can_be_drawn():
    rows = rows_of("sizes")
    rows.loc[rows["series"] == "dmaapx", "generalization_gap"] = -2.0
    b = sweeps.sizes_figure(rows, title_note="x").axes[2]
    assert b.get_yscale() == "symlog"
    assert b.get_ylim()[0] < -2


def test_the_path_runs_along_nc_then_mz_then_nc():
    first, second, third = sweeps.path(rows_of("sizes"))
    assert first[["nc", "mz"]].to_numpy().tolist() == [[4, 1], [8, 1], [16, 1], [32, 1]]
    assert second["mz"].tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert set(second["nc"]) == {32}
    assert third[["nc", "mz"]].to_numpy().tolist() == [[32, 64], [64, 64]]
    rows = rows_of("sizes")
    few = sweeps.path(rows[(rows["nc"] == 32) | (rows["mz"] < 64)])  # mz goes on above the largest at which nc is swept
    assert few[1]["mz"].max() == few[2]["mz"].unique().item() == few[2]["mz"].iloc[0]
    assert first["parameters"].iloc[-1] == second["parameters"].iloc[0] == 88 * 32**2 + 174 * 32 + 100 + 3 * 32 + 2


@pytest.mark.parametrize("axis", ["log", "linear"])
def test_the_path_figure_is_upside_down_on_either_axis(axis):
    rows = rows_of("sizes")
    ax = sweeps.path_figure(rows, axis=axis, title_note="x").axes[0]
    assert ax.get_xscale() == axis
    assert {text.get_text() for text in ax.texts} == {"1", "2", "3"}
    cells = rows[rows["series"] == "normal"].set_index(["nc", "mz"])
    along = cells.xs(8, level="mz").sort_index()
    constant_mz = [(x, y) for colour, _, x, y in lines(ax) if colour == sweeps.CYAN]
    assert any(x == list(along["parameters"]) and np.allclose(y, -along["elbo_test"]) for x, y in constant_mz)


def test_early_stopping_shows_last_and_best():
    rows = pd.concat([rows_of("rha"), rows_of("mollify")])
    fig = sweeps.early_stopping_figure(rows, title_note="x")
    ax = fig.axes[0]
    points = {(x[0], y[0]) for _, style, x, y in lines(ax) if style == "None"}
    assert {(-4000.0, 0), (-3800.0, 0)} <= points  # normal training: last, best
    assert len(ax.get_yticklabels()) == 6  # normal and dmaapx are in both tables, and shown once
    assert (COLOURS["dmaapx"], "-", [-2100.0, -2100.0], [0, 1]) in lines(ax)


def test_the_papers_numbers_are_drawn_faintly_beneath():
    rows = rows_of("mixing", dataset="cifar10")
    fig = sweeps.mixing_figure(rows, title_note="x", paper=paper_sweep("mixing"))
    faint = [line for line in fig.axes[0].get_lines() if line.get_alpha() == 0.35]
    assert len(faint) == 4
    assert min(min(line.get_ydata()) for line in faint) == pytest.approx(-11492.84, abs=0.01)


# --- nothing overlaps ---------------------------------------------------------------------------------------------------


def every_figure(seeds):
    """Yield every figure from laptop tables, then from the paper's own full grids."""
    for name in (*SWEEPS, "path", "early_stopping"):
        if name in SWEEPS:
            yield name, draw(name, seeds)
    frame = {"title_note": "FashionMNIST, mixture of logistics likelihood", "footer": "profile laptop · " * 12}
    yield "path", sweeps.path_figure(rows_of("sizes", seeds), **frame)
    yield "early stopping", sweeps.early_stopping_figure(rows_of("rha", seeds), **frame)
    if seeds == 1:
        yield "paper 4", sweeps.limited_k_figure(paper_sweep("limited_k"), **frame)
        yield "paper 5", sweeps.rha_figure(paper_sweep_curves("rha"), paper_sweep("rha"), frozen=500, **frame)
        yield "paper 6", sweeps.latents_figure(paper_sweep_curves("latents"), paper_sweep("latents"), **frame)
        yield "paper 7", sweeps.sizes_figure(paper_sweep("sizes"), **frame)
        yield "paper 8", sweeps.path_figure(paper_sweep("sizes"), **frame)
        yield "paper 8 linear", sweeps.path_figure(paper_sweep("sizes"), axis="linear", **frame)
        yield (
            "paper 14",
            sweeps.mollify_figure(paper_sweep_curves("mollify"), paper_sweep("mollify"), clean=500, **frame),
        )
        yield "paper 16", sweeps.teacher_figure(paper_sweep("teacher_fractions"), **frame)


@pytest.mark.parametrize(("seeds", "times"), [(1, 1), (3, 1), (3, 1000)])
def test_no_text_overlaps_another_or_leaves_the_sheet(seeds, times, monkeypatch):
    """Not even where ELBOs are millions below zero: axes give way to their labels."""
    small = {name: values(name) for name in SWEEPS}
    large = {name: {key: tuple(times * y for y in pair) for key, pair in small[name].items()} for name in SWEEPS}
    monkeypatch.setitem(globals(), "values", large.get)
    for name, fig in every_figure(seeds):
        assert (name, clash(fig)) == (name, [])


# --- plain errors -------------------------------------------------------------------------------------------------------


def test_the_gaps_of_fig_6_are_those_that_it_prints():
    """Its labels are cut off after two digits of G_r, and after the point of G_a; the curves of mz = 10 end at epoch 700."""
    gaps = paper_sweep("latents").set_index("series")
    assert {name: int(100 * gap) for name, gap in gaps["robustness_gap"].items()} == {"mz1": 32, "mz10": 4}
    assert {name: int(gap) for name, gap in gaps["amortization_gap"].items()} == {"mz1": 857, "mz10": 361}


def test_no_curve_of_the_papers_runs_on_after_its_1000_epochs():
    """Fig. 5 counts epochs done already."""
    for curves in (paper_curves(), *map(paper_sweep_curves, ("rha", "latents", "mollify"))):
        ends = curves.groupby("quantity")["effective_epoch"].max()
        assert ends.max() <= 1000.01
        assert ends["elbo_test"] == pytest.approx(1000, abs=0.01)


def test_the_papers_elbos_are_counted_from_the_first_epoch():
    """Fig. 6 shows one VAE's test ELBO twice: in the raw curve, and every 100 epochs beside q*."""
    raw = digitised("raw_cifar_fig6").query("series == 'mz10_test'")
    raw = raw[(raw["epoch"] - raw["epoch"].round()).abs() < 0.1]
    raw = raw.set_index(epochs_done(raw["epoch"].round(), pd.Series("elbo_test", index=raw.index)))["elbo"]
    encoder = paper_sweep_curves("latents").query("series == 'mz10' and quantity == 'elbo_test_subset'")
    encoder = encoder.set_index(encoder["effective_epoch"].round())["value"]
    both = encoder.index.intersection(raw.index)
    assert len(both) >= 5
    assert (encoder[both] - raw[both]).abs().max() < 2
    beside = encoder.index.intersection(raw.index - 1)
    assert (encoder[beside] - raw.set_axis(raw.index - 1)[beside]).abs().max() > 30


@pytest.mark.parametrize("name", [*SWEEPS])
def test_empty_and_mixed_tables_are_refused(name, monkeypatch):
    rows, curves = rows_of(name), curves_of(name) if name in RUNS else None
    for bad in (lambda t: t.iloc[:0], lambda t: pd.concat([t, t.assign(dataset="cifar10")])):
        monkeypatch.setitem(globals(), "rows_of", lambda *a, _bad=bad, **k: _bad(rows))
        monkeypatch.setitem(globals(), "curves_of", lambda *a, _bad=bad, **k: _bad(curves))
        with pytest.raises(ValueError, match="filter it first"):
            draw(name, footer="")


def test_misspelt_settings_of_a_figure_are_refused():
    with pytest.raises(TypeError, match="fotter"):
        sweeps.mixing_figure(rows_of("mixing"), title_note="x", fotter="")
    with pytest.raises(ValueError, match="choose log or linear"):
        sweeps.path_figure(rows_of("sizes"), title_note="x", axis="lin")
    with pytest.raises(ValueError, match="two values of mz"):
        sweeps.path_figure(rows_of("sizes").query("mz == 1"), title_note="x")


def sweep_of(name, profile, dataset, likelihood, n_train=100, **overrides):
    """Return a sweep of one run, whose images nobody has looked at."""
    data = Data(name=dataset, n_train=n_train, n_test=50, label="x", digest="0")
    run = VAERun(data=data, network=Network(likelihood=likelihood), method="normal", epochs=1)
    return sweep_experiment(
        name, load_profile(profile, "residual", overrides), dataset, likelihood, [Point("normal", math.nan, run)]
    )


# --- files and tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("limited_k", "fig04_right"),
        ("latents", "fig06"),
        ("sizes", "fig07"),
        ("mollify", "fig14"),
        ("mixing", "fig15"),
        ("teacher_fractions", "fig16"),
    ],
)
def test_figures_are_saved_under_the_papers_number_and_the_report_has_their_captions(name, stem, build_folder):
    experiment = sweep_of(name, "smoke", "fashion_mnist", "gaussian")
    tables = {"rows": rows_of(name), "curves": curves_of(name) if name in RUNS else None}
    fig = sweep_figures.draw_sweep(experiment, tables)
    path = build_folder / f"smoke/figures/{stem}_fashion_mnist.png"
    low, high = Image.open(path).convert("L").getextrema()
    assert low < 100 < high == 255
    assert "<svg" in path.with_suffix(".svg").read_text()[:2000]
    texts = {text for text, _ in boxes(fig)}
    assert "smoke: no claim" in texts
    assert any("(one seed)" in text.replace("\n", " ") for text in texts)
    record = json.loads(path.with_suffix(".json").read_text())
    assert stem.removesuffix("_right")[3:].lstrip("0") in record["caption"].split("Fig. ")[1]
    assert (record["study"], record["table"]) == (name, name)
    assert record["runs"] == [run.key for run in experiment.runs]
    assert record["command"] == f"vaelib run {name} --profile smoke --dataset fashion_mnist --likelihood gaussian"


def test_a_sweep_of_ones_own_has_a_line_and_a_table_and_no_figure_of_another():
    experiment = sweep_of("mine", "laptop", "fashion_mnist", "gaussian")
    assert "- mine: 1 VAEs" in sweep_figures.describe_sweeps(experiment)
    rows = rows_of("limited_k").assign(experiment="mine")
    assert sweep_figures.sweep_table(rows)["ELBO on test images", "paper (CIFAR-10)"].isna().all()
    with pytest.raises(VaelibError, match="no figure here; draw your own"):
        sweep_figures.draw_sweep(experiment, {"rows": rows, "curves": None})


def test_the_papers_curves_lie_beneath_only_where_the_scale_is_the_papers():
    """Whatever the profile is called: its images and epochs are what compares."""

    def frame(*setting, **changes):
        return sweep_figures._frame(sweep_of("mixing", *setting, **changes), rows_of("mixing"), paper_sweep("mixing"))

    whole = frame("gpu", "cifar10", "mol", 50_000)
    assert whole["paper"] is not None
    assert "the paper's" in whole["footer"]
    assert frame("laptop", "cifar10", "mol", 50_000, epochs=1000)["paper"] is not None
    assert frame("gpu", "cifar10", "mol", 500)["paper"] is None
    assert frame("gpu", "cifar10", "mol", 50_000, epochs=10)["paper"] is None
    assert frame("gpu", "fashion_mnist", "mol", 60_000)["paper"] is None


@pytest.mark.parametrize(("profile", "n_train"), [("overnight", 60_000), ("gpu", 60_000), ("gpu", 500)])
def test_the_papers_headline_lies_beneath_ours_of_as_many_images(profile, n_train):
    experiment = sweep_of("three_gaps", profile, "fashion_mnist", "mol", n_train)
    gaps = pd.DataFrame({"seed": [0], "source": ["x"], "n_train": [n_train], "n_test": [50]})
    assert (headline._frame(experiment, gaps)["paper"] is not None) == (n_train == 60_000)


def test_early_stopping_and_the_path_have_files_of_their_own(build_folder):
    """Two likelihoods of one data set lie side by side; the one that is not the default for it is named."""
    for likelihood in ("gaussian", "mol"):
        experiment = sweep_of("sizes", "laptop", "fashion_mnist", likelihood)
        sweep_figures.draw_path(experiment, {"rows": rows_of("sizes")}, "linear")
        sweep_figures.draw_early_stopping(experiment, rows_of("rha"))
    names = {path.stem for path in (build_folder / "laptop/figures").glob("*.png")}
    assert names == {f"{n}_fashion_mnist{tail}" for n in ("fig08", "early_stopping") for tail in ("", "_mol")}


def test_tables_put_the_papers_value_beside_ours_at_the_same_point():
    elbo, ours, paper = "ELBO on test images", "ours", "paper (CIFAR-10)"
    table = sweep_figures.sweep_table(rows_of("limited_k", seeds=3, noise=10.0))
    normal, *rest = table.to_dict("records")
    assert normal["series", ""] == "Normal training"
    assert math.isnan(normal["k", ""])
    assert normal[elbo, paper] == pytest.approx(-11497, abs=1)
    tens = [row for row in rest if row["k", ""] == 10]
    assert [row["series", ""] for row in tens] == ["DMaaPx", "Held-out real images"]
    assert tens[0][elbo, paper] == pytest.approx(-10973, abs=1)
    assert math.isnan(tens[1][elbo, paper])
    drawn = rows_of("limited_k", seeds=3, noise=10.0).query("series == 'dmaapx' and x == 10")["elbo_test"]
    assert tens[0][elbo, ours] == pytest.approx(drawn.mean())
    assert tens[0][elbo, "±"] == pytest.approx(drawn.std(ddof=1) / 3**0.5)
    assert (
        sweep_figures.sweep_table(rows_of("limited_k", error=7.0))[elbo, "±"].tolist() == [7.0] * 11
    )  # one seed: over images
    sizes = sweep_figures.sweep_table(rows_of("sizes")).set_index([("series", ""), ("nc", ""), ("mz", "")])
    assert sizes.loc[("Normal training", 64, 8), (elbo, paper)] == pytest.approx(-9815, abs=1)
    assert "k" not in sweep_figures.sweep_table(rows_of("rha")).columns.get_level_values(0)
    assert [sweep_figures.compared_sweep(rows_of(name)).to_html()[:6] for name in SWEEPS] == ["<style"] * len(SWEEPS)


def test_values_of_a_grid_that_are_not_whole_keep_their_decimals():
    """Settings allow 12.5 %, which is no 12 %."""
    table = {("normal", math.nan, 32, 1): (-1.0, -4.0)}
    table |= {("dmaapx", x, 32, 1): (-2.0, -3.0 + x / 50) for x in (2.5, 12.5, 33.3, 100)}
    rows = rows_of("teacher_fractions", table=table)
    ticks = sweeps.teacher_figure(rows, title_note="FashionMNIST").axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["2.5", "12.5", "33.3", "100"]
    page = sweep_figures.compared_sweep(rows).to_html()
    assert all(f">{x}</td>" in page for x in ("2.5", "12.5", "33.3", "100"))
    ticks = draw("limited_k").axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["1", "2", "5", "10", "20"]


# --- the paper's tables -------------------------------------------------------------------------------------------------


def test_the_papers_sweeps_come_in_our_format_with_the_numbers_it_states():
    for name in SWEEPS:
        rows = paper_sweep(name)
        assert set(rows["experiment"]) == {name}
        assert not rows["elbo_test"].isna().any()
        assert np.allclose(rows["generalization_gap"].dropna(), (rows["elbo_train"] - rows["elbo_test"]).dropna())
    cells = paper_sweep("sizes").set_index(["series", "nc", "mz"])
    assert len(cells) == 2 * (25 + 16 * 4 - 4)
    assert cells.loc[("normal", 256, 1), "elbo_test"] == pytest.approx(-11591, abs=1)
    assert cells.loc[("normal", 512, 1), "generalization_gap"] == pytest.approx(2605, abs=1)
    assert cells.loc[("normal", 256, 64), "parameters"] == 5_861_092
    latents = paper_sweep("latents").set_index("series")
    assert latents["generalization_gap"].round().to_dict() == {"mz1": 886, "mz10": 51}  # Fig. 6 prints 885 and 50


def test_figure_7_and_8_agree_on_every_point():
    """Two readings of the same runs: x of Fig. 8 is the count of parameters, y is minus Fig. 7's test ELBO."""
    drawn = digitised("fig8_params")
    cells = paper_sweep("sizes").query("series == 'normal'")
    for series, points in drawn[drawn["x"] > 20_000].groupby("series"):
        ours = cells[cells["mz"] == int(series.removeprefix("mz"))]
        for x, y in points[["x", "y"]].to_numpy():
            near = ours.iloc[(ours["parameters"] - x).abs().argmin()]
            assert near["parameters"] == pytest.approx(x, rel=1e-4)
            assert -near["elbo_test"] == pytest.approx(y, abs=1.5)
