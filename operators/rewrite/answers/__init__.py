"""Parsing of language-model answers: search/replace edits, whole and partial files."""
