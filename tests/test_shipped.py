"""Results that come with the project: packed from a build, drawn from without one."""

import io
import json
import math
import re
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.test_report import HEADLINES, publish_alone, tables, three_gaps_figure
from vaelib import paths
from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.files import read_json, write_json
from vaelib.images import as_float
from vaelib.notebooks.execution import read_parameters
from vaelib.notebooks.pairs import sources
from vaelib.report import pages
from vaelib.report.canvas import LABELS
from vaelib.report.claims import NOT_RUN, OURS, OWN, judge_build
from vaelib.report.html import write_report
from vaelib.report.publish import framed
from vaelib.report.trained import keep_for_explorers, load_test_set, trained_vaes
from vaelib.results import making, shipped
from vaelib.results.gallery import COLUMNS
from vaelib.runs.stages import build_vae
from vaelib.runs.tables import measured_tensors, read_table
from vaelib.studies import tour
from vaelib.studies.downstream.runs import downstream
from vaelib.studies.ground_truth.runs import ground_truth
from vaelib.studies.ladder.runs import ladder
from vaelib.studies.sensitivity.runs import sensitivity
from vaelib.studies.smoothness.runs import smoothness
from vaelib.studies.smoothness.stages import OnePath
from vaelib.studies.three_gaps.numbers import against_paper
from vaelib.studies.three_gaps.paper import table_07
from vaelib.studies.three_gaps.runs import three_gaps
from vaelib.text import number, with_error
from vaelib.training.distributions import TrainingDistribution

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def build(build_folder, tmp_path, monkeypatch):
    """Return a laptop build with a headline, in a project of its own."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")
    folder = build_folder / "laptop"
    (folder / "tables").mkdir(parents=True)
    gaps, curves = tables(3)
    for name, table in (("three_gaps", gaps), ("curves", curves)):
        table.to_csv(folder / f"tables/{name}.csv", index=False)
    place = {"dataset": "fashion_mnist", "likelihood": "gaussian"}
    publish_alone(
        three_gaps_figure(curves, gaps, title_note="x"),
        HEADLINES["fashion_mnist", "gaussian"],
        "laptop",
        "three_gaps",
        "fashion_mnist",
        **place,
    )
    judge_build(folder, "laptop")
    return folder


WEBP = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/=]+")


def png(picture):
    out = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_a_picture_is_shipped_small_only_where_nobody_sees_it():
    across = np.linspace(0, 255, 400)
    few = np.broadcast_to(np.floor(across / 16)[:, None, None] * 16, (400, 400, 3))
    photo = np.stack(np.broadcast_arrays(across[:, None], across[None, :], across[::-1, None] * 0 + 128), axis=-1)
    photo = photo + np.random.default_rng(0).normal(0, 25, photo.shape)
    assert len(shipped.small(png(few))) <= len(png(few))
    for picture in (few, photo.clip(0, 255)):
        kept, whole = (
            np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), float)
            for one in (shipped.small(png(picture)), png(picture))
        )
        assert np.square(kept - whole).mean() <= shipped.ALIKE
    assert shipped.small(png(photo.clip(0, 255))) == png(photo.clip(0, 255))  # too many colours for a palette


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_packed_build_gives_the_same_report_where_nothing_is_made(build, tmp_path, monkeypatch):
    (build / "logs").mkdir()
    (build / "logs/x.log").write_text("not for readers")
    kept = shipped.pack("laptop")
    own = write_report(build).read_text()
    assert {path.name for path in kept} >= {"three_gaps.csv", "fig11_fashion_mnist.png", "claims.json"}
    assert not any(path.suffix in (".log", ".svg") for path in kept)
    before = bytes_of(paths.results_folder("laptop"))
    write_json(build / "claims.json", [])  # judged by other tables, or not yet: what is packed is
    shipped.pack("laptop")
    assert bytes_of(paths.results_folder("laptop")) == before
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "fresh"))
    done = CliRunner().invoke(app, ["report"])
    assert done.exit_code == 0
    assert "results that come with the project" in done.output
    packed = (tmp_path / "fresh/laptop/report.html").read_text()
    assert WEBP.sub("", packed) == WEBP.sub("", own)
    assert len(WEBP.findall(packed)) == len(WEBP.findall(own)) > 0
    assert bytes_of(paths.results_folder("laptop")) == before  # read, not judged again
    for join in (False, True):  # what that report left in the build is nothing to take their place
        with pytest.raises(VaelibError, match="has no tables, so there is nothing to pack"):
            shipped.pack("laptop", join=join)
    assert bytes_of(paths.results_folder("laptop")) == before


def test_what_is_made_here_comes_before_what_was_shipped(build):
    shipped.pack("laptop")
    assert shipped.shown_build("laptop") == (build, True)
    (build / "tables/three_gaps.csv").unlink()
    (build / "tables/curves.csv").unlink()
    assert shipped.shown_build("laptop") == (paths.results_folder("laptop"), False)


@pytest.mark.parametrize(
    ("limit", "words"), [("LARGEST", "fig11_fashion_mnist.png.*over"), ("IN_ALL", "results would take")]
)
def test_what_is_too_large_is_refused_and_nothing_is_lost(build, monkeypatch, limit, words):
    shipped.pack("laptop")
    before = bytes_of(paths.results_folder("laptop"))
    monkeypatch.setattr(shipped, limit, 1000)
    with pytest.raises(VaelibError, match=words):
        shipped.pack("laptop")
    assert bytes_of(paths.results_folder("laptop")) == before


def test_what_is_shipped_is_small_and_has_every_record():
    """The files of this checkout themselves."""
    every = [path for path in (paths.project_root() / "results").rglob("*") if path.is_file()]
    assert max((path.stat().st_size for path in every), default=0) <= shipped.LARGEST
    assert sum(path.stat().st_size for path in every) <= shipped.IN_ALL
    for picture in (path for path in every if path.suffix == ".png"):
        assert picture.with_suffix(".json") in every
        assert not re.search(r"\+", picture.with_suffix(".json").read_text().partition('"commit": ')[2])


def record(build, **about):
    found = {"data": "FashionMNIST", "epochs": 300, "seeds": [0, 1, 2], "commit": "abc", "finished": "2026-01-01"}
    write_json(build / "build.json", {"fashion_mnist, gaussian": found | about})


def test_a_later_build_of_other_seeds_and_images_joins_what_is_shipped(build):
    gaps, curves = tables(3)
    gaps["elbo_test"] += math.pi / 10  # digits enough to see one that changes
    gaps.to_csv(build / "tables/three_gaps.csv", index=False)
    before = (build / "tables/three_gaps.csv").read_text().splitlines()
    record(build)
    shipped.pack("laptop")
    out, later = paths.results_folder("laptop"), tables(5)
    mnist = gaps.assign(dataset="binary_mnist", likelihood="bernoulli")
    for name, old, table in (("three_gaps", gaps, later[0]), ("curves", curves, later[1])):
        new = table[table["seed"] > 2]
        pd.concat([new, mnist] if name == "three_gaps" else [new]).to_csv(build / f"tables/{name}.csv", index=False)
        assert len(old) + len(new) == len(table)
    table_07(pd.concat([later[0][later[0]["seed"] > 2], mnist])).to_csv(build / "tables/table_07.csv", index=False)
    record(build, seeds=[3, 4], commit="def", finished="2026-02-02")
    shipped.pack("laptop", join=True)
    assert set(before) <= set((out / "tables/three_gaps.csv").read_text().splitlines())
    joined = read_table(out / "tables/three_gaps.csv")
    assert joined.groupby("dataset")["seed"].nunique().to_dict() == {"fashion_mnist": 5, "binary_mnist": 3}
    assert len(read_table(out / "tables/curves.csv")) == len(later[1])
    means = read_table(out / "tables/table_07.csv").set_index(["dataset", "likelihood", "method", "gap"])
    own = joined[(joined["dataset"] == "fashion_mnist") & (joined["method"] == "normal")]["generalization_gap"]
    assert means.loc[("fashion_mnist", "gaussian", "normal", "generalization_gap"), ["ours", "seeds"]].tolist() == [
        own.mean(),
        5,
    ]
    about = read_json(out / "build.json")["fashion_mnist, gaussian"]
    assert (about["seeds"], about["commit"], about["finished"]) == ([0, 1, 2, 3, 4], "abc; def", "2026-02-02")
    ledger = [row for row in read_json(out / "claims.json") if row["dataset"] == "fashion_mnist" and row["seeds"]]
    assert {row["seeds"] for row in ledger} == {5}
    before = bytes_of(out)
    shipped.pack("laptop", join=True)
    assert bytes_of(out) == before
    record(build, seeds=[7], epochs=9)
    with pytest.raises(VaelibError, match="epochs is 9 here and 300"):
        shipped.pack("laptop", join=True)
    assert bytes_of(out) == before
    shipped.pack("laptop")
    assert set(read_table(out / "tables/three_gaps.csv")["seed"]) == {0, 1, 2, 3, 4}
    assert [path.name for path in out.parent.iterdir()] == ["laptop"]


def test_two_renderings_of_a_notebook_are_packed_to_the_same_bytes(build):
    def page(first, second, pace):
        return (
            f'<div id="cell-id={first}"><a href="#cell-id={first}"></a></div><div id="cell-id={second}"><style>#T_{second[:5]}'
            f'_row0_col1 {{}}</style><td id="T_{second[:5]}_row0_col1"></td></div><pre>N = 100: 40/400 epochs at {pace} '
            f"epochs/s, {pace} s left (ELBO −12)\nG_g = 3, 5 left out\n</pre><img src={'A' * 300_000}>"  # long, but quick
        )

    (build / "notebooks").mkdir()
    kept = []
    for names in (("0a1b2c3d", "ffee0011", "7.5"), ("99999999", "12345678", "12")):
        (build / "notebooks/00_tour.x.html").write_text(page(*names))
        shipped.pack("laptop")
        kept.append(bytes_of(paths.results_folder("laptop")))
    assert kept[0] == kept[1]
    (text,) = (found.decode() for path, found in kept[0].items() if path.suffix == ".html")
    assert text.count("T_00002_row0_col1") == 2
    assert "<pre>G_g = 3, 5 left out\n" in text


def own_results(experiment, monkeypatch, tmp_path):
    """Ship tables of an experiment's keys that nothing was ever run for."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")
    out = paths.results_folder("smoke")
    (out / "tables").mkdir(parents=True)
    gaps, curves = (table[table["method"] != "aug_tuned"] for table in tables(1))
    keys = {point.series: point.run.key for point in experiment.points}
    place = {"dataset": experiment.dataset, "likelihood": experiment.likelihood}
    gaps.assign(**place, key=gaps["method"].map(keys)).to_csv(out / "tables/three_gaps.csv", index=False)
    curves.assign(**place).to_csv(out / "tables/curves.csv", index=False)
    about = {"seeds": [0], "commit": "abc", "time in all": "9 process-minutes", "device": "CPU"}
    write_json(out / "build.json", {f"{experiment.dataset}, {experiment.likelihood}": about})
    return out


