"""Shell completion: ``trainyard completion bash`` prints a script that calls ``trainyard complete-words``.

Typer finds the values of options and arguments. Its own scripts are not used, because they split a word at ``=``, and
add a space after an unfinished word such as ``optimizer=``.
"""

from __future__ import annotations

import contextlib
import re
import shlex
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
    done < <("${1/#\~/$HOME}" complete-words bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
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
    """Print the script by which a shell completes commands and overrides.

    Examples:
      eval "$(trainyard completion bash)"
      trainyard completion fish | source
    """
    typer.echo(SCRIPTS[shell].strip())


def complete_words(
    shell: Literal["bash", "zsh", "fish"], line: str, part: Annotated[str | None, typer.Argument()] = None
) -> None:
    """Print the completions of the last word of a line; the script of `completion` calls this.

    bash replaces only a part of the word, for example the value after `=`. A trailing space marks a finished word.
    """
    with contextlib.suppress(Exception):  # an unfinished line is no error, and a message would disturb typing
        words, word, in_quotes = split_line(line)
        names = [PurePath(name).name for name in words]
        words = words[names.index("trainyard") + 1 :] if "trainyard" in names else words[1:]
        kept_length = 0 if part is None else len(word) - len(part if in_quotes else part.replace("\\", ""))
        for completed in complete_command(typer.main.get_command(app), words, word):
            text = completed[kept_length:]
            if shell == "bash" and not in_quotes:
                text = re.sub(r"([^\w\-+=:,./~@%\[\]])", r"\\\1", text)
            is_unfinished = shell == "fish" or in_quotes or completed.endswith(_UNFINISHED_ENDINGS)
            typer.echo(text if is_unfinished else f"{text} ")


def split_line(line: str) -> tuple[list[str], str, bool]:
    """Splits a line, which may end within quotes, into words as a shell does.

    Returns:
        The words before the last; the last word, which may be empty; whether the line ends within quotes.
    """
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError as error:  # the line ends within quotes, or after a backslash
        return words, lexer.token, "closing quotation" in str(error)
    last = words.pop() if words and not re.search(r"(?<!\\)\s$", line) else ""
    return words, last, False


def complete_command(root: Any, before: Sequence[str], word: str) -> list[str]:  # noqa: ANN401 - a Click command
    """Returns the completions of a word of the command line: commands, options, their values, overrides."""
    command, words = root, list(before)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if command.name in ("train", "sweep"):
        from trainyard.cli.override_completion import complete_overrides

        return complete_overrides(command.name, words, word)
    context, prefix = command.context_class(command), ""
    options = {name: parameter for parameter in command.params for name in parameter.opts if name.startswith("-")}
    option, equals, value = word.partition("=")
    if equals and option in options:
        parameters, prefix, word = [options[option]], f"{option}=", value
    elif words and words[-1] in options and not options[words[-1]].is_flag:
        parameters = [options[words[-1]]]
    elif word.startswith("-") or hasattr(command, "commands"):
        return sorted(item.value for item in command.shell_complete(context, word))
    else:
        parameters = [parameter for parameter in command.params if parameter not in options.values()]
    values = [item.value for parameter in parameters for item in parameter.shell_complete(context, word)]
    return [prefix + value for value in values if value not in words]
