"""``trainyard doctor``: prints problems of this machine with their remedies, and fixes them on request."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from trainyard.doctor import FIX_COMMAND, Finding, Severity, apply_fixes, run_checks

_STYLES = {Severity.WRONG: "bold red", Severity.NOTE: "yellow", Severity.OK: "green"}
_SEVERITY_WIDTH, _CHECK_WIDTH = 7, 13
_OUTCOMES = {"fixed": True, "not_fixed": False}
_ROUNDS = 3
"""How often fixes are applied: one may reveal more problems, for example in a store that is readable again."""


def doctor_command(*, fix: bool, as_json: bool) -> int:
    """Prints the findings, the worst first.

    Args:
        fix: Whether to fix first what can be fixed automatically; the fixes are printed before the findings.
        as_json: Whether to print one JSON object instead of lines.

    Returns:
        The exit code: 1 if a problem remains or a fix failed, else 0.
    """
    console = Console(soft_wrap=True, highlight=False, quiet=as_json)
    findings = run_checks()
    fixes: dict[str, bool] = {}
    for _ in range(_ROUNDS if fix else 0):
        new_fixes = {line: succeeded for succeeded, line in apply_fixes(findings) if line not in fixes}
        for line, succeeded in new_fixes.items():
            console.print((Text("fixed  ", "bold green") if succeeded else Text("failed ", "bold red")) + Text(line))
        fixes |= new_fixes
        findings = run_checks()
        if not any(new_fixes.values()):
            break
    if fixes:
        console.print()
    if as_json:
        outcomes = {name: [line for line in fixes if fixes[line] is succeeded] for name, succeeded in _OUTCOMES.items()}
        typer.echo(json.dumps(_build_json(findings) | outcomes, indent=2))
    else:
        _print_findings(console, findings)
    return int(_count_findings(findings, Severity.WRONG) > 0 or not all(fixes.values()))


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Prints each finding with its remedy, then the numbers of problems, notes and automatic fixes."""
    for finding in findings:
        severity = Text(f"{finding.severity:{_SEVERITY_WIDTH}}", style=_STYLES[finding.severity])
        console.print(Text.assemble(severity, (f"{finding.check:{_CHECK_WIDTH}}", "bold"), finding.message))
        if finding.remedy:
            console.print(Text(" " * (_SEVERITY_WIDTH + _CHECK_WIDTH) + "-> " + finding.remedy, style="cyan"))
    wrong, notes = _count_findings(findings, Severity.WRONG), _count_findings(findings, Severity.NOTE)
    console.print(Text(f"\nproblems: {wrong}, notes: {notes}" if wrong or notes else "\nNo problems found"))
    if fixable := sum(finding.fix is not None for finding in findings):
        console.print(Text(f"{FIX_COMMAND} can fix {fixable} of these"))


def _build_json(findings: Sequence[Finding]) -> dict[str, object]:
    """Returns the findings and the numbers of problems and notes in the form of the JSON output."""
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
    return {
        "wrong": _count_findings(findings, Severity.WRONG),
        "notes": _count_findings(findings, Severity.NOTE),
        "findings": records,
    }


def _count_findings(findings: Sequence[Finding], severity: Severity) -> int:
    """Returns the number of findings with this severity."""
    return sum(finding.severity is severity for finding in findings)
