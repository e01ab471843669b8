"""From tables to what a person reads: figures, the ledger of claims, notebooks, one HTML page.

==============================  ==========================================================================
:mod:`~vaelib.studies.three_gaps.figures`  the paper's figures from tidy tables (``three_gaps_figure``, ``save_figure``)
:mod:`~vaelib.studies.sweeps.figures`    Figs. 3–8 and 14–16, in :mod:`.size_figures`, :mod:`.smoothness` and :mod:`.sweep_figures` too
:mod:`~vaelib.report.reference` the paper's digitised curves and Table 7 (``paper_curves``, ``table_07``)
:mod:`~vaelib.report.claims`    verdicts by rules written before numbers: :mod:`.rules`, :mod:`.entries`, :mod:`.audit`
:mod:`~vaelib.report.notebooks` strict execution (``run``, ``to_html``, ``lint``); :mod:`.pairs` keeps each ``.ipynb`` in step
:mod:`~vaelib.report.html`      one self-contained page per build (``write_report``); :mod:`.sources` says where a figure comes from
:mod:`~vaelib.report.explorers.widgets`   explorers for JupyterLab; :mod:`.frames` draws them, :mod:`.twins` needs no kernel
:mod:`~vaelib.report.doctor`    what a machine has and lacks (``examine``); :mod:`.api` writes the API reference
==============================  ==========================================================================

Nothing is imported here: matplotlib, pandas and papermill load only where they are used.
"""
