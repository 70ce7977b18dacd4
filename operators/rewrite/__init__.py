"""Operators that ask a language model for a new program."""
