"""From the study's runs to its figures and tables in notebook 01."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...report.canvas import LABELS, ReportFigure
from ...report.escape import styled
from ...report.pages import machine_note, seeds_named
from ...report.publish import footer_line, publish_alone, setting_tag, watermark
from ...report.study import Figure
from ...runs import Store
from ...runs.tables import rows_of
from ...text import how_many, number, with_error
from .figures import (
    accuracy_figure,
    brackets_figure,
    calibration_figure,
    missed_modes_figure,
    remark_figure,
    training_distributions_figure,
)
from .runs import GroundTruth

FIG01 = Figure(
    "fig01",
    "Training distributions for the letter S, from real fits (Fig. 1). Dots: D_train; line: the edge of p_data.",
    table="plane",
)
TABLE01 = Figure(
    "table01_accuracy",
    "KL divergence from the known p_data, and near-copies of D_train, over N (Table 1 as numbers).",
    table="plane",
)
REMARK_B5 = Figure(
    "remark_b5",
    "Mean ELBO over minus the entropy of the data it is measured on (Remark B.5).",
    table="remark_b5",
)
CALIBRATION = Figure(
    "calibration",
    "Estimates with their stated errors beside closed forms, 20 seeded repetitions (notebook 01).",
)
MISSED_MODES = Figure(
    "missed_modes",
    "What an optimiser from the encoder's posterior misses, found by an upper bound (notebook 01).",
)
BRACKETS = Figure(
    "brackets",
    "The inference gap of trained VAEs, split into amortization and approximation (Cremer et al. 2018).",
    table="brackets",
)

Tables = Mapping[str, pd.DataFrame]
NOT_THERE = "*No trained VAE of this setting is in the store yet: run notebook 03 first, then this cell again.*"


def _frame(lab: GroundTruth, about: str) -> dict:
    """Return footer and watermark of a figure of this study."""
    profile = lab.profile.name
    return {"footer": footer_line(profile, about), "watermark": watermark(profile)}


def draw_training_distributions(lab: GroundTruth) -> ReportFigure:
    """Draw and save Fig. 1 from the runs of seed 0 at the second N (the first, if it is the only one)."""
    sizes = sorted({one.points for one in lab.planes})
    chosen = next(one for one in lab.planes if one.points == sizes[min(1, len(sizes) - 1)] and one.seed == 0)
    folder, rows = Store().require(chosen), rows_of(chosen, Store())
    density, points = (pd.read_csv(folder / f"{name}.csv") for name in ("density", "points"))
    about = f"the letter S, p_data known · N = {chosen.points:,} · diffusion model: {chosen.images:,} training points · seed 0"
    about += " · line: the region that holds 99 % of p_data"
    return _saved(training_distributions_figure(density, points, rows, **_frame(lab, about)), FIG01, lab)


def draw_accuracy(lab: GroundTruth, tables: Tables) -> ReportFigure:
    """Draw and save Table 1's second criterion over N as ``table01_accuracy``."""
    about = f"the letter S, p_data known · {seeds_named(range(lab.profile.plane_seeds))} (dots), their mean (line)"
    return _saved(accuracy_figure(tables["plane"], **_frame(lab, about)), TABLE01, lab)


def draw_remark(lab: GroundTruth, tables: Tables) -> ReportFigure:
    """Draw and save Remark B.5 as ``remark_b5``."""
    images = lab.remarks[0].images
    about = f"linear-Gaussian worlds · {images:,} samples of each distribution, {how_many(len(lab.remarks), 'seed')} "
    about += "· open marks: exact"
    return _saved(remark_figure(tables["remark_b5"], **_frame(lab, about)), REMARK_B5, lab)


def draw_calibration_of(lab: GroundTruth, tables: Tables) -> ReportFigure:
    """Draw and save the estimates beside their exact values as ``calibration``."""
    run = lab.calibration
    about = (
        f"linear-Gaussian world, 64 pixels, 4 latents, encoder of {run.train_images} images · "
        f"{run.images} test images a repetition"
    )
    return _saved(calibration_figure(tables["calibration"], **_frame(lab, about)), CALIBRATION, lab)


def draw_missed_modes(lab: GroundTruth, tables: Tables) -> ReportFigure:
    """Draw and save ELBO* from one start and from two below BDMC's bound as ``missed_modes``."""
    rows = tables["world_bounds"].query("likelihood == 'gaussian'")
    about = f"random decoder, Gaussian σ 0.1, blind encoder · {len(rows) // 2} of its own images · seed 0"
    return _saved(missed_modes_figure(rows, **_frame(lab, about)), MISSED_MODES, lab)


