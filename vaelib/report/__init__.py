"""From tables to what a person reads: figures, the ledger of claims, notebooks, one HTML page.

==============================  ==========================================================================
:mod:`~vaelib.report.plotting`  the paper's figures from tidy tables (``three_gaps_figure``, ``save_figure``)
:mod:`~vaelib.report.reference` the paper's digitised curves and Table 7 (``paper_curves``, ``table_07``)
:mod:`~vaelib.report.claims`    rules written before numbers, and their verdicts (``evaluate_claims``)
:mod:`~vaelib.report.notebooks` pairs kept in step, strict execution (``sync``, ``check``, ``run``, ``to_html``)
:mod:`~vaelib.report.html`      one self-contained page per build (``write_report``)
==============================  ==========================================================================

Nothing is imported here: matplotlib, pandas and papermill load only where they are used.
"""
