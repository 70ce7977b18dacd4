"""Adapters that make a task's folder of what other systems' users have; nothing of the adopted folder is executed.

Each adapter is a module with ``recognises(source)`` and ``convert(source, asked)``; ``files/`` has what they add.
"""
