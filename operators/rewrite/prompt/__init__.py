"""Prompt construction: sections, templates, truncation, insights from the archive."""