def test_what_was_shipped_stands_in_for_a_run_only_if_asked_and_is_marked(toy, tmp_path, monkeypatch, capsys):
    sizes = {"n_train": 20, "n_test": 10, "epochs": 2, "seeds": 1}
    asked = three_gaps("smoke", toy, overrides=sizes | {"use_results": True})
    plain = three_gaps("smoke", toy, overrides=sizes)
    assert [one.key for one in asked.runs] == [one.key for one in plain.runs]
    out = own_results(plain, monkeypatch, tmp_path)
    monkeypatch.setattr(making, "run", lambda *_, **__: pytest.fail("it was trained"))
    found = making.made(asked)
    assert sorted(found) == ["curves", "three_gaps"]
    assert "come with the project, results/smoke, made at commit abc" in capsys.readouterr().out
    folder = paths.build_root() / "smoke"
    assert read_table(folder / "tables/three_gaps.csv").equals(read_table(out / "tables/three_gaps.csv"))
    assert "Nothing is computed" in pages.describe(asked)
    assert "kept with the project: seed 0, 9 process-minutes, commit abc" in pages.provenance_note(asked)
    assert "not made here" in framed(asked, "footer")["footer"]
    assert framed(plain, "footer")["footer"] == "footer"
    with pytest.raises(VaelibError, match="shipped, not made here"):
        shipped.pack("smoke")
    with pytest.raises(pytest.fail.Exception, match="it was trained"):
        making.made(plain)
    held = []
    monkeypatch.setattr("vaelib.runs.tables.Lock", lambda path: held.append(path.name) or nullcontext())
    making.made(asked)
    assert "build.json.lock" in held  # others may write their records meanwhile
    other = three_gaps("smoke", toy, overrides=sizes | {"use_results": True, "epochs": 3})
    with pytest.raises(VaelibError, match="leave use_results out"):
        making.made(other)


