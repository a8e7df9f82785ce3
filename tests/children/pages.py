"""The commands that pages show."""

from __future__ import annotations

import re


def shown_commands(page: str) -> list[str]:
    """Returns the lines of a page's shell blocks, in their order."""
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
