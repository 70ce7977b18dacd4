"""Evaluation of any program: the candidate's sandbox, the scorer's process, and the relay between them."""
