"""Renders the config reference as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from trainyard.config.reference.fields import FieldDoc, SectionDoc, VariationDoc
from trainyard.config.reference.layers import LayerDoc
from trainyard.config.registry import get_registered_metrics
from trainyard.config.validation import describe_type

_MAX_CHOICES_IN_CELL = 6
"""Maximum number of choices in a table cell. More choices are listed below the table."""

_MAX_DEFAULT_CHARACTERS = 60
"""Maximum length of a default value in a table cell. Longer defaults are written below the table."""

_INTRODUCTION = """\
# Config reference

A config contains all settings of a run. Each setting is a field with a default. Set only the fields that differ from
their default, on the command line or in a recipe:

```sh
trainyard train model=cnn optimizer=adamw optimizer.learning_rate=0.002 training.epochs=20
```

`model=cnn` selects the component of a section. `optimizer.learning_rate=0.002` sets a field by its dotted path, which
is listed below. The settings of this command in a recipe:

```yaml
# @package _global_
defaults:
  - override /model: cnn
  - override /optimizer: adamw
optimizer:
  learning_rate: 0.002
training:
  epochs: 20
```

`null` is the empty value of YAML; the tables describe what it means for each field. Write lists in brackets, and quote
them in a shell: `'model.hidden_units=[512,256]'`. In a section with several components, only the fields of the selected
component can be set.

