"""The files of a sandbox, kept in memory: what they are, and the folder that holds them.

Not to be confused with pictures: as in "disk image". See ``train.sandbox.image.folder``.
"""
