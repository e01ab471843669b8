"""Figures and the page from synthetic tables: what is drawn, nothing overlaps, same bytes twice, all text escaped."""

import base64
import html
import io
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from vaelib.cli import app
from vaelib.errors import VaelibError
from vaelib.report import pages, pictures
from vaelib.report.alternatives import words
from vaelib.report.canvas import ReportFigure, robust_limits
from vaelib.report.claims import format_claims, judge_build
from vaelib.report.html import write_report
from vaelib.report.publish import provenance_line, publish_alone, save_figure
from vaelib.report.reference import digitised, paper_curves
from vaelib.report.sources import source_of
from vaelib.runs.provenance import commit
from vaelib.studies.ground_truth.pages import FIG01
from vaelib.studies.three_gaps.figures import THREE_GAPS, own_distribution_figure, three_gaps_figure
from vaelib.studies.three_gaps.pages import HEADLINES
from vaelib.studies.three_gaps.paper import table_07
from vaelib.studies.three_gaps.sentences import sentences
from vaelib.studies.tour import Training, conclusion, overfitting_figure
from vaelib.training.distributions import METHODS

ROOT = Path(__file__).resolve().parents[1]

# method -> train, test, ELBO*, MS-SSIM of inputs and reconstructions, own ELBO
FINAL = {
    "normal": (-252, -4610, -3197, 0.95, 0.56, -260),
    "dmaapx": (-3006, -3190, -2692, 0.92, 0.61, -2100),
    "aug_tuned": (-1015, -3481, -2665, 0.91, 0.71, -3900),
    "aug_naive": (-1491, -3606, -2876, 0.93, 0.81, -4000),
}


def tables(seeds=2, points=20, epochs=300):
    """Return (three_gaps, curves) as a laptop build of FashionMNIST would write them."""
    gaps, curves = [], []
    for method, (train, test, star, inputs, outputs, own) in FINAL.items():
        for seed in range(seeds):
            run = {"dataset": "fashion_mnist", "likelihood": "gaussian", "method": method, "seed": seed}
            for epoch in np.linspace(epochs / points, epochs, points).round():
                rise = 200_000 * np.exp(-40 * epoch / epochs)
                values = {"elbo_train": train - rise, "elbo_test": test - rise - 10 * seed, "elbo_own": own - rise}
                values |= {"elbo_test_subset": test - rise, "elbo_star_test": star - rise / 9}
                values |= {"input_similarity": inputs, "reconstruction_similarity": outputs + 0.01 * seed}
                curves += [
                    run | {"effective_epoch": epoch, "quantity": q, "value": v, "se": 1.0} for q, v in values.items()
                ]
            gap = {
                "generalization_gap": train - test,
                "amortization_gap": star - test,
                "robustness_gap": inputs - outputs,
                "elbo_train": train,
                "elbo_test": test - 10 * seed,
            }
            about = {"n_train": 2000, "n_test": 1000, "unconverged": 0.0, "source": "FashionMNIST <bit-exact>"}
            gaps.append(run | gap | about)
    return pd.DataFrame(gaps), pd.DataFrame(curves)


def boxes(fig):
    """Return the drawn extents of every visible text of a figure."""
    fig.draw_without_rendering()
    texts = [t for ax in fig.axes for t in ax.texts] + [ax.title for ax in fig.axes] + list(fig.texts)
    legends = [t for ax in fig.axes if ax.get_legend() for t in ax.get_legend().get_texts()]
    legends += [t for legend in fig.legends for t in legend.get_texts()]
    labels = [label for ax in fig.axes if ax.axison for label in (ax.xaxis.label, ax.yaxis.label)]
    for ax in (ax for ax in fig.axes if ax.axison):  # of the ticks, those drawn
        labels += [t for t in ax.get_xticklabels() if min(ax.get_xlim()) <= t.get_position()[0] <= max(ax.get_xlim())]
        labels += [t for t in ax.get_yticklabels() if min(ax.get_ylim()) <= t.get_position()[1] <= max(ax.get_ylim())]
    found = [t for t in [*texts, *legends, *labels] if t.get_text() and t.get_visible()]
    return [(t.get_text(), t.get_window_extent()) for t in found]


