"""What an experiment aims at: ``experiments/<name>/target.yaml``, read and checked.

    title: A tuned MLP on MNIST
    about: What is asked, in a few sentences.
    goal: 0.986                  # the mean of the first arm's accuracy on the test images is to reach it
    seeds: 10
    first_seed: 1000
    most_parameters: 316810      # of the first arm's model; left out: any
    search: mnist_mlp            # the sweep that chose the first arm's recipe; left out: none did
    arms:                        # by name, what each is trained with, as on the command line
      tuned: [experiment=mnist_mlp_tuned]
      baseline: [experiment=mnist_baseline]

Before it: errors, registry. After it: arms, page, and ``trainyard reproduce``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from trainyard.errors import ConfigError
from trainyard.registry import did_you_mean

EXPERIMENTS = Path("experiments")
FILE = "target.yaml"

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Overrides = Annotated[tuple[Text, ...], Field(min_length=1)]


class Target(BaseModel):
    """What is aimed at.

    Attributes:
        title: Of its page.
        about: What is asked, in a few sentences.
        goal: What the mean of the first arm's accuracy is to reach.
        arms: By name, what each is trained with; the first is the one that the goal is for.
        seeds: How many runs each arm has.
        first_seed: Of these; the others follow it.
        most_parameters: That the model of the first arm may have, or None.
        search: The sweep that chose the first arm's recipe, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    about: Text
    goal: float = Field(ge=0, le=1)
    arms: dict[Text, Overrides] = Field(min_length=1)
    seeds: int = Field(ge=2)
    first_seed: int = Field(0, ge=0)
    most_parameters: int | None = Field(None, ge=1)
    search: Text | None = None

    @property
    def ours(self) -> str:
        """The arm that the goal is for."""
        return next(iter(self.arms))


def experiments() -> list[str]:
    """Returns the names of the experiments here that have a target, sorted."""
    return sorted(found.parent.name for found in EXPERIMENTS.glob(f"*/{FILE}"))


def find_target(name: str) -> Path:
    """Returns the file of an experiment, from its name or the file's own path.

    Raises:
        ConfigError: If there is none.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else EXPERIMENTS / name / FILE
    if file.is_file():
        return file
    known = experiments()
    there = (
        f"{did_you_mean(name, known)} There are: {', '.join(known)}" if known else f" There are none in {EXPERIMENTS}"
    )
    raise ConfigError(f"reproduce: there is no experiment {name!r}: {file} is not there.{there}")


def read_target(file: Path) -> Target:
    """Reads what an experiment aims at.

    Raises:
        ConfigError: If the file can't be read or says something else; names every field that is wrong.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: expected YAML that says what is aimed at; it can't be read: {error}") from error
    try:
        return Target.model_validate(content)
    except ValidationError as error:
        raise ConfigError(*(_in_words(file, problem) for problem in error.errors())) from error


def _in_words(file: Path, problem: ErrorDetails) -> str:
    """Returns a line on what pydantic found: the dotted path, what is wrong, what came."""
    path = ".".join(map(str, problem["loc"])) or "the file"
    known = list(Target.model_fields)
    match problem["type"]:
        case "extra_forbidden":
            return f"{file}: {path}: there is no such field.{did_you_mean(path, known)} There are: {', '.join(known)}"
        case "missing":
            return f"{file}: {path}: is missing"
        case _:
            return f"{file}: {path}: {problem['msg']}, got {problem['input']!r}"
