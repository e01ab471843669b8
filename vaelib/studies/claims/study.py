"""The record of the ledger itself."""

from ...report.study import Study
from .errata import findings
from .figures import CLAIMS

STUDY = Study(name="claims", paper="every claim", notebook="10_claims", figures=(CLAIMS,), errata=findings)
