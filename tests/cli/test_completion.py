from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest
import typer
from typer.testing import CliRunner

from trainyard.cli.commands import app
from trainyard.cli.completion import complete_command, split_line
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.errors import ConfigError
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.plan import make_plan

# Binds Ctrl-T to print the current line. The shell processes the key after the completion of the TAB before it.
PRINT_LINE = {
    "bash": """bind 'set bell-style none'; bind -x '"\\C-t": printf "<%s>\\n" "$READLINE_LINE"'""",
    "zsh": """show() { zle -I; print -r -- "<$BUFFER>" }; zle -N show; bindkey '^T' show; unsetopt BEEP""",
    "fish": """bind \\ct 'printf "<%s>\\n" (commandline)'""",
}
START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
ENABLE_COMPLETION = {
    "bash": 'eval "$(trainyard completion bash)"',
    "zsh": 'eval "$(trainyard completion zsh)"',
    "fish": "trainyard completion fish | source",
}


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def press_tab(request, tmp_path_factory):
    """Returns a function that types a line in a real shell, presses TAB, and returns the resulting line."""
    shell = shutil.which(request.param)
    if shell is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "my folder").mkdir()
    (folder / "c").touch()  # a file that matches the glob pattern [cohen_kappa]
    command = folder / "bin" / "trainyard"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom trainyard.cli import main\nmain()\n")
    command.chmod(0o755)
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "MLFLOW_"))}
    settings |= {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(folder), "INPUTRC": "/dev/null"}
    child = pexpect.spawn(
        shell, START[request.param], env=settings | {"TERM": "xterm"}, cwd=folder, timeout=30, dimensions=(40, 300)
    )
    child.sendline(PRINT_LINE[request.param])
    child.sendline(ENABLE_COMPLETION[request.param])
    child.sendline("echo rea''dy")
    child.expect("ready\r\n")

    def press(line: str) -> str:
        child.send(f"{line}\t\x14")
        child.expect(r"<(trainyard[^>]*)>\r?\n")
        child.send("\x15")
        return child.match.group(1).decode()

    yield press
    child.close(force=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("trainyard train optim", "trainyard train optimizer="),
        ("trainyard train optimizer=rms", "trainyard train optimizer=rmsprop "),
        ("trainyard train model=cnn model.fi", "trainyard train model=cnn model.filters="),
        (
            "trainyard train experiment=mnist_cnn model.dense_d",
            "trainyard train experiment=mnist_cnn model.dense_dropout=",
        ),
        ("trainyard train +training.engine=co", "trainyard train +training.engine=compiled "),
        ("trainyard train evalu", "trainyard train evaluation."),
        ("trainyard train dataset.path=my", r"trainyard train dataset.path=my\ folder/"),
        ("trainyard train optimizer=nonsense", "trainyard train optimizer=nonsense"),
        ("trainyard data fet", "trainyard data fetch "),
        ("trainyard data fetch fas", "trainyard data fetch fashion_mnist "),
    ],
)
def test_tab_completes_in_a_real_shell(press_tab, typed, completed):
    assert press_tab(typed) == completed


def test_tab_completes_the_common_prefix_of_several_candidates(press_tab):
    assert press_tab("trainyard train experiment=mn") == "trainyard train experiment=mnist_"


@pytest.mark.parametrize("press_tab", ["bash"], indirect=True)  # the other shells require quotes around brackets
def test_brackets_are_not_escaped(press_tab):
    assert press_tab("trainyard train evaluation.metrics=[coh") == "trainyard train evaluation.metrics=[cohen_kappa] "


def test_tab_completes_within_quotes(press_tab):
    assert press_tab("trainyard train 'model.hid").startswith("trainyard train 'model.hidden_units=")


@pytest.fixture
def complete():
    """Returns a function that returns the completions of the last word of a line."""
    root = typer.main.get_command(app)

    def answer(line: str) -> list[str]:
        words, word, _ = split_line(line)
        return complete_command(root, words[1:], word)

    return answer


def test_commands_options_and_option_values_are_completed(complete):
    assert complete("trainyard tr") == ["train"]
    assert "complete-words" not in complete("trainyard ")
    assert complete("trainyard ui --") == ["--experiment", "--help", "--port", "--sweep", "--uri"]
    assert complete("trainyard config schema --format ") == ["markdown", "json"]
    assert complete("trainyard config schema --format=j") == ["--format=json"]
    assert complete("trainyard config schema --for opt") == ["optimizer"]
    assert complete("trainyard data fetch mnist k") == ["kmnist"]
    assert complete("trainyard data fetch mnist mn") == []


def test_groups_and_choices_are_completed_including_those_of_the_user(complete):
    Path("mine/optimizer").mkdir(parents=True)
    Path("mine/optimizer/fast.yaml").write_text("defaults: [base_sgd]\nlearning_rate: 0.5\n")
    assert complete("trainyard train --config-dir mine optimizer=fa") == ["optimizer=fast"]
    assert complete("trainyard train --config-dir mine optimizer=fast optimizer.nes") == ["optimizer.nesterov="]
    assert complete("trainyard train --config-dir m") == ["mine/"]
    assert complete("trainyard train optimizer=ada") == [
        f"optimizer={name}" for name in ("adadelta", "adagrad", "adam", "adamax", "adamw")
    ]
    assert complete("trainyard train -m seed=1,2 optimizer=adam,sgd_") == ["optimizer=adam,sgd_momentum"]


