"""Operators, which make candidates: numeric search, recombination, language models and their prompts."""
