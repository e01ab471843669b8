"""Notebooks as files: :mod:`.execution` runs one strictly and headlessly, :mod:`.pairs` keeps ``.py`` and ``.ipynb`` in step."""
