"""Commands run by an ordinary user who owns nothing, from a test that runs as root."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534


def as_nobody(words: Sequence[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run ``words`` in ``folder`` without a home and without any other group."""
    return subprocess.run(
        words,
        cwd=folder,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
