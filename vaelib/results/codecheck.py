"""The list of outputs that a code checker would look for (https://codecheck.org.uk), made from the studies' own records."""

import yaml

from ..report.study import studies

PAPER = {
    "title": "A Note on Generalization in Variational Autoencoders: How Effective Is Synthetic Data & Overparameterization?",
    "authors": [{"name": "Tim Z. Xiao"}, {"name": "Johannes Zenn"}, {"name": "Robert Bamler"}],
    "reference": "https://openreview.net/forum?id=bwyHf5eery",
}
HEAD = """# What this project makes, for a code checker. Written by `make sync` from the studies' records: edit those instead.
# A * stands for the data set: fig03_fashion_mnist.png, fig03_cifar10.png, and so on. <profile> is laptop by default.
"""


def codecheck() -> str:
    """Return ``codecheck.yml``: each figure and table with what it shows and the notebook that makes it."""
    manifest = []
    for study in studies().values():
        made = f"notebook {study.notebook}"
        manifest += [
            {"file": f"build/<profile>/figures/{figure.name}*.png", "comment": f"{figure.caption} ({made})"}
            for figure in study.figures
        ]
        manifest += [
            {"file": f"build/<profile>/tables/{table}.csv", "comment": f"{study.paper or study.name} ({made})"}
            for table in study.tables
        ]
    known = {entry["file"]: entry for entry in reversed(manifest)}  # a table of several studies is the first one's
    manifest = [entry for entry in manifest if known[entry["file"]] is entry]
    content = {"version": "https://codecheck.org.uk/spec/config/1.0/", "paper": PAPER, "manifest": manifest}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
