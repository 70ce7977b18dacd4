"""The server of ``model.py``, run by the Python that has xllamacpp: served.py FILE NAME PORT THREADS CONTEXT."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

AT_ONCE = 8
"""Answers to one prompt (``n`` of a request) that share what was read of it."""
BATCH = 256
"""Tokens of a prompt between two looks at whether the client is still there."""


def serve(file: str, name: str, port: int, threads: int, context: int) -> None:
    """OpenAI's chat completions on this machine, until a signal ends the process."""
    llama: Any = importlib.import_module("xllamacpp")
    settings = llama.CommonParams()
    settings.model.path, settings.model_alias = file, {name}
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.n_ctx, settings.n_parallel, settings.kv_unified = context, AT_ONCE, True
    settings.n_batch = settings.n_ubatch = BATCH
    for pool in (settings.cpuparams, settings.cpuparams_batch):
        pool.n_threads, pool.poll = threads, 0  # threads that wait must not spin beside other work
    settings.timeout_read = settings.timeout_write = 7200
    server = llama.Server(settings)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    _, file, name, *numbers = sys.argv
    serve(file, name, *map(int, numbers))
