"""Registers all commands, and runs the command line."""

from __future__ import annotations

import gc
import sys
from typing import Any, NoReturn

import typer

from trainyard.cli import (
    compare,
    completion,
    config,
    data,
    doctor,
    export,
    image_data,
    mlflow_ui,
    predict,
    report,
    reproduce,
    rerun,
    run_commands,
    sync,
)
from trainyard.cli.app import CommandGroup, add_command, app
from trainyard.errors import ConfigError
from trainyard.system import ignore_signals, mark_process_owned, print_error

_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""The class of Typer's errors about arguments and options, which Typer does not export."""
_HYDRA_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Click settings of a command that passes its arguments to Hydra's parser."""

for _command in (run_commands.train, run_commands.sweep):
    add_command(_command, raise_signals=False, add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
add_command(mlflow_ui.ui)
add_command(rerun.rerun)
add_command(reproduce.reproduce, context_settings={"allow_interspersed_args": True})
add_command(compare.compare)
add_command(report.report)
add_command(export.export)
add_command(export.promote)
add_command(predict.predict)
add_command(sync.sync)
add_command(doctor.doctor)
add_command(completion.completion)
add_command(completion.complete_words, name="complete-words", hidden=True)

_data = typer.Typer(cls=CommandGroup, help="List, download, check and verify data sets.", no_args_is_help=True)
app.add_typer(_data, name="data")
add_command(data.list_data, to=_data, name="list")
add_command(data.fetch_data, to=_data, name="fetch")
add_command(data.verify_data, to=_data, name="verify")
add_command(image_data.check_data, to=_data, name="check")

_cache = typer.Typer(cls=CommandGroup, help="List and clear the cache of decoded images.", no_args_is_help=True)
_data.add_typer(_cache, name="cache")
add_command(image_data.list_cache, to=_cache, name="list")
add_command(image_data.clear_data_cache, to=_cache, name="clear")

_config = typer.Typer(
    cls=CommandGroup, help="Explain every config field: its meaning, range and default.", no_args_is_help=True
)
app.add_typer(_config, name="config")
add_command(config.show_schema, to=_config, name="schema")


def run_command_line() -> None:
    """Runs the command line and exits."""
    mark_process_owned()
    for word in sys.argv[1:2]:
        if "=" in word and not word.startswith("-"):
            print_error(ConfigError(f"{word!r} is not a command. Did you mean 'trainyard train {word}'?"))
            raise SystemExit(ConfigError.exit_code)
    try:
        raise SystemExit(app(prog_name="trainyard", standalone_mode=False) or 0)
    except _USAGE_ERROR as error:
        _exit_on_usage_error(error)
    finally:
        ignore_signals()  # the exit code is final: a signal must not replace it while the interpreter exits
        gc.freeze()  # a collection at exit would take one to two seconds


def _exit_on_usage_error(error: Any) -> NoReturn:  # noqa: ANN401 - Typer's class is private
    """Prints an error about arguments and options in the form of all errors, and exits. An empty one is not printed."""
    if message := error.format_message():
        command = error.ctx.command_path if error.ctx else "trainyard"
        print_error(ConfigError(f"{message.rstrip('.')}{'' if message.endswith('?') else '.'} Help: {command} --help"))
    raise SystemExit(error.exit_code)