def clash(fig):
    """Return the texts of a figure that meet another one or leave the figure."""
    found, (width, height) = boxes(fig), fig.bbox.size
    pairs = itertools.combinations(found, 2)
    wrong = [(one, two) for (one, a), (two, b) in pairs if a.shrunk(0.96, 0.96).overlaps(b)]
    return wrong + [one for one, b in found if min(b.x0, b.y0) < -1 or b.x1 > width + 1 or b.y1 > height + 1]


@pytest.mark.parametrize("seeds", [1, 3])
def test_three_gaps_figure_draws_every_gap_and_no_text_overlaps(seeds):
    gaps, curves = tables(seeds)
    fig = three_gaps_figure(curves, gaps, title_note="FashionMNIST", footer=provenance_line(gaps, profile="laptop"))
    numbers = {text for text, _ in boxes(fig)}
    assert {"4,358", "184", "1,413", "498", "0.39", "0.31", "0.20", "0.12"} <= numbers
    assert clash(fig) == []
    assert len(fig.axes[0].collections) == (0 if seeds == 1 else 2 * len(METHODS))


@pytest.mark.parametrize("times", [300, 30_000])
def test_elbos_of_minus_a_million_keep_their_axis_labels(times):
    gaps, curves = tables(3)
    curves["value"] *= np.where(curves["quantity"].str.startswith("elbo"), times, 1)
    gaps[["generalization_gap", "amortization_gap"]] *= times
    for fig in (
        three_gaps_figure(curves, gaps, title_note="FashionMNIST"),
        own_distribution_figure(curves, title_note="FashionMNIST"),
    ):
        assert clash(fig) == []
        places = [ax.get_position().bounds for ax in fig.axes]
        fig.savefig(io.BytesIO(), dpi=200)
        assert [ax.get_position().bounds for ax in fig.axes] == places  # other pixels, the same axes


def test_first_epochs_do_not_squash_the_rest():
    _, curves = tables()
    low, high = robust_limits(curves, ("elbo_train", "elbo_test"))
    assert curves["value"].min() < -10_000 < -6000 < low < -4610
    assert -252 < high < 500


def test_panels_without_data_are_left_out_and_mixed_settings_refused():
    gaps, curves = tables()
    only = curves[curves["quantity"].isin(["elbo_train", "elbo_test"])]
    assert len(three_gaps_figure(only, gaps, title_note="").axes) == 2  # one panel and its brackets
    with pytest.raises(ValueError, match="one"):
        three_gaps_figure(pd.concat([curves, curves.assign(dataset="cifar10")]), gaps, title_note="")
    with pytest.raises(ValueError, match="elbo_own"):
        own_distribution_figure(only, title_note="")


def test_the_papers_own_curves_draw_in_our_layout():
    paper = paper_curves()
    paper = paper[(paper["dataset"] == "cifar10") & (paper["likelihood"] == "mol")]
    fig = three_gaps_figure(paper, pd.DataFrame({"method": []}), title_note="Fig. 2", paper=paper)
    texts = {text for text, _ in boxes(fig)}
    assert {"836", "289", "0.41", "0.30"} <= texts  # Table 7
    assert len(fig.axes) == 2 * len(THREE_GAPS)


def test_own_distribution_figure_shows_the_sign():
    _, curves = tables()
    fig = own_distribution_figure(curves, title_note="Fig. 13", watermark="smoke: no claim")
    texts = {text for text, _ in boxes(fig)}
    assert "−414" in texts  # -3900 - (-3481 - 5): own below test
    assert "smoke: no claim" in texts


def test_a_name_with_dollars_is_no_formula():
    name, (gaps, curves) = r"$\nothing$ and $_$", tables(1, 4)
    footer = provenance_line(gaps.assign(source=name), profile="laptop")
    made = [
        three_gaps_figure(curves, gaps, title_note=name, footer=footer),
        own_distribution_figure(curves, title_note=name),
    ]
    made += [pictures.image_rows({"x": torch.zeros(2, 1, 32, 32)}, name)]
    points = [(1, 0.0, -1.0), (2, 0.0, -2.0)]
    made += [overfitting_figure(dict.fromkeys(("N", "10 N"), Training(points, 0.1)), name)]
    for figure in made:
        figure.draw_without_rendering()
        assert any(name in text.get_text() for text in figure.findobj(Text))