@pytest.mark.parametrize(
    ("study", "fewer"),
    [
        (three_gaps, {"seeds": 1}),
        (smoothness, {"sweep_seeds": 1}),
        (smoothness, {"path_pairs": 10}),
        (ladder, {"ladder_bandwidths": [0.1]}),
        (sensitivity, {"seeds": 1}),
        (downstream, {"seeds": 1}),
    ],
)
def test_what_was_shipped_is_not_taken_for_less(study, fewer, monkeypatch):
    """The text would say one seed, the table show three."""
    monkeypatch.setattr(making, "merge_table", lambda *_: None)
    monkeypatch.setattr(making, "note_build", lambda *_: None)
    taken = making.take(study("laptop", "fashion_mnist", overrides={"use_results": True}))
    assert all(len(rows) for rows in taken.values())
    with pytest.raises(VaelibError, match="was not shipped for the profile laptop with these settings"):
        making.take(study("laptop", "fashion_mnist", overrides={"use_results": True} | fewer))


def test_a_path_that_was_not_shipped_is_asked_for_by_name():
    asked = smoothness("laptop", "fashion_mnist", overrides={"use_results": True}, pair=(3, 17))
    with pytest.raises(VaelibError, match=r"does not come with the project .* leave use_results out"):
        measured_tensors(asked, OnePath)


