"""The report: one page that answers in the morning what won, whether it is real, what was tried and what it cost.

    facts.py     what the page shows of a run, read from an archive by SQL
    details.py   what a click on a node shows: the diff to its parent, curve, log, cost
    lessons.py   what was learned: sentences computed from the facts, each with the nodes that it stands on
    page.py      the page itself (page.html, page.css, page.js), with strict rules on what may run in it
    plots.py     the same plots as PNG and SVG files

Ideas, logs, diffs and operators come from candidates and models. They travel as data, never as markup: the page sets
text, and its content policy allows no script but its own.
"""
