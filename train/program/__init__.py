"""Evaluation of any program: the candidate's sandbox, the scorer's process, and what relays between them."""
