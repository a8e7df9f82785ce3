"""A port for a server of a test."""

from __future__ import annotations

import socket


def ephemeral_port() -> int:
    """Returns a free port that the system chooses, so that tests side by side get different ones."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
