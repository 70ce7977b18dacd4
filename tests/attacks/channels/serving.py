"""A sandbox's side: follows the commands of the test's process. The worker of the sandbox calls ``serve``."""

from __future__ import annotations

import json
import socket
from typing import Any

import caches
import counters
import machine_files
import primes
import states


def serve(channel_descriptor: int) -> None:
    """Follow the commands of the test's process: lines of JSON, answered by one each."""
    with socket.socket(fileno=channel_descriptor) as channel, channel.makefile("rw") as lines:
        for line in lines:
            order = json.loads(line)
            states.nonce[:] = [order["nonce"]]
            answer: object = None
            if order["do"] == "send":
                states.send(order["bits"])
            elif order["do"] == "receive":
                answer = states.receive()
            elif order["do"] == "send timed":
                counters.send_timed(order["bits"], order["begin"])
            elif order["do"] == "receive timed":
                answer = counters.receive_timed(order["begin"])
            elif order["do"] == "send fast":
                counters.send_fast(order["way"], order["bits"], order["begin"], order["slot"])
            elif order["do"] == "receive fast":
                answer = counters.receive_fast(order["way"], order["count"], order["begin"], order["slot"])
            elif order["do"] == "receive held":
                answer = states.receive_timed(order["way"])
            elif order["do"] == "read":
                answer = machine_files.say(order["paths"])
            elif order["do"] == "send by caches":
                caches.send(order["messages"], *timing(order))
            elif order["do"] == "receive by caches":
                answer = caches.receive(order["slots"], order["count"], *timing(order))
            elif order["do"] == "send by priming":
                primes.send(order["messages"], order["pages"], *timing(order))
            elif order["do"] == "receive by priming":
                answer = primes.receive(order["slots"], order["count"], order["pages"], *timing(order))
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def timing(order: dict[str, Any]) -> tuple[float, float, bool]:
    """Return when the slots begin, how long each is, and whether to compute while waiting."""
    return order["begin"], order["slot"], order["spin"]
