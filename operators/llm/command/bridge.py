"""Inside the sandbox: pass the loopback connections of a program to the proxy's socket file, and run the program.

    python bridge.py SOCKET COMMAND ...

Imports only the standard library. Its exit status is the program's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading


def main(path: str, command: list[str]) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    environment = {**os.environ, **dict.fromkeys(names, proxy)}
    try:
        status = subprocess.call(command, env=environment)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return 127
    return 128 - status if status < 0 else status


def _accept(listener: socket.socket, path: str) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_serve, args=(client, path), daemon=True).start()


def _serve(client: socket.socket, path: str) -> None:
    with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as proxy:
        try:
            proxy.connect(path)
            back = threading.Thread(target=_copy, args=(proxy, client), daemon=True)
            back.start()
            _copy(client, proxy)
            back.join()
        except OSError:
            return


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
