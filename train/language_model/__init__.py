"""Evaluation of language-model training programs: train, score, audit."""
