"""Sensitivity and attribution from recorded scores; nothing is evaluated."""
