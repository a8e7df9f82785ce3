"""Tests of the help of all commands: it fits the terminal, and its examples are valid."""

from __future__ import annotations

import re
import shlex
import sys

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from trainyard.cli.commands import app, run_command_line
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.cli.train import compose_job
from trainyard.config import expand_sweep

ROOT = typer.main.get_command(app)


def _list_commands(command, path=()):
    inner = getattr(command, "commands", {})
    return [path, *(leaf for name, child in inner.items() for leaf in _list_commands(child, (*path, name)))]


COMMANDS = [path for path in _list_commands(ROOT) if path != ("complete-words",)]
by_name = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def _print_help(path):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    return Text.from_ansi(result.stdout).plain


def _parse(path, words):
    """Parses the words of a command without running it."""
    context = ROOT.make_context("trainyard", [*path, *words], resilient_parsing=True)
    command = ROOT
    for name in path:
        command = command.commands[name]
    return command.make_context(path[-1], list(words), parent=context)


@by_name
@pytest.mark.parametrize("width", [40, 80])
def test_the_help_fits_the_terminal_and_cuts_no_word(path, width, monkeypatch):
    expected = _print_help(path).replace("`", "").split()
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    text = _print_help(path)
    assert [word for word in text.split() if word != "\\"] == expected
    for line in text.splitlines():
        assert len(line.rstrip()) <= max(width, max(map(len, line.split()), default=0) + len("      \\")), line


@by_name
def test_the_help_describes_the_command_and_each_argument(path):
    usage, description, *_ = _print_help(path).split("\n\n")
    assert usage.startswith(" ".join(["Usage: trainyard", *path]))
    assert re.match(r"[A-Z][a-z]+[ ,].*\.$", description, re.DOTALL)
    metavars = re.findall(r"\b[A-Z_]{3,}\b", usage.replace("[OPTIONS]", "").replace("COMMAND [ARGS]", ""))
    for metavar in metavars:
        assert path in (("train",), ("sweep",)) or re.search(rf"\n  {metavar} +\S", _print_help(path)), metavar


@by_name
def test_the_examples_of_the_help_are_valid(path):
    examples = re.findall(r"\n  trainyard (.*)", _print_help(path))
    for words in map(shlex.split, examples):
        if words[0] in ("train", "sweep"):
            for overrides in expand_sweep(parse_arguments(["--multirun", *words[1:]]).overrides):
                compose_job(parse_arguments(overrides), overrides)
        else:
            name = words[: 2 if words[0] in ("data", "config") else 1]
            _parse(name, [word for word in words[len(name) :] if word not in ("|", "source")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["uii"], "error No such command 'uii'. Did you mean 'ui'? Help: trainyard --help\n"),
        (["predict"], "error Missing argument 'MODEL'. Help: trainyard predict --help\n"),
        (
            ["compare", "--hmtl", "x"],
            "error No such option: --hmtl (Possible options: --help, --html). Help: trainyard compare --help\n",
        ),
    ],
)
def test_an_error_in_the_arguments_names_the_help(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["trainyard", *arguments])
    monkeypatch.setattr("trainyard.cli.commands.ignore_signals", lambda: None)
    monkeypatch.setattr("gc.freeze", lambda: None)
    with pytest.raises(SystemExit) as exited:
        run_command_line()
    assert (exited.value.code, capsys.readouterr().err) == (2, message)