def test_saved_figures_are_the_same_bytes_twice_and_show_themselves(tmp_path):
    gaps, curves = tables(1, 4)
    made = []
    for name in ("a", "b"):
        fig = three_gaps_figure(curves, gaps, title_note="x")
        made.append([path.read_bytes() for path in save_figure(fig, tmp_path / name, "fig11_fashion_mnist")])
    assert made[0] == made[1]
    assert base64.b64decode(fig._repr_mimebundle_()[0]["image/png"]).startswith(b"\x89PNG")
    assert b"<dc:date>" not in made[0][1]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["fig11_fashion_mnist.png", "fig11_fashion_mnist.svg"]


def test_a_figure_in_a_notebook_has_an_alternative_text():
    gaps, curves = tables(1, 4)
    data, metadata = three_gaps_figure(curves, gaps, title_note='<b>"FashionMNIST"</b>')._repr_mimebundle_()
    told = metadata["image/png"]["alt"]
    for part in ('"FashionMNIST"', "Generalization gap: ELBO (nats per image) over effective epoch", "DMaaPx", "q^*"):
        assert part in told
    assert "$" not in told
    assert f'alt="{html.escape(told)}"' in data["text/html"]
    assert "<b>" not in data["text/html"]


def test_lines_across_a_panel_and_named_rows_are_told_by_what_is_data_in_them():
    figure = Figure()
    curves, rows = figure.subplots(1, 2)
    curves.plot([1, 2], [5, 7], color="C0", label="a curve")
    curves.axvline(3, color="C1", label="frozen")
    curves.axhline(9, color="C2", label="level")
    curves.legend()
    rows.axhline(1, color="C0")
    rows.plot([-4, -2], [1, 1], color="C0")
    rows.plot([-30], [1], "v", color="C1")
    rows.plot([6, 6], [0, 0], color="C1")
    rows.set_yticks(range(2), ["last", "first"])
    told = words(figure)
    for part in (
        "a curve: from 5.00 to 7.00",
        "frozen: at 3.00",
        "level: 9.00",
        "first: from −4.00 to −2.00",
        "last: 6.00",
    ):
        assert part in told
    rows.set_yticks(range(2), ["0", "1"])  # a scale
    assert "first" not in words(figure)


def test_provenance_line_states_data_and_seeds():
    gaps, _ = tables(3)
    line = provenance_line(gaps, profile="gpu")
    assert line.startswith("profile gpu · FashionMNIST <bit-exact> · 2,000 training and 1,000 test images · seeds 0–2")
    assert line.endswith(f"commit {commit()[:10]}")


def test_unknown_digitised_figure_names_the_known():
    with pytest.raises(VaelibError, match="fig4_right_k"):
        digitised("fig99")


def test_report_is_one_escaped_self_contained_page(build_folder):
    build = build_folder / "laptop"
    gaps, curves = tables(3)
    (build / "tables").mkdir(parents=True)
    gaps.to_csv(build / "tables/three_gaps.csv", index=False)
    curves.to_csv(build / "tables/curves.csv", index=False)
    table_07(gaps).to_csv(build / "tables/table_07.csv", index=False)
    setting = {"dataset": "fashion_mnist", "likelihood": "gaussian"}
    headline = three_gaps_figure(curves, gaps, title_note="x")
    publish_alone(headline, HEADLINES["fashion_mnist", "gaussian"], "laptop", "three_gaps", "fashion_mnist", **setting)
    (build / "build.json").write_text(json.dumps({"toy": {"device": "<script>cpu</script>", "seeds": [0, 1, 2]}}))
    (build / "html").mkdir()
    (build / "html/03_three_gaps.html").write_text("")
    judge_build(build, "laptop")
    page = write_report(build).read_text()
    assert "&lt;script&gt;cpu" in page
    assert page.count("<script") == 2  # the ledger's and the curves'
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    links = {link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith("data:text/csv;base64,")}
    assert links == {"#", "#fig11_fashion_mnist"}  # sent alone, nothing lies beside it
    assert "<code>html/03_three_gaps.html</code>" in page
    assert page.count("data:image/webp;base64,") == 1
    assert "contradicted" in page  # robustness: the augmentations' gaps are smaller than DMaaPx's
    for cell in ("137", "184 ± 0"):  # the smallest of the paper's gaps, and of ours
        place = re.search(rf'id="(T_table_07_0_row\d_col\d)"[^>]*>{cell}<', page)[1]
        assert re.search(rf"#{place}\b[^{{}}]*{{\s*font-weight: bold", page)


