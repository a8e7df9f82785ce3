"""The project is written in plain technical English: phrases of its former dialect do not return."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from typer.testing import CliRunner

from trainyard.cli.commands import app

ROOT = Path(__file__).parents[1]

FORBIDDEN = re.compile(
    r"told|tells|comes? to|came to|so many|\bstands?\b(?!-)|had again|go(es|ing)? on|gone on|is had|in our words"
    r"|whole or not at all|of its own accord|the less the better|nothing where there is nothing"
    r"|\bours\b|\bmend(s|ed)?\b|\bwhoever\b|\blikewise\b|\bfor want of\b|\bin the place of\b|\bbut for\b",
    re.IGNORECASE,
)

SUFFIXES = (".py", ".yaml", ".md", ".html", ".css", ".js")
FILES = [
    *(path for folder in ("src", "conf", "docs") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()),
    *sorted((ROOT / "experiments").rglob("*")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


def test_no_file_contains_a_forbidden_phrase():
    paths = [path for path in FILES if path.suffix in SUFFIXES]
    assert {path.suffix for path in paths} >= {".py", ".yaml", ".md"}
    lines = []
    for path in paths:
        text = re.sub(r"data:[\w/+;-]+,[\w+/=]+", "", path.read_text())  # embedded images
        lines += [f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
                  for number, line in enumerate(text.splitlines(), 1) if FORBIDDEN.search(line)]  # fmt: skip
    assert not lines, "\n".join(lines)


def _commands(command: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    return [path, *(leaf for name, child in inner.items() for leaf in _commands(child, (*path, name)))]


def test_no_help_text_contains_a_forbidden_phrase():
    paths = _commands(typer.main.get_command(app))
    assert ("train",) in paths
    for path in paths:
        result = CliRunner().invoke(app, [*path, "--help"])
        assert result.exit_code == 0, path
        assert not FORBIDDEN.search(re.sub(r"\s+", " ", result.output)), path
