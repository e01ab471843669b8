"""The paper, one folder a study, and what goes beyond it; all of them are listed in :mod:`vaelib.studies.catalogue`.

A folder holds what its study needs of: ``runs`` (which runs), ``stages`` (how they are made), ``tables``, ``figures`` (drawn of
tables, and saved), ``pages`` (what else a notebook shows, and in large studies the saving), ``claims`` and ``paper`` (its
numbers); ``study`` puts them together.
Workers import ``stages`` alone, so nothing is imported here.
"""
