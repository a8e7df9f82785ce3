"""Finding the commands in documentation pages."""

from __future__ import annotations

import re


def shown_commands(page: str) -> list[str]:
    """Returns the lines of all shell blocks of a Markdown page, in order."""
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