def own(frame):
    return frame.assign(dataset="my_photos_v2-b0f020a6", source="my photos.v2, split 80/20")


def filled(build, *frames):
    """Write the tables of a build and its ledger, and return the page's text."""
    (build / "tables").mkdir(parents=True)
    for number, name in enumerate(("three_gaps", "curves")):
        pd.concat([pair[number] for pair in frames]).to_csv(build / f"tables/{name}.csv", index=False)
    table_07(pd.concat([pair[0] for pair in frames])).to_csv(build / "tables/table_07.csv", index=False)
    judge_build(build, "laptop")
    return re.sub(r"(?s)<(style|script).*?</\1>", "", write_report(build).read_text())


def test_report_of_ones_own_images_begins_with_their_gaps_and_folds_the_papers_claims(tmp_path):
    gaps, curves = tables(3)
    page = filled(tmp_path / "laptop", (own(gaps), own(curves)))
    body = page.partition("<body>")[2]
    assert body.index("184") < body.index("The paper's claims") < body.index("<details><summary>Show them</summary>")
    assert body.index("Show them") < body.index("not run") < body.index('table class="ledger"')
    assert "Three gaps on my_photos_v2-b0f020a6" in body
    assert "trained in three ways" in body  # Aug.Tuned is chosen for the paper's data sets
    assert "Table 7: the gaps" not in body
    assert "They claim" not in body
    assert "smaller generalization gap (184 against 4,358)" in body


def test_report_with_both_keeps_the_papers_claims_first(tmp_path):
    gaps, curves = tables(3)
    page = filled(tmp_path / "laptop", (gaps, curves), (own(gaps), own(curves)))
    assert (
        page.index('<div class="counts">')
        < page.index("Other images: the three gaps")
        < page.index("Table 7: the gaps")
    )
    assert page.count('<p class="result">') == 2
    assert "Show them" not in page


def change(gaps, **columns):
    """Return the table with other values for DMaaPx, by column, normal training's plus so much."""
    gaps = gaps.copy()
    for column, more in columns.items():
        normal = gaps.loc[gaps["method"] == "normal", column].to_numpy()
        gaps.loc[gaps["method"] == "dmaapx", column] = normal + np.array(more)
    return gaps


def test_the_sentence_of_results_says_what_the_table_says():
    gaps, _ = tables(3)
    found = sentences(gaps, "fashion_mnist", "gaussian")
    assert found.startswith(
        "FashionMNIST, Gaussian (2,000 training images, 3 seeds): compared with normal training, DMaaPx has"
    )
    assert "a higher test ELBO (−3,200 against −4,620)" in found
    assert "a smaller amortization gap" in found
    leads = "DMaaPx has the highest test ELBO, the smallest generalization gap and the smallest amortization gap; Aug.Naive has"
    assert f"{leads} the smallest robustness gap." in found
    other = change(gaps, robustness_gap=[0.1, 0.11, 0.12], amortization_gap=[-5, 0, 6], elbo_test=[-9, -10, -12])
    found = sentences(other, "fashion_mnist", "gaussian")
    assert "a larger robustness gap (0.50 against 0.39)" in found
    assert "a amortization gap" not in found
    assert "an amortization gap that is not clearly different" in found
    assert "a lower test ELBO" in found
    alone = sentences(gaps[gaps["seed"] == 0], "fashion_mnist", "gaussian")
    assert alone.count("(normal training ") == 4
    assert "How far another seed would differ is not known." in alone
    assert sentences(gaps[gaps["method"] != "normal"], "fashion_mnist", "gaussian") == ""


