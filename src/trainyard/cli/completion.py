"""Shell completion: ``trainyard completion bash`` prints a script that calls ``trainyard complete-words``.

The script passes the line up to the cursor. The line is split into words here, because bash would split at ``=``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

import typer

from trainyard.cli.app import app

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
"""The completion script of each shell."""

_UNFINISHED_ENDINGS = ("=", ".", "/")
"""A completed word with one of these endings is not finished: no space follows it."""


def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(help="Shell: `bash`, `zsh` or `fish`.", metavar="SHELL")
    ],
) -> None:
    """Print a completion script for commands and overrides: `eval "$(trainyard completion bash)"`."""
    typer.echo(SCRIPTS[shell].strip())


def complete_words(
    shell: Literal["bash", "zsh", "fish"], line: str, breaks: Annotated[str, typer.Argument()] = ""
) -> None:
    """Print the completions of the last word of a line; the script of `completion` calls this."""
    with contextlib.suppress(Exception):  # an unfinished line is no error, and a message would disturb typing
        for word in complete_line(typer.main.get_command(app), shell, line, breaks):
            typer.echo(word)


def complete_line(root: Any, shell: str, line: str, breaks: str) -> list[str]:  # noqa: ANN401 - a Click command
    """Returns the completions of the last word of a line, in the format that the shell's script reads.

    For bash, these are only the parts after the last of the `breaks`, at which it starts a new word
    (``COMP_WORDBREAKS``). A trailing space marks a finished word; fish adds it itself.
    """
    words, word, kept_length, quote = split_line(line, breaks)
    names = [PurePath(name).name for name in words]
    words = words[names.index("trainyard") + 1 :] if "trainyard" in names else words[1:]
    completions = []
    for completion in complete_command(root, words, word):
        text = completion[kept_length:]
        if shell == "bash" and not quote:
            text = re.sub(r"([^\w\-+=:,./~@%\[\]])", r"\\\1", text)
        unfinished = shell == "fish" or quote or completion.endswith(_UNFINISHED_ENDINGS)
        completions.append(text if unfinished else f"{text} ")
    return completions


def split_line(line: str, breaks: str = "") -> tuple[list[str], str, int, str]:
    """Splits a line into words as a shell does. The line may end within quotes.

    Args:
        line: The typed text up to the cursor.
        breaks: The characters after which bash inserts a completion; if empty, the whole word is replaced.

    Returns:
        The words before the last; the last word, which may be empty; the number of its characters that the shell
        keeps; the quote that is open, or an empty string.
    """
    words: list[str] = []
    word, kept_length, quote, in_word = "", 0, "", False
    characters = iter(line)
    for character in characters:
        if character == quote:
            quote = ""
            kept_length = len(word) if breaks else 0
        elif character == "\\" and quote != "'":
            word += next(characters, "")
            in_word = True
        elif quote:
            word += character
        elif character in "'\"":
            quote, in_word = character, True
            kept_length = len(word) if breaks else 0
        elif character.isspace():
            words += [word] if in_word else []
            word, kept_length, in_word = "", 0, False
        else:
            word, in_word = word + character, True
            kept_length = len(word) if character in breaks else kept_length
    return words, word, kept_length, quote


def complete_command(root: Any, before: Sequence[str], word: str) -> list[str]:  # noqa: ANN401 - a Click command
    """Returns the completions of a word of the command line: commands, options, their values, overrides."""
    command, words = root, list(before)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if command.name in ("train", "sweep"):
        from trainyard.cli.override_completion import SWEEP_FLAGS, TRAIN_FLAGS, complete_overrides

        return complete_overrides(words, word, TRAIN_FLAGS if command.name == "train" else SWEEP_FLAGS)
    options = {
        spelling: parameter
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling.startswith("-")
    }
    option, equals, value = word.partition("=")
    if equals and option in options:
        return [f"{option}={completed}" for completed in _complete_parameter(command, options[option], value)]
    if word.startswith("-"):
        return sorted(spelling for spelling in (*options, "--help") if spelling.startswith(word))
    if words and words[-1] in options and not options[words[-1]].is_flag:
        return _complete_parameter(command, options[words[-1]], word)
    if hasattr(command, "commands"):
        names = (name for name, subcommand in command.commands.items() if not subcommand.hidden and not words)
        return sorted(name for name in names if name.startswith(word))
    arguments = [parameter for parameter in command.params if parameter not in options.values()]
    values = [value for argument in arguments for value in _complete_parameter(command, argument, word)]
    return [value for value in values if value not in words]


def _complete_parameter(command: Any, parameter: Any, prefix: str) -> list[str]:  # noqa: ANN401 - Click objects
    """Returns the values of a parameter of a Click command that start with a prefix."""
    return [item.value for item in parameter.shell_complete(command.context_class(command), prefix)]
