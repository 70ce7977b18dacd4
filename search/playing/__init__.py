"""Whole searches on tables of real trainings: for benchmarks, and for tasks that improve the search itself.

tables.py    the tables (extra ``bench``) and rugged landscapes, with the noise of real trainings
game.py      one search on a table: the real engine, policy, operators and claim
utility.py   one number of score, cost and time
proposer.py  judges a numeric proposer: the task ``self/proposer``
"""
