"""The numeric proposer without the tree: known programs in, next settings out.

    trials.py      the values of a program's parameters, and what is known of it
    ranges.py      ranges of parameters, and their encoding
    kernel.py      covariance of programs by the values of their parameters
    surrogate.py   Gaussian process: predicts the rank of an unevaluated program
    proposals.py   settings to try, the most promising first
    service.py     the same call with plain values, for a proposer that runs in a process of its own

Nothing here imports anything but numpy, scipy and these modules, which is why imports are relative: the task
``self/proposer`` improves kernel, surrogate and proposals with this folder as the workspace.
"""
