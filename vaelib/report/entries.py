"""What the ledger is made of: the parts of studies, each with its entries."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from .reference import NAMES, SWEEP_SETTING
from .rules import Evidence, Rule


class Finding(NamedTuple):
    """A sentence of the paper, where it stands, and the evidence against it (a negative margin, a note, or both)."""

    id: str
    claim: str
    paper_location: str
    quantity: str
    margin: float | None
    note: str


Tables = Mapping[str, pd.DataFrame]


OWN = "ours"  # stands in place of a section where a claim is not the paper's


class Entry(NamedTuple):
    """One sentence of the paper, the table that tells, and the rule that judges it."""

    id: str
    claim: str
    paper_location: str
    quantity: str
    table: str
    rule: Rule
    # (dataset, likelihood) that the paper makes it for; empty for a claim of one's own.
    settings: tuple[tuple[str, str], ...] = (SWEEP_SETTING,)

    def place(self, setting: tuple[str, str]) -> str:
        """Return where the sentence stands, and for which data set if that is another one."""
        if not self.settings or setting in self.settings:
            return self.paper_location
        return f"{self.paper_location} ({NAMES[self.settings[0][0]]})"


class Part(NamedTuple):
    """A part of the ledger, of one study or of several that share it.

    The tables it reads have the columns dataset and likelihood, and where there are such things method or series, seed,
    n_train, source, key.

    Attributes:
        entries: its sentences; ids are unique in the whole ledger.
        ours: called with (tables, table, dataset, likelihood) for a setting that the table holds.
        paper: called with (table, dataset, likelihood); None where the paper prints no number.
        elsewhere: whether settings of our tables that the paper does not speak of are judged too.
    """

    entries: Sequence[Entry]
    ours: Callable[[Tables, str, str, str], Evidence]
    paper: Callable[[str, str, str], Evidence | None] = lambda table, dataset, likelihood: None
    elsewhere: bool = True
