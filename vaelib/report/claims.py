"""The ledger: each claim of the paper with the rule that judges it, written before any number.

A *contrast* is a difference of two means over images that the claim says is positive: value(plus) - value(minus), each
a (method, quantity) of one run, paired by seed. With differences d_1..d_n over n seeds the 95 % interval is Student's
d_mean +- t(0.975, n - 1) s / sqrt(n). A claim is a conjunction of contrasts:

- ``supported``     every interval lies above 0 (an intersection-union test: no correction is needed);
- ``contradicted``  some interval lies below 0;
- ``not_testable``  otherwise: an interval includes 0, fewer than two seeds, no run, or the smoke profile.

``our_value`` is the smallest of the mean differences, that is the margin by which the claim holds (or, if negative,
fails), and ``interval`` belongs to it. Nats per image for ELBOs and gaps, MS-SSIM for the robustness gap. The same
rules audit the paper against its own printed or digitised numbers; those have no seeds, so the sign decides.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from ..files import write_json
from .reference import FIGURES, SETTING, last_values, paper_values

Verdict = tuple[float | None, tuple[float, float] | None, str, str]  # margin, interval, verdict, note
Term = tuple[str, str]  # (method, quantity)
Contrast = tuple[Term, Term]  # (plus, minus): the claim says value(plus) - value(minus) > 0
OTHERS = ("normal", "aug_tuned", "aug_naive")
AUGMENTATIONS = ("aug_tuned", "aug_naive")
OURS, PAPER, NOT_RUN = "our runs", "paper's numbers", "not run"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper for one setting, where it stands, and the rule that judges it."""

    id: str
    claim: str
    paper_location: str
    quantity: str
    paper_value: float | None
    rule: Callable[["Evidence"], Verdict]
    dataset: str
    likelihood: str


class Evidence:
    """The last values of every run of one setting: ``evidence[method, quantity]`` is a Series over seeds."""

    def __init__(self, values: pd.DataFrame, dataset: str, likelihood: str, exact: bool = False):
        rows = values[(values["dataset"] == dataset) & (values["likelihood"] == likelihood)].dropna(subset="value")
        self.series = {key: group.set_index("seed")["value"] for key, group in rows.groupby(["method", "quantity"])}
        self.exact = exact  # single numbers taken as they are printed

    def __getitem__(self, term: Term) -> pd.Series:
        return self.series.get(term, pd.Series(dtype=float))


