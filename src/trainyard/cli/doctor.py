"""``trainyard doctor``: prints problems of this machine with their remedies, and fixes them on request."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from trainyard.system import print_next_steps, print_styled, print_wrapped

if TYPE_CHECKING:
    from trainyard.doctor import Finding

_STYLES = {"wrong": "bold red", "note": "yellow", "ok": "green"}
_SEVERITY_WIDTH, _CHECK_WIDTH = 7, 13
_WIDE = 70
"""The width of a terminal, in characters, from which messages are printed beside the name of their check."""
_ROUNDS = 3
"""How often fixes are applied: one may reveal more problems, for example in a store that is readable again."""


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed automatically; without it, nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Check this machine, the caches and the tracking store for problems, and suggest fixes.

    Examples:
      trainyard doctor
      trainyard doctor --fix
    """
    from trainyard.doctor import FIX_COMMAND, Severity, apply_fixes, run_checks

    console = Console(highlight=False, quiet=as_json)
    findings = run_checks()
    fixes: dict[str, bool] = {}
    for _ in range(_ROUNDS if fix else 0):
        new_fixes = {line: succeeded for succeeded, line in apply_fixes(findings) if line not in fixes}
        for line, succeeded in new_fixes.items():
            label = Text("fixed  ", "bold green") if succeeded else Text("failed ", "bold red")
            print_wrapped(console, Text(line), label)
        fixes |= new_fixes
        findings = run_checks()
        if not any(new_fixes.values()):
            break
    if fixes:
        console.print()
    counts = Counter(finding.severity for finding in findings)
    wrong, notes = counts[Severity.WRONG], counts[Severity.NOTE]
    if as_json:
        records = [
            {
                "sign": finding.severity,
                "check": finding.check,
                "found": finding.message,
                "remedy": finding.remedy,
                "fixable": finding.fix is not None,
            }
            for finding in findings
        ]
        report = {
            "wrong": wrong,
            "notes": notes,
            "findings": records,
            "fixed": [line for line, succeeded in fixes.items() if succeeded],
            "not_fixed": [line for line, succeeded in fixes.items() if not succeeded],
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        for finding in findings:
            _print_finding(console, finding)
        print_styled(f"\nproblems: {wrong}, notes: {notes}" if wrong or notes else "\nNo problems found")
        if fixable := sum(finding.fix is not None for finding in findings):
            print_styled(f"{fixable} of these can be fixed automatically")
            print_next_steps({"fix": FIX_COMMAND})
        elif not wrong:
            print_next_steps({"train": "trainyard train experiment=quickstart"})
    return int(wrong > 0 or not all(fixes.values()))


def _print_finding(console: Console, finding: Finding) -> None:
    """Prints a finding, and what to do about it. In a narrow terminal, the lines of a message are not indented far."""
    severity = Text(f"{finding.severity:{_SEVERITY_WIDTH}}", style=_STYLES[finding.severity])
    check = Text(f"{finding.check:{_CHECK_WIDTH}}", "bold")
    indent = Text(" " * (_SEVERITY_WIDTH + _CHECK_WIDTH))
    if console.is_terminal and console.width < _WIDE:
        print_wrapped(console, Text(finding.check, "bold"), severity)
        print_wrapped(console, Text(finding.message), Text("  "))
        indent = Text("  ")
    else:
        print_wrapped(console, Text(finding.message), Text.assemble(severity, check))
    if finding.remedy:
        print_wrapped(console, Text(finding.remedy, "cyan"), Text.assemble(indent, ("-> ", "cyan")))