def test_joining_keeps_what_a_notebook_wrote_beside_the_numbers(build):
    curves = tables(3)[1].assign(dataset="fashion_mnist", likelihood="gaussian")
    against_paper(curves).assign(n_test=123).to_csv(build / "tables/numbers.csv", index=False)
    shipped.pack("laptop")
    before = read_table(paths.results_folder("laptop") / "tables/numbers.csv")
    shipped.pack("laptop", join=True)
    assert read_table(paths.results_folder("laptop") / "tables/numbers.csv").equals(before)
    assert set(before["n_test"]) == {123}


def test_what_is_computed_over_seeds_follows_the_tables(toy, monkeypatch):
    """Else a report would show Table 7 of the seeds before beside a ledger of the new ones."""
    chosen = three_gaps("smoke", toy, overrides={"n_train": 20, "n_test": 10, "epochs": 2, "seeds": 1})
    folder = paths.build_root() / "smoke/tables"
    folder.mkdir(parents=True)

    def finish(experiment):
        gaps, curves = (table.assign(**experiment.setting) for table in tables(experiment.profile.seeds))
        gaps = gaps.assign(n_train=experiment.data.n_train)
        gaps.to_csv(folder / "three_gaps.csv", index=False)
        curves.to_csv(folder / "curves.csv", index=False)
        return {"three_gaps": gaps, "curves": curves}

    monkeypatch.setattr(making, "run", lambda *_, **__: None)
    monkeypatch.setattr(making, "write_tables", finish)
    making.made(chosen)  # from the command line, too: no notebook has to have run
    assert set(pages.derived(chosen, "table_07")["seeds"]) == {1}
    assert not (folder / "numbers.csv").exists()  # of all of the paper's images, which these are not
    pd.DataFrame([chosen.setting | {"n_train": 60_000}]).to_csv(folder / "numbers.csv", index=False)
    making.made(chosen._replace(profile=chosen.profile.changed({"seeds": 3})))
    assert set(pages.derived(chosen, "table_07")["seeds"]) == {3}
    assert pages.derived(chosen, "numbers").empty


