"""The reference of the config as a page for people, in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from trainyard.config.reference.fields import FieldDoc, SectionDoc, VariationDoc
from trainyard.config.registry import registered_metrics
from trainyard.config.validation import describe_type
from trainyard.models.layers import LAYERS, required_arguments

_FEW = 6
"""So many choices stand in a table's cell; more stand beneath the table."""

_SHORT = 60
"""So many characters of a default, too."""

_INTRODUCTION = """\
# The config, field by field

Everything that a run depends on is a field with a default. Say only what you want otherwise, on the command line or in
a recipe:

```sh
trainyard train model=cnn optimizer=adamw optimizer.learning_rate=0.002 training.epochs=20
```

`model=cnn` chooses what stands in a section; `optimizer.learning_rate=0.002` sets a field, by the dotted path that it
has below. In a recipe the same is written as

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

`null` is YAML's word for nothing. Lists go in brackets, and in quotes where a shell would take them for a pattern:
`'model.hidden_units=[512,256]'`. A section has the fields of what was chosen for it, and no others.

This page is what `trainyard config schema` prints. Components of your own plugins, and variations and recipes of your
own in `./conf`, are told there too.
"""


def render_page(config: SectionDoc, recipes: Iterable[VariationDoc]) -> str:
    """Returns the reference as Markdown: a table of contents, then a table of fields for each section.

    Args:
        config: The whole config; see `describe_config`.
        recipes: See `describe_recipes`.
    """
    blocks = [
        _INTRODUCTION.rstrip(),
        "## Contents",
        _contents(config.sections),
        "## The run",
        "What stands at the top, in no section.",
        *_fields(config.fields),
    ]
    for section in config.sections:
        blocks += _section(section)
    blocks += ["## Recipes", "Whole experiments, `trainyard train experiment=NAME`."]
    blocks.append(_table(["`experiment=`", "what it is"], ([f"`{doc.name}`", doc.purpose] for doc in recipes)))
    blocks += _layers()
    return "\n\n".join(blocks) + "\n"


def _contents(sections: Iterable[SectionDoc]) -> str:
    rows = [[_link("The run"), "its name, seed and notes, and what it goes on from", ""]]
    rows += [[_link(section.name), section.purpose, _code(section.choices)] for section in sections]
    rows.append([_link("Recipes"), "whole experiments", ""])
    rows.append([_link("Layers"), "what `model.layers` of `model=sequential` may list", ""])
    return _table(["section", "what it says", "choices"], rows)


def _section(section: SectionDoc) -> Iterator[str]:
    yield f"## {section.name}"
    yield section.purpose
    if section.components:
        yield from _components(section)
    else:
        yield from _fields(section.fields)
        yield from _variations(section)
    for inner in section.sections:
        yield f"### {inner.path}"
        yield inner.purpose
        yield from _fields(inner.fields)


def _components(group: SectionDoc) -> Iterator[str]:
    rows = []
    for component in group.components:
        title = f"{group.name}={component.name}"
        cell = f"[`{component.name}`](#{_anchor(title)})" if group.own_fields(component) else f"`{component.name}`"
        rows.append([cell + (" (default)" if component.name == group.chosen else ""), component.purpose])
    yield _table([f"`{group.name}=`", "what it is"], rows)
    yield from _variations(group)
    if group.fields:
        yield "Fields that all of them have:"
        yield from _fields(group.fields)
    for component in group.components:
        if fields := group.own_fields(component):
            yield f"### {group.name}={component.name}"
            yield component.purpose
            common = {doc.name for doc in group.fields} & {doc.name for doc in fields}
            if common:
                yield f"Otherwise than in the others: {_code(sorted(common))}."
            yield from _fields(fields)


def _variations(section: SectionDoc) -> Iterator[str]:
    """Says which YAML files may be chosen too, and what they set."""
    rows = []
    for variation in section.variations:
        values = [f"{path}={_value(value)}" for path, value in variation.values.items()]
        what = f"`{section.path}={variation.component}`" if variation.component else ""
        settings = ", ".join(filter(None, [what, _code(values)])) or "the defaults"
        rows.append([f"`{variation.name}`", variation.purpose, settings])
    if rows:
        yield "YAML files that may be chosen too:"
        yield _table([f"`{section.path}=`", "what it is", "stands for"], rows)


def _fields(fields: Iterable[FieldDoc]) -> Iterator[str]:
    """Yields the table of fields, and beneath it what is too long for a cell."""
    rows, notes = [], []
    for doc in fields:
        words = describe_type(doc.kind, doc.rule)
        listed = ", ".join(doc.rule.choices)
        if listed and len(doc.rule.choices) <= _FEW:
            words = words.replace(listed, _code(doc.rule.choices))
        elif listed:
            words = words.replace(f"one of {listed}", f"one of {len(doc.rule.choices)} names, below")
            notes.append(f"`{doc.path}` is one of {_code(doc.rule.choices)}.")
        if doc.rule.holds == "layers":
            words = words.replace("layers", _link("layers"))
        if doc.rule.holds == "metrics":
            notes.append(f"`{doc.path}` may name {_code(sorted(registered_metrics()))}.")
        default = f"`{_value(doc.default)}`"
        if len(default) > _SHORT:
            notes.append(f"`{doc.path}` is {default} when nothing is said.")
            default = "below"
        rows.append([f"`{doc.path}`", words, default, doc.meaning])
    if rows:
        yield _table(["field", "type and range", "default", "meaning"], rows)
    yield from notes


def _layers() -> Iterator[str]:
    yield "## Layers"
    yield (
        "The layers of Keras that `model.layers` may list, with the arguments that Keras gives them; those in **bold** "
        "can't be left out. What arguments take stands beneath."
    )
    rows = []
    for layer, arguments in LAYERS.items():
        needed = required_arguments(layer)
        cells = [f"**`{name}`**" for name in needed] + [f"`{name}`" for name in arguments if name not in needed]
        rows.append([f"`{layer}`", ", ".join(cells)])
    yield _table(["layer", "arguments"], rows)
    yield _table(["arguments", "what they take"], _kinds_of_arguments())


def _kinds_of_arguments() -> Iterator[list[str]]:
    """Yields a row per kind: the arguments that take it, each with its layers where others of its name take another."""
    layers_by_kind: dict[str, dict[str, list[str]]] = {}
    for layer, arguments in LAYERS.items():
        for name, kind in arguments.items():
            layers_by_kind.setdefault(kind.words, {}).setdefault(name, []).append(layer)
    usual = {
        name: max(len(names.get(name, [])) for names in layers_by_kind.values())
        for arguments in LAYERS.values()
        for name in arguments
    }
    for words, names in layers_by_kind.items():
        cells = [
            f"`{name}`" + (f" (of {_code(layers)})" if len(layers) < usual[name] else "")
            for name, layers in sorted(names.items())
        ]
        yield [", ".join(cells), words]


# ---------------------------------------------------------------------------------------------------------------
# Markdown


def _table(titles: list[str], rows: Iterable[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([_in_a_row(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _in_a_row(text: str) -> str:
    """Returns text that stays in its cell and is no HTML, outside of code."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _link(title: str) -> str:
    return f"[{title}](#{_anchor(title)})"


def _anchor(title: str) -> str:
    """Returns what the heading is called in an address, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _value(value: Any) -> str:  # noqa: ANN401 - any value of a config
    """Returns a value as one writes it in YAML, on one line."""
    if isinstance(value, (list, dict)):
        return yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False).strip()
    return value if isinstance(value, str) and value else json.dumps(value)
