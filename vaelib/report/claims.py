"""The ledger: each claim of the paper, judged by our runs and by the paper's own numbers.

How a claim is judged: :mod:`~vaelib.report.rules`. Which claims there are: those of each study, made of
:mod:`~vaelib.report.entries`, and their errata (where the paper disagrees with itself). ``our_value`` is the margin: of the
differences that a claim says are positive the one that decides, which is the smallest if all are clearly positive, the one most
clearly negative if one is, else the one whose interval reaches lowest. ``interval`` belongs to it. Nats per image for ELBOs and
gaps, MS-SSIM for the robustness gap.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..errors import VaelibError
from ..files import write_json
from ..runs.tables import SETTING, read_table, tables_folder
from ..text import number
from .entries import OWN, Part, Tables
from .needed import needed
from .reference import SMOKE, SWEEP_SETTING, of_setting
from .rules import Evidence, Rule, Verdict, judge
from .study import studies

OURS, PAPER, NOT_RUN, AUDIT = "our runs", "paper's numbers", "not run", "audit-"


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper for one setting, where it stands, the table that tells, and the rule that judges it."""

    id: str
    claim: str
    paper_location: str
    quantity: str
    paper_value: float | None
    table: str
    rule: Rule
    dataset: str
    likelihood: str
    by_paper: Verdict | None  # of the paper's own numbers; None where they are of another data set


def parts() -> list[tuple[Part, list[str]]]:
    """Return every part of the ledger with the tables of the studies that it belongs to, in the studies' order."""
    found: dict[int, tuple[Part, list[str]]] = {}
    for study in studies().values():
        if study.claims:
            found.setdefault(id(study.claims), (study.claims, []))[1].extend(study.tables)
    return list(found.values())


def notebooks() -> dict[str, str]:
    """Return the tables of studies with claims, each with the notebook that makes it."""
    return {table: study.notebook for study in studies().values() if study.claims for table in study.tables}


def ledger(tables: Tables | None = None) -> list[Claim]:
    """Return every claim for every setting the paper makes it for, and for those of ``tables`` that a part judges too.

    Beside a setting that the paper does not speak of stands the paper's margin for the one it does.
    """
    claims = []
    for part, names in parts():
        known = [(tables or {})[name] for name in names if name in (tables or {})] if part.elsewhere else []
        found = [tuple(row) for table in known for row in table[SETTING].drop_duplicates().to_numpy()]
        for entry in part.entries:
            for setting in dict.fromkeys([*entry.settings, *found]):
                spoken_of = setting in entry.settings
                about_whom = setting if spoken_of else next(iter(entry.settings), None)
                verdict = _by_paper(part.paper, entry.table, entry.rule, about_whom) if about_whom else None
                margin = verdict.margin if verdict else None
                about = (f"{entry.id}/{'/'.join(setting)}", entry.claim, entry.place(setting), entry.quantity, margin)
                claims.append(Claim(*about, entry.table, entry.rule, *setting, verdict if spoken_of else None))
    return claims


@cache
def _by_paper(paper: Callable[..., Evidence | None], table: str, rule: Rule, setting: tuple) -> Verdict | None:
    """Return what a rule says of the paper's own numbers, None where it has none."""
    evidence = paper(table, *setting)
    return None if evidence is None else judge(rule(evidence), evidence)


def evaluate_claims(tables: Tables, profile: str) -> list[dict]:
    """Judge every claim on our runs (tables by name: ``three_gaps``, ``curves``, the sweeps), then the paper by itself.

    Each row holds id, claim, paper_location, quantity, paper_value, our_value, interval, verdict, dataset, likelihood,
    profile, evidence (whose numbers), notebook (which makes them), runs (their keys), seeds, n_train, source, note and
    ``needs``: what would decide it (:class:`~vaelib.report.needed.Needed`), where it is not testable and that is known.
    The ``smoke`` profile supports no claim.
    """
    makers = {entry.table: part.ours for part, _ in parts() for entry in part.entries}
    evidence_of = cache(lambda table, *setting: makers[table](tables, table, *setting))  # each is made once
    claims = ledger(tables)
    rows = [_judge_ours(claim, tables, evidence_of, profile) for claim in claims]
    about = {"seeds": 0, "n_train": None, "source": "", "runs": []}
    for claim in claims:
        if claim.by_paper is not None:
            rows.append(_row(claim, PAPER, profile, claim.by_paper, about))
    for one in (one for study in studies().values() if study.errata for one in study.errata()):
        claim = Claim(f"{AUDIT}{one.id}", *one[1:4], one.margin, "", lambda _: "", *SWEEP_SETTING, None)
        rows.append(_row(claim, PAPER, profile, Verdict(one.margin, None, "contradicted", one.note), about))
    return rows