def test_the_two_networks_of_the_tour_are_taken_where_they_were_shipped(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")

    def trained(**overrides):
        sizes = {"n_train": 4, "n_test": 10, "epochs": 2, "batch_size": 4}
        few, _, budget = tour.few_and_many(toy, tour.budget("smoke", toy, "gaussian", sizes | overrides), 0)
        vae = tour.untrained(toy, "gaussian", budget, 1, 0)
        stream = TrainingDistribution(few.train, len(few.train), seed=0)
        return vae, tour.fit(vae, stream, few.train, few.test, budget, 0, "N = 4"), few.test

    vae, run, images = trained()
    (kept,) = (paths.build_root() / "smoke" / "weights").glob("*.safetensors")
    with pytest.raises(VaelibError, match="leave use_results out"):
        trained(use_results=True)
    there = paths.results_folder("smoke") / "weights" / kept.name
    there.parent.mkdir(parents=True)
    there.write_bytes(kept.read_bytes())
    again, same, _ = trained(use_results=True)
    assert same.points == run.points
    assert same.error == pytest.approx(run.error, rel=0.01)
    x = as_float(images)
    with torch.no_grad():
        assert (again.encode(x).mu - vae.eval().encode(x).mu).abs().max() < 0.01
    # Neither the weights nor the curve are those of another training, network or test set.
    for other in ({"epochs": 3}, {"latents": 3}, {"hidden": 8}, {"n_test": 9}):
        with pytest.raises(VaelibError, match="leave use_results out"):
            trained(use_results=True, **other)


def test_trained_networks_and_paths_that_were_kept_are_read_where_they_were_shipped(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path / "project")
    sizes = {"n_train": 20, "n_test": 10, "epochs": 2}
    plain, asked = (three_gaps("smoke", toy, overrides=sizes | more) for more in ({}, {"use_results": True}))
    vaes = {point.series: build_vae(point.vae.network, 1, seed=3) for point in plain.points}
    keep_for_explorers(plain, vaes)
    shutil.copytree((paths.build_root() / "smoke" / "weights"), paths.results_folder("smoke") / "weights")
    found = trained_vaes(asked, methods=["dmaapx"])
    assert list(found) == ["dmaapx"]
    for name, one in vaes["dmaapx"].state_dict().items():
        assert torch.equal(found["dmaapx"].state_dict()[name], one.half().float())
    with pytest.raises(VaelibError, match="use_results=true"):
        trained_vaes(plain)
    images, labels = load_test_set(asked)  # read, not trained
    assert len(images) == len(labels) == 10


def test_the_ledger_that_was_shipped_is_shown_where_nothing_is_made(build, tmp_path, monkeypatch, capsys):
    shipped.pack("laptop")
    rows = shipped.judged("laptop")
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path / "fresh"))
    assert json.dumps(shipped.judged("laptop")) == json.dumps(rows, default=list)
    assert "comes with the project" in capsys.readouterr().out
    assert not (tmp_path / "fresh").exists()


def test_a_notebook_that_computes_everything_itself_refuses_the_setting():
    for source in sources():
        ways = [([], ["use_results=true"]), (["overrides={'use_results': True}"], [])]
        for way in ways if source.stem[:2] != "10" else ():
            if source.stem[:2] in ("00", "03", "04", "06", "07", "08", "11", "12"):
                assert read_parameters(source, *way) == {"overrides": {"use_results": True}}
            else:
                with pytest.raises(VaelibError, match=r"leave use_results out .notebooks 00, 03, .* and 12 know it"):
                    read_parameters(source, *way)
    with pytest.raises(VaelibError, match=r"use_results: .* leave it out"):
        ground_truth("laptop", {"use_results": True})
    done = CliRunner().invoke(app, ["plan", "--quick", "--set", "use_results=true"])
    assert "makes nothing that could be planned" in str(done.exception)


