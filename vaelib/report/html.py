"""One self-contained page per build: what the paper claims, what came out, every figure, and where it came from.

The page reads what lies in ``build/<profile>``: ``claims.json``, ``tables/*.csv``, ``figures/*.png``, ``twins/*.json``,
``build.json``, and the names of the notebooks' HTML. What is missing is said in a line; nothing is fetched, all text is
escaped. The page is sent alone, so it links to nothing beside it.
"""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from ..files import read_json, write_atomic
from ..runs.tables import read_table
from .claims import NOT_RUN, OURS, PAPER, how_many, number, require_build, with_error
from .pages import compared_tasks
from .plotting import LABELS
from .reference import FIGURES, GAPS, METHODS, NAMES, SETTING
from .results import own_gaps, sentences, settings_of
from .sources import curves_of, setting, source_of
from .twins import TEMPLATES, TRAVERSAL, curve_twin, read_twin

LIMIT = 15_000_000  # bytes of the page; sliders that would exceed it are left to the notebooks
VERDICTS = ("supported", "contradicted", "not_testable")
# File names follow the paper's figures; the first that exists is the headline.
HEADLINES = ("fig11_fashion_mnist", "fig10_binary_mnist", "fig02_cifar10", "fig02_", "fig")
CAPTIONS = {
    "fig01": "Training distributions for the letter S, from real fits (Fig. 1). Dots: D_train; line: the edge of p_data.",
    "table01": "KL divergence from the known p_data, and near-copies of D_train, over N (Table 1 as numbers).",
    "remark_b5": "Mean ELBO over minus the entropy of the data it is measured on (Remark B.5).",
    "protocol": "Candidate protocols after the first epochs, against the raw curves under the paper's figures (notebook 09).",
    "calibration": "Estimates with their stated errors beside closed forms, 20 seeded repetitions (notebook 01).",
    "missed_modes": "What an optimiser from the encoder's posterior misses, found by an upper bound (notebook 01).",
    "brackets": "The inference gap of trained VAEs, split into amortization and approximation (Cremer et al. 2018).",
    "fig02": "The three gaps over training (the paper's Fig. 2 is CIFAR-10). A bracket is a gap at the last epoch.",
    "fig03": "Density of the encoder along a line between two test images' latents (Fig. 3).",
    "fig04_left": "Accuracy on corrupted images minus that of normal training, for four classifiers on the encoder's means "
    "(Fig. 4, left). A point is one corruption and seed.",
    "fig04_right": "Test (solid) and training (dashed) ELBO over the number of synthetic images (Fig. 4, right); normal "
    "training as horizontal lines, k × N held-out real images as a control that the paper does not have.",
    "fig05": "Reverse Half Asleep on normal training and on DMaaPx (Fig. 5). A bracket is a gap at the last epoch.",
    "fig06": "The three gaps of normal training with few and with more latents (Fig. 6).",
    "fig07": "ELBOs and gaps over the latent channels mz and the internal channels nc (Fig. 7).",
    "fig08": "Negative test ELBO over the number of parameters (Fig. 8). The path of Sec. 5.7 grows nc (1), then mz (2), "
    "then nc again (3).",
    "fig09": "Reconstructions of nine test images, from one sample of p(x|z) as in the paper and from its mean (Fig. 9).",
    "fig10": "The three gaps on BinaryMNIST, Bernoulli likelihood (Fig. 10). A bracket is a gap at the last epoch.",
    "fig11": "The three gaps on FashionMNIST, Gaussian likelihood (Fig. 11). A bracket is a gap at the last epoch.",
    "fig12": "FashionMNIST with a mixture of logistics (Fig. 12). A bracket is a gap at the last epoch.",
    "fig13": "The ELBO on what each model really trained on (dotted) against the test ELBO (Fig. 13). "
    "These numbers belong to different distributions; their difference is no generalization gap.",
    "fig14": "Noise on the training images that falls to nothing over the first half (Fig. 14). A bracket is a gap at the "
    "last epoch; below the dotted line the axis is pressed together.",
    "fig15": "Training on a mixture of real and synthetic images (Fig. 15).",
    "fig16": "DMaaPx with diffusion models that saw only a part of the training images (Fig. 16).",
    "fig17": "Test images, samples of the diffusion model (Fig. 17), and the samples that lie nearest to a training image.",
    "fig18": "Accuracy of a network that tells samples from real images it has not seen, over the share of the training "
    "images that the diffusion model saw (Fig. 18). Grey: what permuted labels give.",
    "fig19": "Accuracy of four classifiers on the encoder's means under each corruption of CIFAR-10-C (Fig. 19).",
    "claims": "Every claim of the paper that these runs can judge (notebook 10): verdicts by section, and margins in half-widths "
    "of their 95 % intervals; right of the grey band a claim is supported, left of it contradicted.",
    "audit": "Audit of the samples: distances to the training images, classes, precision, recall and extreme pixels. "
    "Not in the paper.",
    "samples": "Images from each method's prior, one sample of p(x|z) each, with the same z for every method.",
    "sensitivity": "The three gaps under every named choice of protocol (App. A, Table 2). A triangle: the order of the methods "
    "is another one.",
    "floors": "The robustness gap from samples and from means of p(x|z), and what two reconstructions of one clean image "
    "already differ by (hollow).",
    "ms_ssim": "Three variants of MS-SSIM on the same pairs of 32×32 images; on the line they agree.",
    "attack_strength": "What the attack reaches over its steps, radius, random starts and kind of gradient.",
    "attack_steps": "One test image under attack, step by step, and what becomes of its reconstruction.",
    "tour_attack": "Test images under attack, and what becomes of their reconstructions (notebook 00).",
    "tour_overfitting": "Training on N and on 10 N real images: ELBO on training (dashed) and test images (notebook 00).",
    "early_stopping": "Each method's last test ELBO beside the best along its curve, which no early stopping can beat. "
    "Not in the paper.",
}


