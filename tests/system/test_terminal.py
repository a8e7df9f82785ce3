from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainyard.system import print_error, print_labelled, print_next_steps, print_rows, print_styled

COMMANDS = {
    "train it": "trainyard train --config-dir sweeps/t/conf 'dataset.path=my birds'",
    "load it": "python -c 'import keras; print(\"a b\")' it\\'s",
}


def make_console(width, *, is_terminal=True):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=width, color_system=None, highlight=False)


def read_lines(console):
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["time      21.4 s, of which training 0.4 s"]),
        (30, ["time      21.4 s, of which", "          training 0.4 s"]),
        (12, ["time", "21.4 s, of", "which", "training 0.4", "s"]),
    ],
)
def test_labelled_lines_are_wrapped_between_words(width, lines):
    console = make_console(width)
    print_labelled(console, "time", "21.4 s, of which training 0.4 s")
    assert read_lines(console) == lines


@pytest.mark.parametrize("width", [10, 25, 36])
def test_a_path_is_not_broken_and_the_text_around_it_is_wrapped(width):
    console, path = make_console(width), "/a/folder/with/a/long/path/file.txt"
    text = f"  the file is {path} and it is damaged"
    print_styled(text, console=console)
    lines = read_lines(console)
    assert lines[0].startswith("  the file")
    assert " ".join(lines).split() == text.split()
    assert all(len(line) <= width for line in lines if path not in line)
    assert [line.strip() for line in lines if path in line] == [path]


def test_lines_without_a_terminal_are_not_wrapped():
    console, text = make_console(20, is_terminal=False), "trainyard train --config-dir sweeps/t/conf"
    print_labelled(console, "files", text)
    print_styled(f"one\n\n{text}", console=console)
    print_next_steps({"train it": text}, console=console)
    assert read_lines(console) == [f"files     {text}", "one", "", text, "", "Next steps", f"train it  {text}"]


def test_the_lines_of_an_error_are_wrapped_and_indented_in_a_terminal(monkeypatch, capsys):
    error = ValueError("optimizer: unknown optimizer [adma]. Did you mean adam?\n  the second problem")
    print_error(error)
    assert capsys.readouterr().err == (
        "error optimizer: unknown optimizer [adma]. Did you mean adam?\n        the second problem\n"
    )
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr", terminal := _Terminal())
    print_error(error)
    assert Text.from_ansi(terminal.getvalue()).plain.splitlines() == [
        "error optimizer: unknown optimizer",
        "      [adma]. Did you mean adam?",
        "        the second problem",
    ]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_commands_are_continued_so_that_they_can_be_copied(width):
    console = make_console(width)
    print_next_steps(COMMANDS, console=console)
    lines = read_lines(console)
    assert lines[:2] == ["", "Next steps"]
    longest_word = max(len(word) for command in COMMANDS.values() for word in command.split(" ", 3)) + len("     \\")
    assert max(map(len, lines)) <= max(width, longest_word)
    text = "\n".join(lines).replace("\\\n", "")
    words = [word for title, command in COMMANDS.items() for word in [*title.split(), *shlex.split(command)]]
    assert shlex.split(text) == ["Next", "steps", *words]


def test_without_commands_nothing_is_printed():
    console = make_console(80)
    print_next_steps({}, console=console)
    assert read_lines(console) == []


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (30, ["name     location      note", "fashion  /a/long/path"]),
        (20, ["fashion", "  location", "  /a/long/path"]),
    ],
)
def test_a_table_becomes_a_block_of_lines_per_row_if_its_longest_words_do_not_fit(width, lines):
    console, table = make_console(width), Table("name", "location", "note", box=None, pad_edge=False)
    table.add_row("fashion", "/a/long/path", "")
    print_rows(table, console=console)
    assert read_lines(console) == lines