def test_a_page_shows_all_that_was_packed(build):
    shipped.pack("laptop")
    folder = paths.results_folder("laptop")
    page = (folder / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {path.relative_to(folder).as_posix() for path in folder.glob("figures/*.png")} <= linked
    assert {path.relative_to(folder).as_posix() for path in folder.glob("tables/*.csv")} <= linked
    assert all((folder / name).is_file() for name in linked)
    gaps = tables(3)[0].query("method == 'normal'")["generalization_gap"]
    assert f"| {with_error(gaps.mean(), gaps.sem())} (" in page
    assert "3 seeds; mean ± standard error over seeds" in page


def test_the_readme_has_the_numbers_of_the_shipped_table():
    page = (ROOT / "results/laptop/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:Normal|DMaaPx|Aug).*$", page.partition("### FashionMNIST, Gaussian")[2], re.M)[:4]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("**", "")
    assert len(rows) == 4
    assert all(row in readme for row in rows)


def test_the_readme_has_the_numbers_at_the_papers_own_size_and_counts_the_verdicts():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("**", "")
    part = readme.partition("### At the paper's own size")[2].partition("###")[0]
    table = read_table(ROOT / "results/overnight/tables/three_gaps.csv").query("dataset == 'fashion_mnist'")
    for method, rows in table.groupby("method"):
        shown = part.partition(f"| {LABELS[method]} |")[2].partition("\n")[0].split("|")
        for quantity, cell in zip(COLUMNS, shown, strict=False):
            assert cell.strip().startswith(f"{with_error(rows[quantity].mean(), rows[quantity].sem())} (")
    claims = json.loads((ROOT / "results/laptop/claims.json").read_text(encoding="utf-8"))
    rows = [row for row in claims if row["evidence"] == OURS and row["paper_location"] != OWN]
    found = Counter(NOT_RUN if row["note"] == NOT_RUN else row["verdict"] for row in rows)
    told = f"find {found['supported']} supported, {found['contradicted']} contradicted and {found['not_testable']} not testable"
    assert f"{told}; {found[NOT_RUN]} were not run" in " ".join(readme.split())
    claims = json.loads((ROOT / "results/overnight/claims.json").read_text(encoding="utf-8"))
    rows = [
        row for row in claims if row["evidence"] == OURS and row["paper_location"] != OWN and row["note"] != NOT_RUN
    ]
    found = Counter(row["verdict"] for row in rows)
    told = f"find {found['supported']}, {found['contradicted']} and {found['not_testable']}, and there"
    assert told in " ".join(readme.split())


def test_the_readmes_differences_are_those_of_the_shipped_tables():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    def mean(table, series, x=None):
        rows = read_table(ROOT / f"results/laptop/tables/{table}.csv").query("dataset == 'fashion_mnist'")
        rows = rows[(rows["series"] == series) & (rows["x"].isna() if x is None else rows["x"] == x)]
        return rows["elbo_test"].mean()

    dmaapx = mean("limited_k", "dmaapx", 10)
    assert f"by {number(mean('limited_k', 'held_out', 10) - dmaapx)} nats of test ELBO at k = 10" in readme
    assert f"it costs {number(dmaapx - mean('rha', 'dmaapx_rha'))} nats of test ELBO" in readme
    assert f"yes, on average by {number(mean('mollify', 'dmaapx_mollify') - dmaapx)} nats (" in readme


@pytest.mark.parametrize(
    ("table", "series", "x"),
    [
        ("limited_k", "dmaapx", 10),
        ("limited_k", "held_out", 10),
        ("mixing", "no_augmentation", 40),
        ("rha", "dmaapx_rha", None),
        ("mollify", "dmaapx_mollify", None),
        ("latents", "mz8", None),
    ],
)
def test_the_sweeps_told_are_those_of_the_shipped_tables(table, series, x):
    rows = read_table(ROOT / f"results/laptop/tables/{table}.csv").query(
        "series == @series and dataset == 'fashion_mnist'"
    )
    values = rows[rows["x"] == x]["elbo_test"] if x else rows["elbo_test"]
    assert with_error(values.mean(), values.sem()) in (ROOT / "docs/results.md").read_text(encoding="utf-8")
