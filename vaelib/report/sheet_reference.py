"""The paper's numbers about its teachers' samples (Appendix D)."""

from functools import cache

import pandas as pd

from .reference import REFERENCE


@cache
def paper_c2st() -> pd.DataFrame:
    """Return Fig. 18 (CIFAR-10, means over 5 seeds, read by eye): share (percent of D_train), accuracy."""
    return pd.read_csv(REFERENCE / "fig18_c2st.csv")
