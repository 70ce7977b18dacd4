"""Commands of ``python -m search``: run, doctor, evaluate, ablate, explain, multirun."""