@pytest.mark.parametrize(
    ("few", "many", "word"), [(9.0, 3.0, "shrinks"), (3.0, 9.0, "grows"), (3.0, 3.1, "is not clearly")]
)
def test_the_tour_concludes_what_its_numbers_say(few, many, word):
    gap = {"few": few, "many": many}
    runs = {name: Training([(1, 0.0, 0.0), (2, -10.0, -10.0 - value)], 0.1) for name, value in gap.items()}
    noise = torch.linspace(-0.1, 0.1, 50)
    best = {name: SimpleNamespace(gap=value + noise) for name, value in gap.items()}
    attack = {name: {"gap": value / 10 + noise / 10} for name, value in gap.items()}
    lines = conclusion(runs, best, attack).splitlines()
    assert len(lines) == 3
    assert all(f"gap {word}" in line for line in lines)
    assert lines[0].endswith(f"{few:.2f} with few, {many:.2f} with many.")
    unsure = {name: run._replace(error=5.0) for name, run in runs.items()}
    assert "gap is not clearly different" in conclusion(unsure, best, attack).splitlines()[0]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_no_notebook_knows_its_results_beforehand(path):
    """Sentences that were right of one machine's numbers and printed below everybody's."""
    prose = " ".join(line[2:] for line in path.read_text().splitlines() if line.startswith("# "))
    known = (
        "More real data shrinks", "With N images it widens", "is far more accurate", "is wider than its scatter",
        "the optimiser ends in", "mends it", "is no better than normal training (blue", "From there it climbs",
        "You will see** that", "the fall is gone", "Seen over |Θ| alone the loss", "find only a part", "make the floor large.",
        "a few dB better",
    )  # fmt: skip
    claimed = [words for words in known if words in prose]
    assert [words for words in claimed if "paper" not in prose.partition(words)[0][-200:]] == []


def test_report_of_an_empty_build_says_so_and_of_no_build_is_an_error(tmp_path):
    (tmp_path / "smoke").mkdir()
    page = write_report(tmp_path / "smoke", tmp_path / "elsewhere.html").read_text()
    assert "supports no claim" in page
    assert "no figures yet" in page
    with pytest.raises(VaelibError, match="no build"):
        write_report(tmp_path / "none")


def test_a_notebooks_verdicts_are_words_and_may_be_none():
    none = pages.verdicts([]).to_html()
    assert "<caption>None of the paper's claims.</caption>" in none
    assert "<tr" not in none
    row = {"claim": "x", "evidence": "our runs", "note": "", "verdict": "not_testable", "interval": [-1.0, 2.0]}
    shown = pages.verdicts([row]).to_html()
    assert "not testable" in shown
    assert "−1.00 … 2.00" in shown


@pytest.mark.parametrize(
    ("command", "profile", "words"),
    [("report", "lapto", "choose one of"), ("claims", "lapto", "choose one of"), ("report", "gpu", "no build at gpu")],
)
def test_a_report_of_nothing_is_refused_and_leaves_no_folder(tmp_path, monkeypatch, capsys, command, profile, words):
    monkeypatch.setenv("VAELIB_BUILD", str(tmp_path))
    with pytest.raises(VaelibError, match=words):
        app([command, "--profile", profile], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []


def test_the_printed_ledger_is_sentences_below_their_setting():
    row = {
        "id": "t1-unique-aug/x",
        "evidence": "our runs",
        "note": "one seed",
        "verdict": "not_testable",
        "quantity": "share",
    }
    row |= {
        "interval": [-1.0, 2.0],
        "dataset": "letter S",
        "likelihood": "known",
        "paper_value": None,
        "our_value": 0.5,
    }
    row |= {"claim": f"Augmentation gives {'ever ' * 30}new samples", "paper_location": "Table 1"}
    lines = format_claims(
        [row, row | {"dataset": "fashion_mnist", "verdict": "supported", "claim": "It holds"}]
    ).splitlines()
    assert max(map(len, lines)) <= 120
    place = lines.index("letter S known")
    assert lines[place + 1].startswith("  not testable  Augmentation gives ever")
    assert lines[place + 2].endswith("new samples (Table 1)")
    assert lines[place + 3] == f"{'':16}share: ours +0.50 [−1.00, +2.00]; one seed"
    assert lines[lines.index("fashion_mnist known") + 1] == "  supported     It holds (Table 1)"
    assert "t1-unique" not in "".join(lines)


def test_the_laboratorys_figures_link_to_any_rendering_of_its_notebook(tmp_path, build_folder):
    publish_alone(ReportFigure(), FIG01, "smoke", "ground_truth")
    shown = json.loads((build_folder / "smoke/figures/fig01.json").read_text())
    assert source_of(tmp_path, shown, {}).href == ""
    page = tmp_path / "notebooks/01_training_distributions.cifar10.html"
    page.parent.mkdir()
    page.touch()
    assert source_of(tmp_path, shown, {}).href == "notebooks/01_training_distributions.cifar10.html"
    assert source_of(tmp_path, shown | {"study": "three_gaps", "dataset": "cifar10"}, {}).href == ""
