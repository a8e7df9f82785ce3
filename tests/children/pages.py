"""Finding the commands in documentation pages and in the output of commands."""

from __future__ import annotations

import re


def shown_commands(page: str) -> list[str]:
    """Returns the lines of all shell blocks of a Markdown page, in order."""
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def suggested_commands(output: str) -> dict[str, str]:
    """Returns the commands that an output, which is not from a terminal, lists as next steps, by their titles."""
    _, _, steps = output.partition("\nNext steps\n")
    return {line[:10].strip(): line[10:] for line in steps.splitlines()}
