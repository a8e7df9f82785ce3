"""Specifications of experiments: a target that the project sets, or a published claim. Loaded from YAML and validated.

``docs/reproduce.md`` describes the format of both: ``target.yaml`` and ``claim.yaml`` in ``experiments/<name>``.
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

from trainyard.config import format_suggestion, get_override_key
from trainyard.errors import ConfigError

EXPERIMENTS = Path("experiments")
TARGET_FILE, CLAIM_FILE = "target.yaml", "claim.yaml"
RECIPE = "recipe"
"""The name of the only arm of a claim."""
_EXECUTION = ("hydra", "tracking", "dataset.path", "dataset.mirrors", "training.threads")
"""Settings of where and how runs are executed, which do not change what is trained."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Overrides = Annotated[tuple[Text, ...], Field(min_length=1)]
Decimals = Annotated[int, Field(ge=1, le=10)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Scores(NamedTuple):
    """The scores in one row of a classification report."""

    precision: Fraction
    recall: Fraction
    f1: Fraction
    support: Annotated[int, Field(ge=1)]


SCORE_NAMES = ("precision", "recall", "f1")


class ExperimentSpec(BaseModel):
    """The fields that targets and claims have in common. The runs of an arm have the seeds from `first_seed` on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Text
    about: Text
    seeds: int = Field(ge=2)
    first_seed: int = Field(0, ge=0)


class Target(ExperimentSpec):
    """A target that the first arm of an experiment has to reach."""

    goal: Fraction
    arms: dict[Text, Overrides] = Field(min_length=1)
    most_parameters: int | None = Field(None, ge=1)
    most_minutes: float | None = Field(None, gt=0)
    search: Text | None = None

    @property
    def main_arm_name(self) -> str:
        """The name of the arm that the target applies to."""
        return next(iter(self.arms))


class Claim(ExperimentSpec):
    """A published result.

    Rows of the report are named after the classes, or ``macro avg`` and ``weighted avg``. Rows may be omitted.
    `decimals` is the number of decimals of all figures that are not in `decimals_by_figure`. Figures are named
    ``accuracy``, or by a row and a column of the report: ``3 f1``.
    """

    source: Text
    recipe: Overrides
    decimals: Decimals
    decimals_by_figure: dict[Text, Decimals] = Field(default_factory=dict)
    accuracy: Fraction
    classification_report: dict[Text, Scores] = Field(default_factory=dict)

    @field_validator("classification_report", "decimals_by_figure", mode="before")
    @classmethod
    def _convert_names(cls, content: object) -> object:
        """Converts names of rows and figures to text, because YAML reads class names such as ``3`` as numbers."""
        return {str(name): value for name, value in content.items()} if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _check_rounding(self) -> Self:
        """Raises ValueError if a figure has too many decimals, or `decimals_by_figure` has an unknown figure."""
        figures = {"accuracy": ("accuracy", self.accuracy)}
        for row, scores in self.classification_report.items():
            for name in SCORE_NAMES:
                figures[f"{row} {name}"] = (f"classification_report.{row}.{name}", getattr(scores, name))
        for figure in self.decimals_by_figure:
            if figure not in figures:
                raise ValueError(
                    f"decimals_by_figure.{figure}: unknown figure.{format_suggestion(figure, figures)} "
                    f"Available: {', '.join(figures)}"
                )
        for figure, (path, value) in figures.items():
            decimals = self.get_decimals(figure)
            setting = f"decimals_by_figure.{figure}" if figure in self.decimals_by_figure else "decimals"
            if abs(value - round(value, decimals)) > 1e-12:  # noqa: PLR2004 - floating-point tolerance
                raise ValueError(
                    f"{path}: expected at most {decimals} decimals (the value of {setting}), got {value!r}. If this "
                    "figure was published with more decimals, set them in decimals_by_figure"
                )
        return self

    def get_decimals(self, figure: str) -> int:
        """Returns the number of decimals to which a figure was rounded."""
        return self.decimals_by_figure.get(figure, self.decimals)

    @property
    def arms(self) -> Mapping[str, tuple[str, ...]]:
        """The overrides of the only arm, by name."""
        return {RECIPE: self.recipe}


def changes_recipe(override: str) -> bool:
    """Returns whether an override changes what is trained, and not only where and how runs are executed."""
    key = get_override_key(override)
    return not any(f"{key}.".startswith(f"{path}.") or key.startswith(f"{path}/") for path in _EXECUTION)


def list_experiments() -> list[str]:
    """Returns the sorted names of the experiments in the working directory."""
    return sorted(
        {file.parent.name for file_name in (CLAIM_FILE, TARGET_FILE) for file in EXPERIMENTS.glob(f"*/{file_name}")}
    )


def find_spec(name: str) -> Path:
    """Returns the path of an experiment's claim or target, given the experiment's name or the path itself.

    Raises:
        ConfigError: If the file does not exist.
    """
    is_path = name.endswith((".yaml", ".yml"))
    files = [Path(name)] if is_path else [EXPERIMENTS / name / file_name for file_name in (CLAIM_FILE, TARGET_FILE)]
    if existing := next((file for file in files if file.is_file()), None):
        return existing
    experiments = list_experiments()
    available = (
        f"{format_suggestion(name, experiments)} Available: {', '.join(experiments)}"
        if experiments
        else f" {EXPERIMENTS}/ has none"
    )
    missing = f"{files[0]} does not exist" if is_path else f"neither {files[0]} nor {files[1]} exists"
    raise ConfigError(f"reproduce: unknown experiment {name!r}: {missing}.{available}")


def load_spec(file: Path) -> Target | Claim:
    """Loads the specification of an experiment: a target if the file has a goal or arms, otherwise a claim.

    Raises:
        ConfigError: If the file cannot be read or is invalid; reports every invalid field.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: expected a claim or a target in YAML; cannot read the file: {error}") from error
    spec_class = Target if isinstance(content, dict) and content.keys() & {"goal", "arms"} else Claim
    try:
        return spec_class.model_validate(content)
    except ValidationError as error:
        raise ConfigError(*(_format_problem(file, spec_class, problem) for problem in error.errors())) from error


def _format_problem(file: Path, spec_class: type[ExperimentSpec], problem: ErrorDetails) -> str:
    """Returns pydantic's error as one line: the file, the dotted path, the problem, and the value received."""
    in_report = problem["loc"][:1] == ("classification_report",)  # there, a number is the column of a row
    names = (Scores._fields[part] if in_report and isinstance(part, int) else str(part) for part in problem["loc"])
    path = ".".join(names) or "the file"
    fields = list(spec_class.model_fields)
    match problem["type"]:
        case "extra_forbidden":
            return f"{file}: {path}: unknown field.{format_suggestion(path, fields)} Available: {', '.join(fields)}"
        case "missing":
            return f"{file}: {path}: this field is required"
        case "value_error":  # raised by Claim; its message already has the path
            return f"{file}: {problem['ctx']['error']}"
        case _:
            return f"{file}: {path}: {problem['msg']}, got {problem['input']!r}"
