"""The page of a benchmark: a README in Markdown beside its results, generated from them.

Before it: layout. After it: session, which writes it.
"""

from __future__ import annotations

from typing import Any

from trainyard.bench.layout import Section, Table

_OPENING = """\
# Performance

Written by `trainyard bench` from `results.json`, which holds every raw number; nothing here was typed by hand.
Machines differ and are shared, so contestants take turns and what counts is the ratio within a turn: the median, with
the quartiles in brackets.
"""


def write_page(sections: list[Section]) -> str:
    """Returns the page."""
    blocks = [_OPENING]
    if goals := _goals(sections):
        blocks.append(f"## The goals\n\n{goals}\n")
    blocks += [_section(section) for section in sections]
    return "\n".join(blocks)


def _goals(sections: list[Section]) -> str:
    rows = [
        [f"{section.name}: {goal.what}", f"{goal.measured}{goal.unit}", goal.wanted, goal.verdict]
        for section in sections
        for goal in section.goals
    ]
    return table_in_markdown(Table(["what", "measured", "goal", "verdict"], rows)) if rows else ""


def _section(section: Section) -> str:
    picture = [f"![{section.title}]({section.picture})"] if section.picture else []
    notes = ["\n".join(f"- {note}" for note in section.notes)] if section.notes else []
    tables = [table_in_markdown(table) for table in section.tables]
    smoke = ["**A smoke run of tiny sizes: these figures say nothing about speed.**"] if section.about["quick"] else []
    return "\n\n".join(
        [f"## {section.title}", *smoke, section.how, *tables, *notes, *picture, origin(section.about)]
    ) + "\n"  # fmt: skip


def origin(about: dict[str, Any]) -> str:
    """Returns where and when a part was measured, in a paragraph."""
    machine, versions = about["machine"], about["versions"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = about["commit"] or "not in a git checkout"
    changes = ", with local changes" if about["dirty"] else ""
    return (
        f"Measured {about['date']} in {about['seconds']:.0f} s on {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {gpus}, {machine['platform']}, {machine['threads']} threads. "
        f"Python {machine['python']}, {packages}. Commit {commit}{changes}. Again: `{about['command']}`"
    )


def table_in_markdown(table: Table) -> str:
    """Returns a table in Markdown, figures aligned to the right."""
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    lines = [table.columns, rule, *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
