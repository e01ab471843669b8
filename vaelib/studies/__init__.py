"""The paper, one folder a study, and what goes beyond it; all of them are listed in :mod:`vaelib.studies.catalogue`.

A folder holds what its study needs of: ``runs`` (which runs), ``stages`` (how they are made), ``tables``, ``figures`` (pure
functions of tables), ``pages`` (what a notebook shows), ``claims`` and ``paper`` (its numbers); ``study`` puts them together.
Workers import ``stages`` alone, so nothing is imported here.
"""