def _judge_ours(claim: Claim, tables: Tables, evidence_of: Callable[[str, str, str], Evidence], profile: str) -> dict:
    """Return the row of a claim on our runs."""
    about = _about(tables.get(claim.table), claim)
    unconverged = about.pop("unconverged")
    if not about["seeds"]:
        return _row(claim, OURS, profile, Verdict(None, None, "not_testable", NOT_RUN), about)
    evidence = evidence_of(claim.table, claim.dataset, claim.likelihood)
    case = claim.rule(evidence)
    found, more = judge(case, evidence), None
    if profile == "smoke":
        found = found._replace(verdict="not_testable", note=SMOKE)
    elif found.verdict == "not_testable":
        more = needed(case, evidence)
    elif claim.quantity == "G_a" and unconverged >= 1:
        parts = [found.note, f"up to {unconverged:.0f} q* of a run not converged: a lower bound"]
        found = found._replace(note="; ".join(filter(None, parts)))
    return _row(claim, OURS, profile, found, about) | {"needs": more and more.plain()}


def _about(runs: pd.DataFrame | None, claim: Claim) -> dict:
    """Return what the runs behind a claim were: seeds, n_train, source, keys, the most q* of a run that did not converge."""
    if runs is not None and len(runs):
        runs = of_setting(runs, claim.dataset, claim.likelihood)
    if runs is None or not len(runs):
        return {"seeds": 0, "n_train": None, "source": "", "runs": [], "unconverged": 0.0}
    series = next((name for name in ("series", "method") if name in runs), "dataset")
    return {
        "seeds": int(runs.groupby(series)["seed"].nunique().min()) if "seed" in runs else 1,
        "n_train": int(runs["n_train"].max()) if "n_train" in runs else None,
        "source": str(runs["source"].iloc[0]) if "source" in runs else "",
        "runs": list(dict.fromkeys(runs["key"])) if "key" in runs else [],
        "unconverged": float(runs["unconverged"].fillna(0).max()) if "unconverged" in runs else 0.0,
    }


def _row(claim: Claim, evidence: str, profile: str, found: Verdict, about: dict) -> dict:
    """Return one row of the ledger with plain Python numbers; what is missing or not finite is None."""
    finite = found.margin is not None and math.isfinite(found.margin)
    return {
        "id": claim.id if evidence == OURS else f"{claim.id}/paper",
        "claim": claim.claim,
        "paper_location": claim.paper_location,
        "quantity": claim.quantity,
        "paper_value": claim.paper_value,
        "our_value": float(found.margin) if finite and evidence == OURS else None,
        "interval": [float(end) for end in found.interval] if found.interval else None,
        "verdict": found.verdict,
        "dataset": claim.dataset,
        "likelihood": claim.likelihood,
        "profile": profile,
        "evidence": evidence,
        "notebook": notebooks().get(claim.table, ""),
        **about,
        "note": found.note,
        "needs": None,
    }


class Shares(NamedTuple):
    """The rows of a ledger by whose claim and whose numbers they are; what was not run is in none.

    Attributes:
        ours: claims of the paper on our runs.
        own: claims that the paper does not make, on our runs.
        printed: claims of the paper on its own numbers.
        texts: sentences of the paper that its numbers, figures or other sentences do not bear out.
    """

    ours: list[dict]
    own: list[dict]
    printed: list[dict]
    texts: list[dict]


