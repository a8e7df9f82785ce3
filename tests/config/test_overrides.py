"""Tests of overrides as users type them: paths and texts with special characters, tags, and lists."""

from __future__ import annotations

import shlex

import pytest

from trainyard.config.compose import compose_config
from trainyard.config.overrides import normalize_overrides
from trainyard.errors import ConfigError

FOLDER = "dataset=image_folder"
TEXTS = [
    "~/birds", "vögel", "it's", "a(1)", "a b", "a=b", "a#b", "猫/é", "a\\b", "C:\\birds\\", "100%", "a&b", "a;b", "!x", "<x>",
    'a"b', "`x`", "^a", "1e3", "007", "1_000", "true", "NaN", "inf", "a(b)c(", "a]b", "a}b", "a\tb", "~",
]  # fmt: skip
"""Paths that Hydra's grammar refuses or would convert, and some that it accepts."""


@pytest.mark.parametrize("text", TEXTS)
def test_paths_and_texts_are_taken_literally(text):
    config = compose_config(
        [FOLDER, f"dataset.path={text}", f"notes={text}", f"tracking.tags.team={text}", f"resume={text}"]
    )
    assert [config.dataset.path, config.notes, config.tracking.tags["team"], config.resume] == [text] * 4
    normalized = normalize_overrides([f"notes={text}"])
    assert normalize_overrides(normalized) == normalized


@pytest.mark.parametrize("text", ["a,b", "[x]", "{x", "{a: b}", "'a", '"a', "it's, ok", "a(1),b", "${x", "[it's"])
def test_texts_with_several_meanings_are_refused_with_the_argument_to_type(text):
    with pytest.raises(ConfigError, match=r"^notes: expected ") as caught:
        compose_config([f"notes={text}"])
    (argument,) = shlex.split(str(caught.value).rpartition(", use ")[2])
    if "${" not in text:  # remains the start of an interpolation, also in quotes
        assert compose_config([argument]).notes == text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hidden_units[0]=64", "model.hidden_units[0]: expected a path with dots, got brackets. Use model.hidden_units.0=64"),
        ("training.epochs=it's", "training.epochs: expected an integer at least 1, got \"it's\""),
        ("dataset.mirrors=[it's]", "dataset.mirrors: expected a list of strings, got \"[it's]\". Quote texts that contain special characters"),
        ("training.xla=ö", "training.xla: expected one of auto, on, off, got 'ö'"),
        ("nowhere=it's", "Quote texts that contain special characters"),
    ],
)  # fmt: skip
def test_other_overrides_that_the_grammar_refuses_say_what_is_expected(override, message):
    with pytest.raises(ConfigError) as caught:
        compose_config(["dataset=mnist", override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["tracking.tags={team: x, n: 5}"],
        ["+tracking.tags={team: x, n: 5}"],
        ["tracking.tags.team=x", "tracking.tags.n=5"],
        ["+tracking.tags.team=y", "++tracking.tags.team=x", "tracking.tags.n=5"],
        ["tracking.tags={team: x}", "tracking.tags.n=5"],
    ],
)
def test_tags_are_set_with_and_without_a_plus(overrides):
    assert compose_config(overrides).tracking.tags == {"team": "x", "n": "5"}


def test_names_of_tags_can_contain_dots():
    overrides = ["tracking.tags.team.name=it's", "tracking.tags.team.size=5", "++tracking.tags.owner=ada"]
    expected = {"team.name": "it's", "team.size": "5", "owner": "ada"}
    assert (
        compose_config(overrides).tracking.tags
        == compose_config(normalize_overrides(overrides)).tracking.tags
        == expected
    )
