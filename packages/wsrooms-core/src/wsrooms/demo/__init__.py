"""A chat that shows the product: ``python -m wsrooms.demo``, or ``make demo``.

The handlers are in :mod:`wsrooms.demo.chat` and read like the README's; the page
that talks to them is served by the same process, see :mod:`wsrooms.demo.page`.
"""
