"""``trainyard doctor``: prints problems of this machine with their remedies, and fixes them on request."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

_STYLES = {"wrong": "bold red", "note": "yellow", "ok": "green"}
_SEVERITY_WIDTH, _CHECK_WIDTH = 7, 13
_ROUNDS = 3
"""How often fixes are applied: one may reveal more problems, for example in a store that is readable again."""


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix what can be fixed automatically; without it, nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Check this machine, the caches and the tracking store for problems, and suggest fixes."""
    from trainyard.doctor import FIX_COMMAND, Severity, apply_fixes, run_checks

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
            severity = Text(f"{finding.severity:{_SEVERITY_WIDTH}}", style=_STYLES[finding.severity])
            console.print(Text.assemble(severity, (f"{finding.check:{_CHECK_WIDTH}}", "bold"), finding.message))
            if finding.remedy:
                console.print(Text(" " * (_SEVERITY_WIDTH + _CHECK_WIDTH) + "-> " + finding.remedy, style="cyan"))
        console.print(Text(f"\nproblems: {wrong}, notes: {notes}" if wrong or notes else "\nNo problems found"))
        if fixable := sum(finding.fix is not None for finding in findings):
            console.print(Text(f"{FIX_COMMAND} can fix {fixable} of these"))
    return int(wrong > 0 or not all(fixes.values()))
