"""Pages for a browser that fetch nothing: rendered notebooks, and a site of all that a build and the checkout have to read.

| module | what it does |
| --- | --- |
| :mod:`~vaelib.site.markdown` | Markdown as HTML, its equations as MathML |
| :mod:`~vaelib.site.rendering` | an executed notebook as one page |
| :mod:`~vaelib.site.styles` | a page's style sheets without what it does not use |
| :mod:`~vaelib.site.api` | the API reference |
| :mod:`~vaelib.site.build` | ``build/site``: all of these, the report and the API reference behind one index |
"""
