"""The help texts of ``trainyard train`` and ``sweep``: groups and choices, fields and defaults, flags."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from trainyard.cli.command_help import print_help
from trainyard.config import compose_config, dump_config, list_choices, list_groups

_TRAIN_HELP = """\
Usage: trainyard train [FLAGS] [OVERRIDES]

Train one model from a config, evaluate it on the test images, and log everything to MLflow.

Examples
  trainyard train experiment=quickstart
  trainyard train experiment=mnist_baseline seed=1
  trainyard train dataset=mnist model.hidden_units='[512,256]' optimizer=sgd training.epochs=3

Groups (choose one option of each: group=name)
{groups}

Fields and their defaults (set a field by its path: training.epochs=5)
{fields}

For the meaning and range of every field: trainyard config schema, or docs/config.md.

Flags
  --cfg job         Print the composed config and exit.
  --config-dir DIR  Search DIR for configs as well; ./conf is always searched.
  --multirun, -m    Run every combination of the given values, like trainyard sweep.
  --help            Show this message and exit.
  --hydra-help      Show Hydra's own flags and exit."""

_SWEEP_HELP = """\
Usage: trainyard sweep [FLAGS] [OVERRIDES]

Train every combination of several values in parallel. Each trial runs in a separate process, so a failure does not \
stop the others. To resume an interrupted sweep, run the same command again.

Examples
  trainyard sweep sweep=widths
  trainyard sweep experiment=quickstart optimizer.learning_rate=0.01,0.003,0.001
  trainyard sweep experiment=mnist_baseline sweep.objective=off model.hidden_units='[300,200,100],[512,256]' \
seed='range(0,5)'
  trainyard sweep model=mlp,cnn dataset.validation_fraction=0.1 sweep.seeds=5

Values to sweep (assign several values to a group or a field)
  1,2,3   [64],[64,32]   range(1,10)   choice(a,b)   shuffle(...)   glob(*)   (Hydra's grammar)
  sweep=NAME, a file in conf/sweep: {sweeps}

Settings of the sweep (defaults: trainyard config schema)
  sweep.objective                    metric that ranks the trials: accuracy/val or loss/val; off disables the ranking
  sweep.seeds                        number of seeds per point; more seeds make the ranking more reliable
  sweep.on_error                     what to do when a trial fails: continue or stop
  sweep.retries                      number of times that a failed trial is retried
  sweep.max_failures                 number of failed trials after which no other trial starts
  hydra.launcher.n_jobs              number of trials that run in parallel; default: one per GPU, or per core
  hydra.launcher.time_limit_seconds  time limit of a trial, in seconds

Flags
  --plan            Check and print all trials, but do not start them.
  --status [NAME]   Show the status of the sweeps in this folder, or of the trials of one sweep.
  --fresh           Start over; earlier files are kept in another folder. Without it, an interrupted sweep resumes.
  --config-dir DIR  Search DIR for configs as well; ./conf is always searched.
  --help            Show this message and exit.

For all groups and fields: trainyard train --help."""


def print_sweep_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard sweep``, with the sweeps in an additional config folder."""
    print_help(_SWEEP_HELP.format(sweeps=", ".join(list_choices("sweep", config_dir))))


def print_train_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard train``, with the choices in an additional config folder."""
    groups = [f"  {group + ':':14}{', '.join(list_choices(group, config_dir))}" for group in list_groups(config_dir)]
    fields = dump_config(compose_config(config_dir=config_dir)).rstrip("\n")
    print_help(_TRAIN_HELP.format(groups="\n".join(groups), fields=indent(fields, "  ")))