def shares(rows: Iterable[Mapping[str, Any]]) -> Shares:
    """Return the rows of a ledger by whose they are."""
    found = Shares([], [], [], [])
    for row in rows:
        if row["evidence"] == OURS and row["note"] != NOT_RUN:
            (found.own if row["paper_location"] == OWN else found.ours).append(row)
        elif row["evidence"] == PAPER:
            (found.texts if row["id"].startswith(AUDIT) else found.printed).append(row)
    return found


def require_build(build: Path) -> Path:
    """Return a profile's build folder; raises VaelibError where nothing was built."""
    if not build.is_dir():
        raise VaelibError(f"there is no build at {build.name}: make its figures first (make PROFILE={build.name})")
    return build


def judge_build(build: Path, profile: str) -> list[dict]:
    """Judge every claim by ``build/tables/*.csv``, write ``build/claims.json``, return the rows."""
    paths = {name: Path(build) / "tables" / f"{name}.csv" for name in notebooks()}
    rows = evaluate_claims({name: read_table(path) for name, path in paths.items() if path.exists()}, profile)
    write_json(Path(build) / "claims.json", rows)  # a NaN is an error
    return rows


def evaluate_sweeps(tables: Tables, profile: str) -> list[dict]:
    """Judge the claims of some sweeps' tables; the three gaps of the same build, where it has them, tell what seeds change."""
    path = tables_folder(profile) / "three_gaps.csv"
    known = {"three_gaps": read_table(path)} if path.exists() else {}
    wanted = {entry.id for part, _ in parts() for entry in part.entries if entry.table in tables}
    return [row for row in evaluate_claims(known | dict(tables), profile) if row["id"].partition("/")[0] in wanted]


def format_claims(rows: Iterable[dict]) -> str:
    """Return the ledger as sentences of at most 120 columns: our runs, then where the paper's numbers disagree."""
    rows = list(rows)
    found = shares(rows)
    texts, audit, run = found.texts, found.printed, found.ours + found.own
    lines = ["Our runs: the margin by which a claim holds and its 95 % interval; below 0 speaks against it"]
    lines += _lines(run) if run else ["", "no setting of the paper has been run"]
    absent = sorted({_setting(row) for row in rows if row["note"] == NOT_RUN})
    lines += ["", *_wrapped(f"not run, or in part: {', '.join(absent)}", 2)] if absent else []
    agree = sum(row["verdict"] == "supported" for row in audit)
    told = (
        f"The same rules on the paper's own numbers (no intervals: the sign decides): {agree} of {len(audit)} hold, but"
    )
    lines += ["", told, *_lines([row for row in audit if row["verdict"] != "supported"])]
    lines += ["", "Where its text and its figures disagree", ""] if texts else []
    for row in texts:
        lines += _wrapped(f"{row['paper_location']}: {row['claim']}; but {row['note']}", 4)
    return "\n".join(lines)


def _setting(row: dict) -> str:
    return f"{row['dataset']} {row['likelihood']}"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, 118, subsequent_indent=" " * indent)


def _lines(rows: list[dict]) -> list[str]:
    """Return two lines or more for each row below its setting: verdict, claim and place; then the numbers and the note."""
    lines: list[str] = []
    for setting in dict.fromkeys(map(_setting, rows)):
        lines += ["", setting]
        for row in (row for row in rows if _setting(row) == setting):
            word = row["verdict"].replace("_", " ")
            lines += _wrapped(f"  {word:<14}{row['claim']} ({row['paper_location']})", 16)
            ends, paper, own = row["interval"], row["paper_value"], row["our_value"]
            facts = [f"paper {number(paper, True)}"] if paper is not None else []
            facts += [f"ours {number(own, True)}"] if own is not None else []
            facts = [
                ", ".join(facts) + (f" [{number(ends[0], True)}, {number(ends[1], True)}]" if ends else ""),
                row["note"],
            ]
            lines += _wrapped(f"{'':16}{row['quantity']}: {'; '.join(filter(None, facts))}", 16)
    return lines
