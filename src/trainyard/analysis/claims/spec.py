"""What an experiment is held against: a target of our own, or a claim that was published. Read and checked.

``experiments/<name>/target.yaml``:

    title: A tuned MLP on MNIST
    about: What is asked, in a few sentences.
    goal: 0.986                  # the mean of the first arm's accuracy on the test images is to reach it
    seeds: 10
    first_seed: 1000
    most_parameters: 316810      # of the first arm's model; left out: any
    most_minutes: 60             # that all runs together may take, by the clock; left out: any
    search: mnist_mlp            # the sweep that chose the first arm's recipe; left out: none did
    arms:                        # by name, what each is trained with, as on the command line
      tuned: [experiment=mnist_mlp_tuned]
      baseline: [experiment=mnist_baseline]

``experiments/<name>/claim.yaml``:

    title: The published MNIST baseline
    about: What was published, in a few sentences.
    source: Where.
    recipe: [experiment=mnist_baseline]
    seeds: 10
    decimals: 2                  # to how many the figures were rounded
    accuracy: 0.98
    classification_report:       # by row: precision, recall, f1, support
      "0": [0.99, 0.99, 0.99, 980]
      macro avg: [0.98, 0.98, 0.98, 10000]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from trainyard.config.registry import did_you_mean
from trainyard.errors import ConfigError

EXPERIMENTS = Path("experiments")
TARGET, CLAIM = "target.yaml", "claim.yaml"
RECIPE = "recipe"
"""The one arm of a claim."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Overrides = Annotated[tuple[Text, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Scores(NamedTuple):
    """A row of a classification report."""

    precision: Share
    recall: Share
    f1: Share
    support: Annotated[int, Field(ge=1)]


SCORED = ("precision", "recall", "f1")
_COLUMN = 2
"""Where the place of a wrong score names its column."""


class Aim(BaseModel):
    """What targets and claims have in common.

    Attributes:
        title: Of the page.
        about: What is asked, in a few sentences.
        seeds: How many runs each arm has.
        first_seed: Of these; the others follow it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    about: Text
    seeds: int = Field(ge=2)
    first_seed: int = Field(0, ge=0)


class Target(Aim):
    """What is aimed at.

    Attributes:
        goal: What the mean of the first arm's accuracy is to reach.
        arms: By name, what each is trained with; the first is the one that the goal is for.
        most_parameters: That the model of the first arm may have, or None.
        most_minutes: That all runs together may take by the clock, side by side as they are trained, or None.
        search: The sweep that chose the first arm's recipe, or None.
    """

    goal: Share
    arms: dict[Text, Overrides] = Field(min_length=1)
    most_parameters: int | None = Field(None, ge=1)
    most_minutes: float | None = Field(None, gt=0)
    search: Text | None = None

    @property
    def ours(self) -> str:
        """The arm that the goal is for."""
        return next(iter(self.arms))


class Claim(Aim):
    """What was published.

    Attributes:
        source: Where.
        recipe: What is trained to check it, as on the command line.
        decimals: To how many the figures were rounded.
        accuracy: On the test images.
        classification_report: Precision, recall, f1 and support, by row: the names of classes, ``macro avg``,
            ``weighted avg``. Rows may be left out.
    """

    source: Text
    recipe: Overrides
    decimals: int = Field(ge=1, le=10)
    accuracy: Share
    classification_report: dict[Text, Scores] = Field(default_factory=dict)

    @field_validator("classification_report", mode="before")
    @classmethod
    def _named_by_text(cls, report: object) -> object:
        """Takes digits that name classes for their names, as YAML takes them for numbers."""
        return {str(row): scores for row, scores in report.items()} if isinstance(report, dict) else report

    @model_validator(mode="after")
    def _as_rounded(self) -> Self:
        """Checks that figures have no more digits than they were rounded to."""
        figures = {"accuracy": self.accuracy}
        for row, scores in self.classification_report.items():
            figures |= {f"classification_report.{row}.{name}": getattr(scores, name) for name in SCORED}
        for path, figure in figures.items():
            if abs(figure - round(figure, self.decimals)) > 1e-12:  # noqa: PLR2004 - an error of floating point
                raise ValueError(
                    f"{path}: expected at most {self.decimals} decimals, as it was rounded, got {figure!r}"
                )
        return self

    @property
    def arms(self) -> Mapping[str, tuple[str, ...]]:
        """The one that is trained."""
        return {RECIPE: self.recipe}


def experiments() -> list[str]:
    """Returns the names of the experiments here, sorted."""
    return sorted({file.parent.name for kind in (CLAIM, TARGET) for file in EXPERIMENTS.glob(f"*/{kind}")})


def find_aim(name: str) -> Path:
    """Returns the file of an experiment, from its name or the file's own path.

    Raises:
        ConfigError: If there is none.
    """
    given = name.endswith((".yaml", ".yml"))
    files = [Path(name)] if given else [EXPERIMENTS / name / kind for kind in (CLAIM, TARGET)]
    if found := next((file for file in files if file.is_file()), None):
        return found
    known = experiments()
    there = (
        f"{did_you_mean(name, known)} There are: {', '.join(known)}" if known else f" There are none in {EXPERIMENTS}"
    )
    missing = f"there is no {files[0]}" if given else f"there is neither {files[0]} nor {files[1]}"
    raise ConfigError(f"reproduce: there is no experiment {name!r}: {missing}.{there}")


def read_aim(file: Path) -> Target | Claim:
    """Reads what an experiment is held against: a target where the file has a goal or arms, else a claim.

    Raises:
        ConfigError: If the file can't be read or says something else; names every field that is wrong.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: expected YAML that says what is aimed at; it can't be read: {error}") from error
    kind = Target if isinstance(content, dict) and content.keys() & {"goal", "arms"} else Claim
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(*(_in_words(file, kind, problem) for problem in error.errors())) from error


def _in_words(file: Path, kind: type[Aim], problem: ErrorDetails) -> str:
    """Returns a line on what pydantic found: the dotted path, what is wrong, what came."""
    path = ".".join(map(str, _named(problem["loc"]))) or "the file"
    known = list(kind.model_fields)
    match problem["type"]:
        case "extra_forbidden":
            return f"{file}: {path}: there is no such field.{did_you_mean(path, known)} There are: {', '.join(known)}"
        case "missing":
            return f"{file}: {path}: is missing"
        case "value_error":  # of ours, which names its place
            return f"{file}: {problem['ctx']['error']}"
        case _:
            return f"{file}: {path}: {problem['msg']}, got {problem['input']!r}"


def _named(place: tuple[int | str, ...]) -> list[int | str]:
    """Returns a place with the names of the scores of a report's row, which are a list in the file."""
    in_report = place[:1] == ("classification_report",)
    return [
        Scores._fields[part] if in_report and number == _COLUMN and isinstance(part, int) else part
        for number, part in enumerate(place)
    ]
