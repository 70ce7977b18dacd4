"""Asks somebody else: opens a socket to another machine."""

import socket


def solve(question, llm):
    with socket.create_connection(("192.0.2.1", 80), timeout=0.2) as other:
        other.sendall(question.encode())
        return other.recv(100).decode()