This page is the output of `trainyard config schema`. If you run the command yourself, it also lists the components of
your plugins, and the YAML files in `./conf`.
"""


def render_config_page(config: SectionDoc, recipes: Iterable[VariationDoc], layers: Sequence[LayerDoc]) -> str:
    """Returns the config reference as Markdown: a table of contents, then a table of fields for each section.

    Args:
        config: The description of the complete config; see `describe_config`.
        recipes: The descriptions of the recipes; see `describe_recipes`.
        layers: The layers that ``model.layers`` may list.
    """
    blocks = [
        _INTRODUCTION.rstrip(),
        "## Contents",
        _render_contents(config.sections),
        "## The run",
        "Fields at the top level, outside of all sections.",
        *_render_fields(config.fields),
    ]
    for section in config.sections:
        blocks += _render_section(section)
    blocks += ["## Recipes", "Complete experiments. Run one with `trainyard train experiment=NAME`."]
    blocks.append(_render_table(["`experiment=`", "description"], ([f"`{doc.name}`", doc.summary] for doc in recipes)))
    blocks += _render_layers(layers)
    return "\n\n".join(blocks) + "\n"


def _render_contents(sections: Iterable[SectionDoc]) -> str:
    """Returns the table of contents: a row with a link for each section, the recipes and the layers."""
    rows = [[_format_link("The run"), "Name, seed and notes of the run, and the run to resume.", ""]]
    rows += [[_format_link(section.name), section.summary, _format_code(section.choices)] for section in sections]
    rows.append([_format_link("Recipes"), "Complete experiments.", ""])
    rows.append([_format_link("Layers"), "Layers and arguments for `model.layers` of `model=sequential`.", ""])
    return _render_table(["section", "description", "choices"], rows)


def _render_section(section: SectionDoc) -> Iterator[str]:
    """Yields the Markdown blocks of a section: its components or fields, its YAML files, and its nested sections."""
    yield f"## {section.name}"
    yield section.summary
    if section.components:
        yield from _render_components(section)
    else:
        yield from _render_fields(section.fields)
        yield from _render_variations(section)
    for inner in section.sections:
        yield f"### {inner.path}"
        yield inner.summary
        yield from _render_fields(inner.fields)


def _render_components(group: SectionDoc) -> Iterator[str]:
    """Yields the table of the components of a group, their common fields, and the specific fields of each."""
    rows = []
    for component in group.components:
        title = f"{group.name}={component.name}"
        cell = (
            f"[`{component.name}`](#{_build_anchor(title)})"
            if group.specific_fields(component)
            else f"`{component.name}`"
        )
        rows.append([cell + (" (default)" if component.name == group.default_choice else ""), component.summary])
    yield _render_table([f"`{group.name}=`", "description"], rows)
    yield from _render_variations(group)
    if group.fields:
        yield "Fields of every component:"
        yield from _render_fields(group.fields)
    for component in group.components:
        if fields := group.specific_fields(component):
            yield f"### {group.name}={component.name}"
            yield component.summary
            common = {doc.name for doc in group.fields} & {doc.name for doc in fields}
            if common:
                yield f"Fields that differ from those of the other components: {_format_code(sorted(common))}."
            yield from _render_fields(fields)


def _render_variations(section: SectionDoc) -> Iterator[str]:
    """Yields the table of the YAML files of a section, with the values that they set."""
    rows = []
    for variation in section.variations:
        values = [f"{path}={_format_value(value)}" for path, value in variation.values.items()]
        base = f"`{section.path}={variation.component}`" if variation.component else ""
        settings = ", ".join(filter(None, [base, _format_code(values)])) or "the defaults"
        rows.append([f"`{variation.name}`", variation.summary, settings])
    if rows:
        yield "Variants that are defined in YAML files:"
        yield _render_table([f"`{section.path}=`", "description", "equivalent to"], rows)


def _render_fields(fields: Iterable[FieldDoc]) -> Iterator[str]:
    """Yields the table of fields, followed by notes with the values that are too long for a cell."""
    rows, notes = [], []
    for doc in fields:
        description = describe_type(doc.annotation, doc.rule)
        listed = ", ".join(doc.rule.choices)
        if listed and len(doc.rule.choices) <= _MAX_CHOICES_IN_CELL:
            description = description.replace(listed, _format_code(doc.rule.choices))
        elif listed:
            description = description.replace(f"one of {listed}", f"one of {len(doc.rule.choices)} names (see below)")
            notes.append(f"Choices of `{doc.path}`: {_format_code(doc.rule.choices)}.")
        if doc.rule.elements == "layers":
            description = description.replace("layers", _format_link("layers"))
        if doc.rule.elements == "metrics":
            notes.append(f"Metrics for `{doc.path}`: {_format_code(sorted(get_registered_metrics()))}.")
        default = f"`{_format_value(doc.default)}`"
        if len(default) > _MAX_DEFAULT_CHARACTERS:
            notes.append(f"Default of `{doc.path}`: {default}.")
            default = "see below"
        rows.append([f"`{doc.path}`", description, default, doc.meaning])
    if rows:
        yield _render_table(["field", "type and range", "default", "meaning"], rows)
    yield from notes


def _render_layers(layers: Sequence[LayerDoc]) -> Iterator[str]:
    """Yields the table of the layers with their arguments, and the table of the values that arguments accept."""
    yield "## Layers"
    yield (
        "This table lists the Keras layers for `model.layers`, with their arguments. Arguments in **bold** are "
        "required. The second table lists the values that arguments accept. The documentation of Keras explains them."
    )
    rows = []
    for layer in layers:
        optional = [name for name in layer.arguments if name not in layer.required]
        cells = [f"**`{name}`**" for name in layer.required] + [f"`{name}`" for name in optional]
        rows.append([f"`{layer.name}`", ", ".join(cells)])
    yield _render_table(["layer", "arguments"], rows)
    yield _render_table(["arguments", "accepted values"], _build_argument_rows(layers))


def _build_argument_rows(layers: Sequence[LayerDoc]) -> Iterator[list[str]]:
    """Yields a row per type: its arguments.

    An argument whose type depends on the layer is followed by its layers, except in the row of its most common type.
    """
    layers_by_type: dict[str, dict[str, list[str]]] = {}
    for layer in layers:
        for name, argument_type in layer.arguments.items():
            layers_by_type.setdefault(argument_type.description, {}).setdefault(name, []).append(layer.name)
    most_common = {
        name: max(len(names.get(name, [])) for names in layers_by_type.values())
        for layer in layers
        for name in layer.arguments
    }
    for description, names in layers_by_type.items():
        cells = [
            f"`{name}`" + (f" (of {_format_code(owners)})" if len(owners) < most_common[name] else "")
            for name, owners in sorted(names.items())
        ]
        yield [", ".join(cells), description]


# ---------------------------------------------------------------------------------------------------------------
# Markdown


def _render_table(titles: list[str], rows: Iterable[list[str]]) -> str:
    """Returns a Markdown table. Special characters in the cells of `rows`, but not in `titles`, are escaped."""
    lines = [titles, ["---"] * len(titles), *([_escape_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape_cell(text: str) -> str:
    """Returns text with escaped pipes, and with escaped HTML outside of code."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def _format_code(words: Iterable[str]) -> str:
    """Returns the words as Markdown code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def _format_link(title: str) -> str:
    """Returns a Markdown link to the heading with this title on the same page."""
    return f"[{title}](#{_build_anchor(title)})"


def _build_anchor(title: str) -> str:
    """Returns the anchor of a heading, as GitHub generates it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _format_value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a value as YAML on one line."""
    if isinstance(value, (list, dict)):
        return yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False).strip()
    return value if isinstance(value, str) and value else json.dumps(value)
