"""``results/<profile>/README.md``: everything that was shipped of a build on one page that any Git host renders.

Tables and figures, each with the command that makes it; nothing is typed by hand, so that no number is older than its table.
"""

from pathlib import Path

import pandas as pd

from ..files import read_json
from ..report.canvas import LABELS
from ..report.claims import NOT_RUN, shares
from ..report.escape import in_markdown
from ..report.html import place_of
from ..report.publish import origin
from ..report.reference import GAPS, setting
from ..report.rules import VERDICTS
from ..runs.tables import SETTING, read_table
from ..studies.three_gaps.paper import paper_gaps
from ..text import how_many, listed, number, with_error
from ..training.distributions import METHODS

BRACKETS = str.maketrans("[]", "()")  # would end an alternative text in Markdown
COLUMNS = {
    "elbo_test": "test ELBO",
    "generalization_gap": "G_g (nats)",
    "amortization_gap": "G_a (nats)",
    "robustness_gap": "G_r (MS-SSIM)",
}


def headline_table(own: pd.DataFrame, dataset: str, likelihood: str) -> str:
    """Return the runs of one setting in Markdown: mean ± standard error over seeds, in parentheses the paper's Table 7."""
    printed = paper_gaps().set_index([*SETTING, "method", "gap"])["paper"]
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "| --- " * (1 + len(COLUMNS)) + "|"]
    for method in (m for m in METHODS if m in set(own["method"])):
        cells = []
        for quantity in COLUMNS:
            values = own[own["method"] == method][quantity].dropna()
            paper = printed.get((dataset, likelihood, method, quantity)) if quantity in GAPS else None
            beside = "" if paper is None else f" ({number(paper)})"
            cells.append(with_error(values.mean(), values.sem()) + beside)
        lines.append(f"| {LABELS[method]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _numbers(three_gaps: pd.DataFrame) -> list[str]:
    """Return the headline of every setting: what was run, and its table."""
    parts = ["## The three gaps"]
    for (dataset, likelihood), rows in three_gaps.groupby(SETTING, sort=False):
        seeds, most = int(rows["seed"].nunique()), rows.max(numeric_only=True)
        about = f"{in_markdown(rows['source'].iloc[0])}: {int(most['n_train']):,} training and {int(most['n_test']):,} test images"
        about += f", {int(most['effective_epochs']):,} effective epochs" if "effective_epochs" in rows else ""
        parts.append(
            f"### {setting(dataset, likelihood)}\n\n{about}, {how_many(seeds, 'seed')}; "
            + "mean ± standard error over seeds, " * (seeds > 1)
            + "in parentheses the paper's Table 7, of all images and 1,000 epochs.\n\n"
            + headline_table(rows, dataset, likelihood)
        )
    return parts


def _verdicts(claims: list[dict]) -> str:
    """Return how the ledger of a build came out: on our runs the paper's claims and our own, then the paper by itself."""

    def counted(rows: list[dict]) -> str:
        verdicts = [row["verdict"] for row in rows]
        return listed([f"{verdicts.count(one)} {one.replace('_', ' ')}" for one in VERDICTS])

    found, waiting = shares(claims), sum(row["note"] == NOT_RUN for row in claims)
    own = f" Of our own claims, which the paper does not make: {counted(found.own)}." if found.own else ""
    return (
        f"Of the paper's claims in the [ledger](claims.json), our runs find {counted(found.ours)}; {waiting} were not run "
        f"here.{own} By the same rules the paper's own numbers find its claims {counted(found.printed)}; besides, "
        f"{how_many(len(found.texts), 'sentence')} of its text disagree with its figures, tables or other sentences."
    )


def _figures(build: Path) -> list[str]:
    """Return each figure with its caption and where it comes from; the paper's by number first."""
    parts = ["## Figures"]
    for path in sorted((build / "figures").glob("*.json"), key=place_of):
        shown = read_json(path)
        picture = f"![{shown['alt'].translate(BRACKETS)}](figures/{path.stem}.png)"
        parts.append(f"### {path.stem}\n\n{shown['caption']}\n\n{picture}\n<sub>{in_markdown(origin(shown))}</sub>")
    return parts


def gallery(build: Path, profile: str) -> str:
    """Return the page of a folder of a profile's results: what was found, every figure, rendered notebooks and tables."""
    made = read_json(build / "build.json")
    commits = sorted({one for record in made.values() if record.get("commit") for one in record["commit"].split("; ")})
    choice = "" if profile == "laptop" else f" PROFILE={profile}"
    parts = [
        f"# What came out: profile `{profile}`",
        f"Runs computed by commit {listed(commits) or 'unknown'}, copied by `vaelib pack`; figures may be drawn by a later "
        f"one, named below each. `make show{choice}` opens all of it as a report with sliders. ELBOs, G_g and G_a are in nats per "
        "image, G_r is a difference of MS-SSIM.",
    ]
    table, ledger = build / "tables" / "three_gaps.csv", build / "claims.json"
    parts += _numbers(read_table(table)) if table.exists() else []
    parts += [_verdicts(read_json(ledger))] if ledger.exists() else []
    parts += _figures(build)
    for title, pattern in (("Rendered notebooks", "notebooks/*.html"), ("Tables", "tables/*.csv")):
        found = [path.relative_to(build).as_posix() for path in sorted(build.glob(pattern))]
        parts.append(f"## {title}\n\n" + "\n".join(f"- [{name.partition('/')[2]}]({name})" for name in found))
    return "\n\n".join(parts) + "\n"
