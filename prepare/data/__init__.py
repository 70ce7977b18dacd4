"""Corpora, tokenizers and prepared data."""