def write_report(build: Path, out: Path | None = None) -> Path:
    """Write ``report.html`` of one profile's build folder and return its path; raises VaelibError without a build."""
    build = require_build(Path(build))
    out = Path(out) if out else build / "report.html"
    about, ledger = build / "build.json", build / "claims.json"
    record = read_json(about) if about.exists() else {}
    claims = read_json(ledger) if ledger.exists() else []
    # The paper's figures by number, then ours.
    drawn = sorted((build / "figures").glob("*.png"), key=lambda path: (not path.stem.startswith("fig"), path.stem))
    figures = [_figure(path, record) for path in drawn]
    _add_twins(figures, build)
    gaps = build / "tables" / "three_gaps.csv"
    three_gaps = read_table(gaps) if gaps.exists() else None
    headline = next((f for prefix in HEADLINES for f in figures if f["name"].startswith(prefix)), None)
    ours = [row for row in claims if row["evidence"] == OURS]
    run = [_claim(row) for row in ours if row["note"] != NOT_RUN]
    own = [] if three_gaps is None else own_gaps(three_gaps)
    told = [] if three_gaps is None else [sentences(three_gaps, *one) for one in settings_of(three_gaps)]
    pages = sorted(path for path in build.rglob("*.html") if path != out and path.name != "report.html")
    text = TEMPLATES.get_template("report.html").render(
        profile=build.name,
        headline=headline,
        results=list(filter(None, told)) if build.name != "smoke" else [],
        own=own,
        # The paper speaks of other images: its claims come last where nothing of it was run.
        aside=bool(own) and not any(row["dataset"] in NAMES for row in run),
        figures=[figure for figure in figures if figure is not headline],
        judged=bool(claims),
        claims=run,
        not_run=len(ours) - len(run),
        audit=[_claim(row) for row in claims if row["evidence"] == PAPER and row["verdict"] != "supported"],
        counts=Counter(row["verdict"] for row in run),
        audit_counts=Counter(row["verdict"] for row in claims if row["evidence"] == PAPER),
        verdicts=VERDICTS,
        table=_table_07(build / "tables" / "table_07.csv"),
        tasks=_table_11(build / "tables" / "table_11.csv"),
        provenance=_flatten(record),
        pages=[path.relative_to(build).as_posix() for path in pages],
    )
    write_atomic(out, lambda part: part.write_text(text, encoding="utf-8"))
    return out


