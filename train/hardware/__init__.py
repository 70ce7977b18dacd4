"""Devices and evaluation slots."""