def test_flags_and_names_of_sweeps_are_completed(complete):
    SweepFolder(Path("sweeps/mine")).write_plan(make_plan(["sweep.objective=off", "seed=1,2"]), threads=1)
    assert complete("trainyard sweep --") == [
        "--config-dir",
        "--config-name",
        "--fresh",
        "--help",
        "--plan",
        "--status",
    ]
    assert complete("trainyard sweep sweep=wi") == ["sweep=widths"]
    assert complete("trainyard sweep optimizer=adam,sgd_") == ["optimizer=adam,sgd_momentum"]
    assert complete("trainyard sweep --status ") == ["mine"]
    assert complete("trainyard ui --sweep m") == ["mine"]


def test_fields_are_those_of_the_chosen_component(complete):
    assert complete("trainyard train model.hid") == ["model.hidden_units="]
    assert complete("trainyard train model=cnn model.hid") == []
    assert complete("trainyard train ++training.early_stopping.r") == ["++training.early_stopping.restore_best="]
    assert complete("trainyard train training.early") == ["training.early_stopping."]
    assert complete("trainyard train +experiment=mnist_cnn model.fil") == ["model.filters="]
    assert complete("trainyard train model.na") == []  # the group chooses the name; it is not a field to set


def test_values_are_completed_if_a_field_has_few(complete):
    assert complete("trainyard train training.engine=") == [
        f"training.engine={name}" for name in ("auto", "compiled", "fit")
    ]
    assert complete("trainyard train training.checkpoint=") == ["training.checkpoint=true", "training.checkpoint=false"]
    assert complete("trainyard train evaluation.metrics=[c") == ["evaluation.metrics=[cohen_kappa]"]
    assert complete("trainyard train training.epochs=") == []


@pytest.mark.parametrize(
    "line",
    ["", "trainyard", "trainyard nonsense ", "trainyard train model=[ 'model.hid", "trainyard train = . ..= x.y.z=",
     "trainyard train model=cn seed=x model.", "trainyard train '", "trainyard train seed.x=", "trainyard ui --port= ", "\\"],
)  # fmt: skip
def test_an_unfinished_line_raises_no_error(line, complete):
    complete(line)
    done = CliRunner().invoke(app, ["complete-words", "bash", line])
    assert (done.exit_code, done.stderr) == (0, "")


def test_completion_prints_no_error_for_a_broken_plugin(monkeypatch):
    def fail(config_dir):
        raise ConfigError("plugin acme: it can't be imported")

    monkeypatch.setattr("trainyard.cli.override_completion.prepare_hydra", fail)
    done = CliRunner().invoke(app, ["complete-words", "bash", "trainyard train model.hid"])
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize(
    ("line", "split"),
    [
        ("trainyard train a=b c", (["trainyard", "train", "a=b"], "c", False)),
        ("trainyard train model.l2=", (["trainyard", "train"], "model.l2=", False)),
        (r"trainyard x=my\ fo", (["trainyard"], "x=my fo", False)),
        (r"trainyard x=my\ ", (["trainyard"], "x=my ", False)),
        ("trainyard 'x y' 'x=my fo", (["trainyard", "x y"], "x=my fo", True)),
        ("trainyard x='my fo", (["trainyard"], "x=my fo", True)),
        ("trainyard ", (["trainyard"], "", False)),
        ("trainyard x=a\\", (["trainyard"], "x=a", False)),
        ("trainyard '", (["trainyard"], "", True)),
    ],
)
def test_a_line_is_split_as_a_shell_does(line, split):
    assert split_line(line) == split


@pytest.mark.parametrize(
    ("line", "part", "completed"),
    [
        ("trainyard train optimizer=rms", "rms", "rmsprop "),
        ("trainyard train optimizer=rms", "optimizer=rms", "optimizer=rmsprop "),
        ("trainyard train 'optimizer=rms", "optimizer=rms", "optimizer=rmsprop"),
        (r"trainyard train dataset.path=my\ fo", r"my\ fo", r"my\ folder/"),
        ("trainyard train dataset.path='my fo", "my fo", "my folder/"),
    ],
)
def test_bash_gets_only_the_part_of_a_word_that_it_replaces(line, part, completed):
    Path("my folder").mkdir()
    assert CliRunner().invoke(app, ["complete-words", "bash", line, part]).output == f"{completed}\n"


def test_hydras_completion_flag_refers_to_trainyards_completion():
    with pytest.raises(
        ConfigError, match=r"--shell-completion: not supported. Use Trainyard's: eval .*trainyard completion bash"
    ):
        parse_arguments(["--shell-completion"])