def draw_brackets(lab: GroundTruth, rows: pd.DataFrame) -> ReportFigure:
    """Draw and save the split of the inference gap of trained VAEs as ``brackets_<dataset>``."""
    count = rows.groupby(["method", "images"]).size().max()
    about = (
        f"{rows['source'].iloc[0]} · VAEs of the three gaps, seed 0 · {count} images of each kind · "
        "bars: mean, lines: standard error"
    )
    frame = _frame(lab, about) | {"title_note": "What the encoder loses, and what any factorised posterior would"}
    dataset, likelihood = rows.iloc[0][["dataset", "likelihood"]]
    place = {"dataset": dataset, "likelihood": likelihood, "runs": list(dict.fromkeys(rows["key"]))}
    tag = setting_tag(dataset, likelihood)
    return publish_alone(brackets_figure(rows, **frame), BRACKETS, lab.profile.name, "ground_truth", tag, **place)


def table_1(tables: Tables) -> Any:
    """Return Table 1's two criteria as numbers, means over seeds, for each N, with the marks that the paper gives."""
    marks = {"normal": ("✗", "✓"), "aug_tuned": ("✓", "✗"), "aug_naive": ("✓", "✗"), "dmaapx": ("✓", "✓")}
    names = {"normal": "D_train", "aug_tuned": "p_aug, tuned", "aug_naive": "p_aug, naive", "dmaapx": "p_DM"}
    names["p_data"] = "p_data itself"
    plane = tables["plane"].assign(kl=tables["plane"]["kl"].astype(float))
    means = plane.groupby(["n_train", "method"])[["unique", "kl", "copies", "outside", "missed", "mass"]].mean()
    rows = []
    for n in sorted(plane["n_train"].unique()):
        for method, name in names.items():
            row, (first, second) = means.loc[n, method], marks.get(method, ("", ""))
            rows.append({
                "N": f"{n:,}", "training distribution": name, "paper (1)": first, "unique samples": f"{row['unique']:.1%}",
                "paper (2)": second, "KL(p_data ‖ p), nats": "∞" if pd.isna(row.kl) else f"{row.kl:.3f}",
                "near-copies of D_train": f"{row.copies:.1%}", "samples outside p_data": f"{row.outside:.1%}",
                "p_data missed": f"{row.missed:.1%}", "mass on the grid": "–" if method == "normal" else f"{row.mass:.4f}",
            })  # fmt: skip
    return styled(pd.DataFrame(rows)).hide(axis="index")


def coverage(tables: Tables) -> Any:
    """Return, for each quantity, the exact value, the estimates' mean and scatter, the stated error, and the coverage."""
    rows = []
    for name, part in tables["calibration"].groupby("quantity", sort=False):
        off = (part["value"] - part["exact"]).abs() / part["error"]
        row = {"quantity": name, "exact": part["exact"].iloc[0], "mean of the estimates": part["value"].mean()}
        row |= {"their scatter": part["value"].std(), "stated error (mean)": part["error"].mean()}
        row |= {f"within {k}": f"{int((off < k).sum())} of {len(part)}" for k in (1, 2, 3)}
        rows.append(row)
    table = pd.DataFrame(rows)
    return styled(table).format(number, subset=list(table.columns[1:5])).hide(axis="index")


BOUNDS = ("ELBO", "ELBO*", "IWAE", "AIS", "lower", "BDMC")


def bounds_table(rows: pd.DataFrame, by: list[str]) -> Any:
    """Return every bound's mean ± standard error over images, what q* still promises, and the counts that speak against."""
    table = []
    for place, part in rows.groupby(by, sort=False):
        row = dict(zip(by, place, strict=True))
        for name in BOUNDS:
            values = part[name].dropna() if name in part else []
            row[name] = with_error(values.mean(), values.sem(), digits=1) if len(values) else "–"
        row |= {
            "q* promises": f"{part['promised'].mean():.2f}",
            "unconverged": int((~part["converged"].astype(bool)).sum()),
        }
        row |= {"negative gaps": int(part["reverted"].sum()), "impossible": int(part["impossible"].sum())}
        table.append(row | {"images": len(part)} if "images" not in by else row | {"n": len(part)})
    shown = pd.DataFrame(table)
    if "method" in shown:
        shown["method"] = shown["method"].map(LABELS)
    return styled(shown.rename(columns={"lower": "both (lower)"})).hide(axis="index")


def provenance_note(lab: GroundTruth) -> str:
    """Return where the numbers come from: seeds, wall time of the runs, device, versions."""
    manifests = Store().manifests(lab.runs)
    minutes = sum(manifest["seconds"] for manifest in manifests) / 60
    seeds = seeds_named(range(lab.profile.plane_seeds))
    return f"*{seeds} · {len(manifests)} artifacts, {minutes:.1f} process-minutes in all*\n\n{machine_note()}"


def _saved(figure: ReportFigure, shown: Figure, lab: GroundTruth) -> ReportFigure:
    return publish_alone(figure, shown, lab.profile.name, "ground_truth", runs=[run.key for run in lab.runs])
