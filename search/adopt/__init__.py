"""Adapters that convert other systems' projects into a task's folder; nothing of the adopted folder is executed.

Each adapter is a module with ``recognises(source)`` and ``convert(source, asked)``; ``files/`` has what they add.
"""
