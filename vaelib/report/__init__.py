"""The frame that shows: from tables to what a person reads. What is shown is said by the studies' records.

| module | what it does |
| --- | --- |
| :mod:`~vaelib.report.study` | what a study and a figure are, and the list of all (``studies``, ``register``) |
| :mod:`~vaelib.report.canvas` | what figures share: colours, names, the frame; :mod:`.pictures` draws images |
| :mod:`~vaelib.report.publish` | a figure on its way to disk, with the record beside it (``publish``) |
| :mod:`~vaelib.report.reference` | the paper's digitised curves (``paper_curves``) |
| :mod:`~vaelib.report.claims` | verdicts by rules written before numbers: :mod:`.rules`, :mod:`.entries` |
| :mod:`~vaelib.report.explorers` | sliders in JupyterLab (``widgets``) and without a kernel (``static``) |

Nothing is imported here: matplotlib, pandas and papermill load only where they are used.
"""
