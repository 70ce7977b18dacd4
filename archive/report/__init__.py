"""The report: one page with what won, whether it is real, what was tried and what it cost.

    facts.py     the data of the page, read from an archive by SQL
    details.py   the data of a single node: the diff to its parent, curve, log, cost
    lessons.py   sentences computed from the facts, each with its nodes as evidence
    page.py      the page itself: joins the files of web/, with a strict content policy
    plots.py     the same plots as PNG and SVG files
    app.py       the page live: one answer per address, behind a secret; serve.py runs it

Ideas, logs, diffs and operators come from candidates and models. They travel as data, never as markup: the page sets
text, and its content policy allows no script but its own.
"""
