"""Free ports for servers that tests start."""

from __future__ import annotations

import socket


def ephemeral_port() -> int:
    """Returns a free port chosen by the operating system, so that parallel tests use different ports."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
