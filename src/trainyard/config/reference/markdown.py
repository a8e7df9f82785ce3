"""Renders the config reference as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from trainyard.config.fields import describe_type
from trainyard.config.reference.description import FieldDoc, LayerDoc, SectionDoc
from trainyard.config.registry import get_registered_metrics

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


def render_config_page(config: SectionDoc, layers: Sequence[LayerDoc]) -> str:
    """Returns the config reference as Markdown: a table of contents, then a table of fields for each section."""
    contents = [
        ["The run", "Name, seed and notes of the run, and the run to resume.", ""],
        *([section.name, section.summary, _format_code(section.choices)] for section in config.sections),
        ["Recipes", "Complete experiments.", ""],
        ["Layers", "Layers and arguments for `model.layers` of `model=sequential`.", ""],
    ]
    blocks = [
        _INTRODUCTION.rstrip(),
        "## Contents",
        _render_table(["section", "description", "choices"], ([_format_link(row[0]), *row[1:]] for row in contents)),
        "## The run",
        "Fields at the top level, outside of all sections.",
        *_render_fields(config.fields),
        *(block for section in config.sections for block in _render_section(section)),
        "## Recipes",
        "Complete experiments. Run one with `trainyard train experiment=NAME`.",
        _render_table(["`experiment=`", "description"], ([f"`{doc.name}`", doc.summary] for doc in config.variations)),
        *_render_layers(layers),
    ]
    return "\n\n".join(blocks) + "\n"


def _render_section(section: SectionDoc) -> Iterator[str]:
    """Yields the Markdown blocks of a section: its components or fields, its YAML files, and its nested sections."""
    yield f"## {section.name}\n\n{section.summary}"
    specific_fields = {
        component: [doc for doc in component.fields if doc not in section.fields] for component in section.components
    }
    if section.components:
        rows = []
        for component, fields in specific_fields.items():
            link = _format_link(f"{section.name}={component.name}", f"`{component.name}`")
            default = " (default)" if component.name == section.default_choice else ""
            rows.append([(link if fields else f"`{component.name}`") + default, component.summary])
        yield _render_table([f"`{section.name}=`", "description"], rows)
    else:
        yield from _render_fields(section.fields)
    if section.variations:
        yield "Variants that are defined in YAML files:"
        yield _render_table([f"`{section.path}=`", "description", "equivalent to"], _build_variation_rows(section))
    if section.components and section.fields:
        yield "Fields of every component:"
        yield from _render_fields(section.fields)
    for component, fields in specific_fields.items():
        if fields:
            yield f"### {section.name}={component.name}\n\n{component.summary}"
            if common := sorted({doc.name for doc in section.fields} & {doc.name for doc in fields}):
                yield f"Fields that differ from those of the other components: {_format_code(common)}."
            yield from _render_fields(fields)
    for inner in section.sections:
        yield f"### {inner.path}\n\n{inner.summary}"
        yield from _render_fields(inner.fields)


def _build_variation_rows(section: SectionDoc) -> Iterator[list[str]]:
    """Yields a row for each YAML file of a section, with the values that it sets."""
    for variation in section.variations:
        values = {section.path: variation.component, **variation.values} if variation.component else variation.values
        code = _format_code(f"{path}={_format_value(value)}" for path, value in values.items())
        yield [f"`{variation.name}`", variation.summary, code or "the defaults"]


def _render_fields(fields: Iterable[FieldDoc]) -> Iterator[str]:
    """Yields the table of fields, followed by notes with the values that are too long for a cell."""
    rows, notes = [], []
    for doc in fields:
        description, choices = describe_type(doc.annotation, doc.rule), doc.rule.choices
        listed = ", ".join(choices)
        if listed and len(choices) <= _MAX_CHOICES_IN_CELL:
            description = description.replace(listed, _format_code(choices))
        elif listed:
            description = description.replace(f"one of {listed}", f"one of {len(choices)} names (see below)")
            notes.append(f"Choices of `{doc.path}`: {_format_code(choices)}.")
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
    """Yields the table of the layers with their arguments, and the table of the values that arguments accept.

    In the second table, an argument whose type depends on the layer is followed by its layers, except in the row of its
    most common type.
    """
    yield "## Layers"
    yield (
        "This table lists the Keras layers for `model.layers`, with their arguments. Arguments in **bold** are "
        "required. The second table lists the values that arguments accept. The documentation of Keras explains them."
    )
    rows = []
    layers_by_type: dict[str, dict[str, list[str]]] = {}
    for layer in layers:
        optional = [name for name in layer.arguments if name not in layer.required]
        cells = [f"**`{name}`**" for name in layer.required] + [f"`{name}`" for name in optional]
        rows.append([f"`{layer.name}`", ", ".join(cells)])
        for name, argument_type in layer.arguments.items():
            layers_by_type.setdefault(argument_type.description, {}).setdefault(name, []).append(layer.name)
    yield _render_table(["layer", "arguments"], rows)
    rows = []
    for description, owners_by_name in layers_by_type.items():
        cells = []
        for name, owners in sorted(owners_by_name.items()):
            most_common = max(len(other.get(name, [])) for other in layers_by_type.values())
            cells.append(f"`{name}`" + (f" (of {_format_code(owners)})" if len(owners) < most_common else ""))
        rows.append([", ".join(cells), description])
    yield _render_table(["arguments", "accepted values"], rows)


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


def _format_link(title: str, text: str = "") -> str:
    """Returns a Markdown link to the heading with this title on the same page, whose anchor GitHub generates."""
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"[{text or title}](#{anchor})"


def _format_value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a value as YAML on one line."""
    if isinstance(value, (list, dict)):
        return yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False).strip()
    return value if isinstance(value, str) and value else json.dumps(value)
