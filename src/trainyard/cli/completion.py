"""Completion in a shell: ``trainyard completion bash`` prints a script, which asks ``trainyard complete-words``.

The script hands on the line up to the cursor, and words are told apart here: bash would split one at ``=``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from trainyard.cli.override_completion import SWEEP_FLAGS, TRAIN_FLAGS, complete_overrides

SCRIPTS = {
    "bash": r"""
_trainyard_complete() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <("${1/#\~/$HOME}" complete-words bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -o nospace -F _trainyard_complete trainyard
""",
    "zsh": r"""
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_trainyard_complete() {
    local line="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX"
    local -a found finished open
    found=("${(@f)$(${~words[1]} complete-words zsh "$line" 2>/dev/null)}")
    finished=("${(@M)found:#* }")
    finished=("${(@)finished% }")
    open=("${(@)found:#* }")
    compadd -a finished
    compadd -S '' -a open
}
compdef _trainyard_complete trainyard
""",
    "fish": r"""
function __trainyard_complete
    set -l words (commandline -opc)
    $words[1] complete-words fish (commandline -cp | string collect) 2>/dev/null
end
complete -c trainyard -f -a '(__trainyard_complete)'
""",
}
"""What each shell evaluates."""

_OPEN = ("=", ".", "/")
"""How a word ends that wants more, and is not followed by a blank."""


def complete_line(root: Any, shell: str, line: str, breaks: str) -> list[str]:  # noqa: ANN401 - a command of typer
    """Returns what the last word of a line may become, in the form that the script of the shell takes.

    Args:
        root: The command line, as `typer.main.get_command` returns it.
        shell: One of `SCRIPTS`.
        line: What is typed, up to the cursor.
        breaks: The characters at which bash begins a new word, and which it inserts after; empty for the others.

    Returns:
        Whole words, for bash what comes after the last break. A blank at the end of one says that it is finished;
        fish adds it itself.
    """
    words, word, kept, quote = split_line(line, breaks)
    names = [PurePath(name).name for name in words]
    words = words[names.index("trainyard") + 1 :] if "trainyard" in names else words[1:]
    answers = []
    for found in complete_command(root, words, word):
        text = found[kept:]
        if shell == "bash" and not quote:
            text = re.sub(r"([^\w\-+=:,./~@%\[\]])", r"\\\1", text)
        unfinished = shell == "fish" or quote or found.endswith(_OPEN)
        answers.append(text if unfinished else f"{text} ")
    return answers


def split_line(line: str, breaks: str = "") -> tuple[list[str], str, int, str]:
    """Splits a line as a shell does, though it may end within quotes.

    Args:
        line: What is typed, up to the cursor.
        breaks: The characters after which bash inserts; with none, whole words are inserted.

    Returns:
        The words before; the last, perhaps empty; how many of its characters stay as they are; the quote that is open.
    """
    words: list[str] = []
    word, kept, quote, begun = "", 0, "", False
    characters = iter(line)
    for character in characters:
        if character == quote:
            quote = ""
            kept = len(word) if breaks else 0
        elif character == "\\" and quote != "'":
            word += next(characters, "")
            begun = True
        elif quote:
            word += character
        elif character in "'\"":
            quote, begun = character, True
            kept = len(word) if breaks else 0
        elif character.isspace():
            words += [word] if begun else []
            word, kept, begun = "", 0, False
        else:
            word, begun = word + character, True
            kept = len(word) if character in breaks else kept
    return words, word, kept, quote


def complete_command(root: Any, before: Sequence[str], word: str) -> list[str]:  # noqa: ANN401 - a command of typer
    """Returns what a word of the command line may become: commands, options, their values, overrides."""
    command, rest = root, list(before)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if command.name in ("train", "sweep"):
        return complete_overrides(rest, word, TRAIN_FLAGS if command.name == "train" else SWEEP_FLAGS)
    options = {
        spelling: parameter
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling.startswith("-")
    }
    option, equals, value = word.partition("=")
    if equals and option in options:
        return [f"{option}={found}" for found in _values(command, options[option], value)]
    if word.startswith("-"):
        return sorted(spelling for spelling in (*options, "--help") if spelling.startswith(word))
    if rest and rest[-1] in options and not options[rest[-1]].is_flag:
        return _values(command, options[rest[-1]], word)
    if hasattr(command, "commands"):
        shown = (name for name, inner in command.commands.items() if not inner.hidden and not rest)
        return sorted(name for name in shown if name.startswith(word))
    arguments = [parameter for parameter in command.params if parameter not in options.values()]
    found = [answer for argument in arguments for answer in _values(command, argument, word)]
    return [answer for answer in found if answer not in rest]


def _values(command: Any, parameter: Any, beginning: str) -> list[str]:  # noqa: ANN401 - of typer
    return [answer.value for answer in parameter.shell_complete(command.context_class(command), beginning)]
