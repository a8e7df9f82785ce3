"""The documentation: its commands are valid, its examples run, and its lists are complete."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from pages import shown_commands
from PIL import Image
from typer.testing import CliRunner

import trainyard
from trainyard.analysis.claims.spec import find_spec, load_spec
from trainyard.cli.commands import app
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.cli.sweep.command import sweep_command
from trainyard.cli.train import compose_job
from trainyard.config.compose import compose_config
from trainyard.config.overrides import expand_sweep
from trainyard.config.schema import COMPONENT_GROUPS
from trainyard.data import ImageFolder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    "README.md": README,
    **{f"docs/{file.name}": file.read_text() for file in sorted((ROOT / "docs").glob("*.md"))},
}
DOCS = list(PAGES.values())
ALL_TEXT = "\n".join(DOCS)
COMMANDS = list(dict.fromkeys(line for text in DOCS for line in shown_commands(text)))


NOT_RUN_HERE = (
    "trainyard train experiment=quickstart optimizer=adma",
    "trainyard train --config-dir sweeps/tour/conf experiment=winner",
)
"""Commands that are wrong on purpose or require an earlier sweep. The test of the tour runs them."""


def _find_ci_command(name: str) -> str:
    match = re.search(rf"<!-- ci: {name} -->\n```sh\n(.*)\n```", README)
    assert match, name
    return match.group(1)


def test_ci_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    for name in ("main", "tests"):
        extract = f"source <(sed -n '/^readme_command/p' .ci/run); readme_command {name}"
        printed = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert printed.strip() == _find_ci_command(name)
        assert f'eval "$(readme_command {name})"' in script


def test_the_tour_shows_the_output_of_each_command():
    tour = PAGES["docs/tour.md"]
    recorded = []
    for commands, outputs in re.findall(r"```sh\n(.*?)```\n\n```text\n(.*?)```", tour, re.DOTALL):
        block = [line for line in commands.splitlines() if line.startswith("trainyard ")]
        assert re.findall(r"^\$ (.*)$", outputs, re.MULTILINE) == block
        assert all(output.strip() for output in re.split(r"^\$ .*$", outputs, flags=re.MULTILINE)[1:])
        recorded += block
    assert recorded == [line for line in shown_commands(tour) if line.startswith("trainyard ")]


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if line.startswith("trainyard train") and line not in NOT_RUN_HERE]
)
def test_every_train_command_is_valid(command, monkeypatch):
    Path("birds").mkdir()  # the data of the user in the examples
    for name in ("birds.npz", "gulls.npz"):
        Path(name).touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # tracking=server requires it
    options = parse_arguments(shlex.split(command, comments=True)[2:])
    for overrides in [] if options.help else expand_sweep(options.overrides):
        compose_job(options, overrides)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("trainyard sweep")])
def test_every_sweep_command_is_valid(command):
    arguments = shlex.split(command, comments=True)[2:]
    if "--status" not in arguments:
        assert sweep_command([*arguments, "--plan"]) == 0


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("trainyard reproduce")])
def test_every_reproduced_experiment_exists(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    spec = load_spec(find_spec(shlex.split(command)[2]))
    for overrides in spec.arms.values():
        compose_config(overrides)


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if re.match("trainyard (compare|export|promote|rerun)", line)]
)
def test_every_command_on_runs_is_valid(command):
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert "mlflow.db: there are no runs here yet" in result.stderr


def test_the_documented_error_message_is_printed():
    command, message = re.search(r"\$ trainyard (.*optimizer=adma)\n(error .*)\n", PAGES["docs/configure.md"]).groups()
    result = CliRunner().invoke(app, command.split())
    assert (result.exit_code, result.stderr.strip()) == (2, message)


def test_the_yaml_examples_compose():
    configs = {}
    for content in re.findall(r"```yaml\n(.*?)```", ALL_TEXT, re.DOTALL):
        if (named := re.search(r"# (conf/\S+\.yaml): trainyard train (.*)", content)) is None:
            continue
        path, command = named.groups()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(content)
        configs[Path(path).stem] = compose_config(command.split())
    assert configs["wide"].name == "wide"
    assert configs["wide"].model.hidden_units == [1024, 512]
    assert [*configs["lenet"].model.layers[0]] == ["Conv2D"]


def test_the_target_example_is_valid():
    (example,) = [content for content in re.findall(r"```yaml\n(.*?)```", ALL_TEXT, re.DOTALL) if "goal:" in content]
    Path("target.yaml").write_text(example)
    spec = load_spec(Path("target.yaml"))
    assert spec.arms.items() <= load_spec(ROOT / "experiments/mnist_mlp_tuned/target.yaml").arms.items()


def test_the_python_example_runs(keras):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert list(Path("outputs/quickstart").iterdir())


def test_the_program_that_sorts_images_by_a_table_creates_a_folder_of_images():
    (example,) = re.findall(r"```python\n(.*?)```", PAGES["docs/data.md"], re.DOTALL)
    Path("birds/images").mkdir(parents=True)
    labels = ["crow", "gull"] * 3
    for number in range(6):
        Image.new("L", (3, 2), number).save(f"birds/images/{number}.png")
    Path("birds/labels.csv").write_text(
        "\n".join(["file,label", *(f"{n}.png,{name}" for n, name in enumerate(labels))])
    )
    exec(compile(example, "data.md", "exec"), {})
    dataset = ImageFolder(path="sorted", test_fraction=0.5).load(progress=False)
    assert (dataset.spec.class_names, len(dataset.train), len(dataset.test)) == (("crow", "gull"), 3, 3)


def test_every_config_group_is_listed():
    folders = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()}
    for group in folders | set(COMPONENT_GROUPS):
        assert f"| `{group}` |" in PAGES["docs/configure.md"], group


def test_every_package_is_listed_in_the_readme():
    table = README.partition("## The packages")[2]
    for path in Path(trainyard.__file__).parent.iterdir():
        if (path / "__init__.py").exists():
            assert f"`{path.name}/`" in table, path.name


def test_every_promise_names_an_existing_test():
    text = (ROOT / "docs" / "reliability.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    for row in rows:
        named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_link_has_an_existing_target():
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            path = (ROOT / name).parent / file if file else ROOT / name
            assert path.exists(), f"{name}: {target}"
            if anchor:
                headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
                assert anchor in {re.sub(r"[^a-z0-9_ -]", "", head.lower()).replace(" ", "-") for head in headings}, (
                    target
                )


def test_every_page_is_linked_from_the_readme():
    for name in PAGES:
        assert name == "README.md" or f"]({name})" in README, name


def test_constraints_pin_versions_and_no_addresses():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[A-Za-z0-9_.+]+", line), line
