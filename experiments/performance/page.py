"""The page of a benchmark: a README in Markdown beside its results, generated from them."""

from __future__ import annotations

from experiments.performance.section import Section
from trainyard.reporting.markdown import Table
from trainyard.reporting.provenance import format_provenance

_OPENING = """\
# Performance

Written by `python -m experiments.performance` from `results.json`, which holds every raw number.
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
    return Table(["what", "measured", "goal", "verdict"], rows).to_markdown() if rows else ""


def _section(section: Section) -> str:
    picture = [f"![{section.title}]({section.picture})"] if section.picture else []
    notes = ["\n".join(f"- {note}" for note in section.notes)] if section.notes else []
    tables = [table.to_markdown() for table in section.tables]
    smoke = ["**A smoke run of tiny sizes: these figures say nothing about speed.**"] if section.about["quick"] else []
    return "\n\n".join(
        [f"## {section.title}", *smoke, section.how, *tables, *notes, *picture, format_provenance(section.about)]
    ) + "\n"  # fmt: skip
