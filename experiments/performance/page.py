"""Renders the results page of the benchmark in Markdown."""

from __future__ import annotations

from experiments.performance.section import Section
from trainyard.reporting.markdown import Table
from trainyard.reporting.provenance import format_provenance

_OPENING = """\
# Performance

This page compares Trainyard with plain Keras scripts. The time of the matrix products alone is a lower bound of the
training time. `python -m experiments.performance` measures all results and generates this page from `results.json`,
which contains every raw measurement.

Other programs may run on the same machine, so absolute times vary. For this reason, the compared programs are measured
alternately, in rounds. Ratios and differences are computed within each round. The tables show their median over all
rounds, with the lower and upper quartile in parentheses.

Parts recorded before December 2026 name the benchmark's former command, `trainyard bench`, which is now
`python -m experiments.performance`.
"""


def render_page(sections: list[Section]) -> str:
    """Returns the page: the opening, a table of all goals, and a section per part."""
    blocks = [_OPENING]
    if goals_table := _render_goals(sections):
        blocks.append(f"## Goals\n\n{goals_table}\n")
    blocks += [_render_section(section) for section in sections]
    return "\n".join(blocks)


def _render_goals(sections: list[Section]) -> str:
    rows = [
        [f"{section.name}: {goal.description}", f"{goal.measured}{goal.unit}", goal.requirement, goal.verdict]
        for section in sections
        for goal in section.goals
    ]
    return Table(["part: quantity", "measured", "goal", "verdict"], rows).to_markdown() if rows else ""


def _render_section(section: Section) -> str:
    figure = [f"![{section.title}]({section.figure})"] if section.figure else []
    notes = ["\n".join(f"- {note}" for note in section.notes)] if section.notes else []
    tables = [table.to_markdown() for table in section.tables]
    warning = (
        ["**Quick check with small data: these times do not show how fast the programs are.**"]
        if section.provenance["quick"]
        else []
    )
    provenance = format_provenance(section.provenance)
    blocks = [f"## {section.title}", *warning, section.method, *tables, *notes, *figure, provenance]
    return "\n\n".join(blocks) + "\n"