def _figure(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return a figure's name, caption, width in CSS pixels, where it comes from, and its pixels as a data URI."""
    known = [text for name, text in CAPTIONS.items() if path.stem.startswith(name)]
    caption = known[0] if known else path.stem.replace("_", " ")
    buffer = io.BytesIO()
    with Image.open(path) as image:
        width = image.width * 96 // 200  # figures are saved at 200 dpi
        # The same pixels in less than half of the bytes.
        image.convert("RGB").save(buffer, "WEBP", lossless=True, method=2)
    src = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    source = source_of(path.parents[1], path.stem, record)
    return {
        "name": path.stem,
        "caption": caption,
        "width": width,
        "src": src,
        "source": source,
        "twins": [],
        "curves": None,
    }


def _add_twins(figures: list[dict[str, Any]], build: Path) -> None:
    """Give each figure the explorers of its name, as long as the page stays below its limit."""
    size = sum(len(figure["src"]) for figure in figures)
    for figure in figures:
        rows = curves_of(build, figure["name"])
        figure["curves"] = None if rows.empty else curve_twin(rows)
        for path in (build / "twins" / f"{figure['name']}{ending}.json" for ending in ("", TRAVERSAL)):
            if path.exists() and size + path.stat().st_size < LIMIT:
                figure["twins"].append(read_twin(path))
                size += path.stat().st_size


def _claim(row: dict) -> dict[str, Any]:
    """Return a row of the ledger with its numbers as text."""
    ends = row["interval"]
    return {
        "runs": [],
        "notebook": "",
        **row,
        "setting": setting(row["dataset"], row["likelihood"]),
        "sort": {"paper": row["paper_value"], "ours": row["our_value"], "low": ends[0] if ends else None},
        "paper_value": number(row["paper_value"], signed=True),
        "our_value": number(row["our_value"], signed=True),
        "interval": f"[{number(ends[0], True)}, {number(ends[1], True)}]" if ends else "",
    }


def _table_07(path: Path) -> list[dict[str, Any]]:
    """Return Table 7 as blocks of one setting: per method and gap the paper's text, ours and whether it is smallest."""
    if not path.exists():
        return []
    table = read_table(path)
    blocks = []
    for (dataset, likelihood), rows in table[table["seeds"] > 0].groupby(["dataset", "likelihood"], sort=False):
        if (dataset, likelihood) not in FIGURES:
            continue  # no number of the paper: own_gaps has its own table
        smallest = rows.groupby("gap")[["paper", "ours"]].min()
        cells = rows.set_index(["method", "gap"])
        lines = []
        for method in [m for m in METHODS if m in set(rows["method"])]:
            line = {"method": LABELS[method], "cells": []}
            for gap in GAPS:
                value = cells.loc[(method, gap)] if (method, gap) in cells.index else None
                for side in ("paper", "ours"):
                    text = (
                        "–" if value is None else with_error(value[side], value["ours_se"] if side == "ours" else None)
                    )
                    best = value is not None and pd.notna(value[side]) and value[side] == smallest.loc[gap, side]
                    line["cells"].append({"text": text, "best": bool(best), "side": side})
            lines.append(line)
        about = f"{int(rows['n_train'].max()):,} training images, {how_many(int(rows['seeds'].max()), 'seed')}"
        blocks.append({"setting": setting(dataset, likelihood), "about": about, "lines": lines})
    return blocks


def _table_11(path: Path) -> list[dict[str, str]]:
    """Return Table 11 as one HTML table a setting (its cells are numbers and our own labels)."""
    if not path.exists():
        return []
    blocks = []
    for count, ((dataset, likelihood), rows) in enumerate(read_table(path).groupby(SETTING, sort=False)):
        about = f"{int(rows['n_train'].max()):,} training images, {how_many(int(rows['seeds'].max()), 'seed')}"
        html = compared_tasks(rows).to_html(table_uuid=f"table_11_{count}")
        blocks.append({"setting": setting(dataset, likelihood), "about": about, "html": html})
    return blocks


def _flatten(record: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested records as (name, text) pairs for a two-column table."""
    pairs = []
    for key, value in record.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            pairs += _flatten(value, f"{name} · ")
        else:
            pairs.append((name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return pairs