def interval95(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % Student-t interval of the mean of ``differences`` (n >= 2)."""
    n, mean = len(differences), float(np.mean(differences))
    half = float(student_t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / math.sqrt(n))
    return mean - half, mean + half


def all_positive(*contrasts: Contrast) -> Callable[[Evidence], Verdict]:
    """Return the rule "every contrast is positive" (see the module's head)."""

    def rule(evidence: Evidence) -> Verdict:
        differences = [(evidence[plus] - evidence[minus]).dropna().to_numpy() for plus, minus in contrasts]
        if min(len(d) for d in differences) == 0:
            return None, None, "not_testable", "a value is missing"
        means = [float(np.mean(d)) for d in differences]
        worst = int(np.argmin(means))
        if evidence.exact:  # rounding to printed digits leaves 1e-16 where the paper prints a tie
            margin = round(means[worst], 9)
            return (
                margin,
                None,
                *{True: ("supported", ""), False: ("contradicted", "")}.get(
                    margin > 0 if margin else None, ("not_testable", "equal as printed")
                ),
            )
        if min(len(d) for d in differences) < 2:
            return means[worst], None, "not_testable", "one seed: no interval"
        intervals = [interval95(d) for d in differences]
        if any(high < 0 for _, high in intervals):
            worst = min(range(len(intervals)), key=lambda i: intervals[i][1])
            return means[worst], intervals[worst], "contradicted", ""
        if all(low > 0 for low, _ in intervals):
            return means[worst], intervals[worst], "supported", ""
        worst = min(range(len(intervals)), key=lambda i: intervals[i][0])
        return means[worst], intervals[worst], "not_testable", "interval includes 0"

    return rule


def larger(quantity: str, method: str, *others: str) -> list[Contrast]:
    """Return the contrasts of "``method`` has a larger ``quantity`` than each of ``others``"."""
    return [((method, quantity), (other, quantity)) for other in others]


def smaller(quantity: str, method: str, *others: str) -> list[Contrast]:
    """Return the contrasts of "``method`` has a smaller ``quantity`` than each of ``others``"."""
    return [((other, quantity), (method, quantity)) for other in others]


def own(method: str) -> list[Contrast]:
    """Return the contrasts of Fig. 13's trap: below the test ELBO on its own distribution, above it on D_train."""
    return [((method, "elbo_test"), (method, "elbo_own")), ((method, "elbo_train"), (method, "elbo_test"))]


MAIN, FASHION = [("cifar10", "mol")], [("fashion_mnist", "gaussian")]
GREY = [("binary_mnist", "bernoulli"), *FASHION]
THREE = MAIN + GREY
ALL = [*THREE, ("fashion_mnist", "mol")]
# id, sentence, where, quantity, settings, contrasts: one line of this list is one claim for each of its settings.
LEDGER: list[tuple[str, str, str, str, list[tuple[str, str]], list[Contrast]]] = [
    ("overfit", "Normal training overfits: its ELBO is higher on the training than on the test set", "5.2",
     "train - test ELBO", ALL, [(("normal", "elbo_train"), ("normal", "elbo_test"))]),
    ("elbo", "DMaaPx has the highest test ELBO of the four", "5.2, B.3, B.4", "test ELBO", ALL,
     larger("elbo_test", "dmaapx", *OTHERS)),
    ("gap-g", "DMaaPx has the smallest generalization gap", "5.2, B.3, B.4", "G_g", ALL,
     smaller("generalization_gap", "dmaapx", *OTHERS)),
    ("gap-a", "DMaaPx has the smallest amortization gap", "5.2, B.3", "G_a", THREE,
     smaller("amortization_gap", "dmaapx", *OTHERS)),
    ("gap-r", "DMaaPx has the smallest robustness gap", "5.2, B.3", "G_r", THREE,
     smaller("robustness_gap", "dmaapx", *OTHERS)),
    ("aug-helps", "Augmentation improves the test ELBO over normal training", "5.2, B.3, B.4", "test ELBO", ALL,
     [c for method in AUGMENTATIONS for c in larger("elbo_test", method, "normal")]),
    ("aug-less", "Augmentation is not as good as DMaaPx in test ELBO", "5.2, B.3, B.4", "test ELBO", ALL,
     larger("elbo_test", "dmaapx", *AUGMENTATIONS)),
    ("naive-g", "Aug.Naive beats Aug.Tuned in generalization", "E", "G_g", GREY,
     smaller("generalization_gap", "aug_naive", "aug_tuned")),
    ("naive-r", "Aug.Naive beats Aug.Tuned in robustness", "E", "G_r", THREE,
     smaller("robustness_gap", "aug_naive", "aug_tuned")),
    ("own", "ELBOs across own distributions mislead: with augmentation the sign of train - test flips", "B.5, Fig. 13",
     "test - own ELBO", GREY, [c for method in AUGMENTATIONS for c in own(method)]),
]  # fmt: skip


@cache
def _printed(dataset: str, likelihood: str) -> Evidence:
    """Return the paper's own final numbers of a setting."""
    return Evidence(paper_values(), dataset, likelihood, exact=True)


def ledger() -> list[Claim]:
    """Return every claim for every setting the paper makes it for, with the paper's own margin."""
    claims = []
    for name, sentence, where, quantity, settings, contrasts in LEDGER:
        rule = all_positive(*contrasts)
        for dataset, likelihood in settings:
            margin = rule(_printed(dataset, likelihood))[0]
            place = f"{where}, {FIGURES[dataset, likelihood]}" if "Fig." not in where else where
            claim_id = f"{name}/{dataset}/{likelihood}"
            claims.append(Claim(claim_id, sentence, place, quantity, margin, rule, dataset, likelihood))
    return claims


def our_values(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every run's last values, from ``three_gaps`` and, where it has no such column, from ``curves``."""
    keys = [*SETTING, "method", "seed"]
    parts = [pd.DataFrame(columns=[*keys, "quantity", "value"])]
    wide = tables.get("three_gaps")
    if wide is not None and len(wide):
        columns = wide.select_dtypes("number").columns.difference(["seed", "effective_epochs", "n_train", "n_test"])
        parts.append(wide.melt(keys, list(columns), "quantity", "value"))
    curves = tables.get("curves")
    if curves is not None and len(curves):
        last = last_values(curves)
        parts.append(last[~last["quantity"].isin(wide.columns if wide is not None else [])])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def evaluate_claims(tables: dict[str, pd.DataFrame], profile: str) -> list[dict]:
    """Judge every claim on our runs (``tables["three_gaps"]``, ``tables["curves"]``), then on the paper's own numbers.

    Each row holds id, claim, paper_location, quantity, paper_value, our_value, interval, verdict, dataset, likelihood,
    profile, evidence (whose numbers), seeds, n_train, source and note. The ``smoke`` profile supports no claim.
    """
    values, claims = our_values(tables), ledger()
    settings = {(claim.dataset, claim.likelihood) for claim in claims}
    evidence = {setting: Evidence(values, *setting) for setting in settings}
    rows = []
    for claim in claims:
        margin, interval, verdict, note = claim.rule(evidence[claim.dataset, claim.likelihood])
        about = _about(tables.get("three_gaps"), claim)
        if not about["seeds"]:
            note = NOT_RUN
        elif profile == "smoke":
            verdict, note = "not_testable", "smoke: no claim"
        elif claim.quantity == "G_a" and about.pop("unconverged") > 0.05:
            note = "; ".join(filter(None, [note, "over 5 % of q* unconverged: a lower bound"]))
        about.pop("unconverged", None)
        rows.append(_row(claim, OURS, profile, margin, interval, verdict, note, about))
    for claim in claims:
        margin, _, verdict, note = claim.rule(_printed(claim.dataset, claim.likelihood))
        about = {"seeds": 0, "n_train": None, "source": ""}
        rows.append(_row(claim, PAPER, profile, margin, None, verdict, note, about))
    return rows


def _about(runs: pd.DataFrame | None, claim: Claim) -> dict:
    """Return what the runs behind a claim were: seeds, n_train, source, share of unconverged posteriors."""
    if runs is None or not len(runs):
        return {"seeds": 0, "n_train": None, "source": "", "unconverged": 0.0}
    runs = runs[(runs["dataset"] == claim.dataset) & (runs["likelihood"] == claim.likelihood)]
    if not len(runs):
        return {"seeds": 0, "n_train": None, "source": "", "unconverged": 0.0}
    return {
        "seeds": int(runs.groupby("method")["seed"].nunique().min()),
        "n_train": int(runs["n_train"].max()),
        "source": str(runs["source"].iloc[0]),
        "unconverged": float(runs["unconverged"].fillna(0).max()),
    }


def _row(claim: Claim, evidence: str, profile: str, margin, interval, verdict: str, note: str, about: dict) -> dict:
    """Return one row of the ledger with plain Python numbers; what is missing or not finite is None."""
    finite = margin is not None and math.isfinite(margin)
    return {
        "id": claim.id if evidence == OURS else f"{claim.id}/paper",
        "claim": claim.claim,
        "paper_location": claim.paper_location,
        "quantity": claim.quantity,
        "paper_value": claim.paper_value,
        "our_value": margin if finite and evidence == OURS else None,
        "interval": [float(end) for end in interval] if interval else None,
        "verdict": verdict,
        "dataset": claim.dataset,
        "likelihood": claim.likelihood,
        "profile": profile,
        "evidence": evidence,
        **about,
        "note": note,
    }


def write_claims(path: Path, rows: list[dict]) -> None:
    """Write the ledger as JSON, whole or not at all; a NaN is an error."""
    write_json(Path(path), rows)


def judge_build(build: Path, profile: str) -> list[dict]:
    """Judge every claim by ``build/tables/*.csv``, write ``build/claims.json``, return the rows."""
    paths = {name: Path(build) / "tables" / f"{name}.csv" for name in ("three_gaps", "curves")}
    rows = evaluate_claims({name: pd.read_csv(path) for name, path in paths.items() if path.exists()}, profile)
    write_claims(Path(build) / "claims.json", rows)
    return rows


def number(value: float | None, signed: bool = False) -> str:
    """Return a number as a reader wants it: 1,413 or 28.5 or 0.78; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 3 if 0 < abs(value) < 0.0995 else 2
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def format_claims(rows: Iterable[dict]) -> str:
    """Return the ledger as aligned text of at most 120 columns: our runs, then where the paper's numbers disagree."""
    rows = list(rows)
    ours = [row for row in rows if row["evidence"] == OURS]
    audit = [row for row in rows if row["evidence"] == PAPER]
    run = [row for row in ours if row["note"] != NOT_RUN]
    lines = ["Our runs: the margin by which a claim holds, 95 % interval over seeds; below 0 speaks against it", ""]
    lines += _lines(run) if run else ["no setting of the paper has been run"]
    absent = sorted({f"{row['dataset']} {row['likelihood']}" for row in ours if row["note"] == NOT_RUN})
    lines += [f"not run: {', '.join(absent)}"] if absent else []
    agree = sum(row["verdict"] == "supported" for row in audit)
    lines += [
        "",
        f"The same rules on the paper's own numbers (no seeds: the sign decides): {agree} of {len(audit)} hold, but",
        "",
    ]
    return "\n".join([*lines, *_lines([row for row in audit if row["verdict"] != "supported"])])


def _lines(rows: list[dict]) -> list[str]:
    """Return a header and one line for each row."""
    form = "{:<13}{:<23}{:<10}{:<17}{:>8}{:>9}  {}"
    lines = [form.format("verdict", "setting", "claim", "quantity", "paper", "ours", "interval, note")]
    for row in rows:
        ends, name = row["interval"], f"{row['dataset']} {row['likelihood']}"[:22]
        tail = f"[{number(ends[0], True)}, {number(ends[1], True)}] " if ends else ""
        values = number(row["paper_value"], True), number(row["our_value"], True)
        lines.append(
            form.format(row["verdict"], name, row["id"].split("/")[0], row["quantity"], *values, tail + row["note"])[
                :120
            ]
        )
    return [line.rstrip() for line in lines]
