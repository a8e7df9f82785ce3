"""``trainyard doctor``: what is wrong on this machine, what to do about it, and on demand the doing."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from trainyard.doctor import Finding, Sign, examine, mend
from trainyard.doctor.finding import FIX

_STYLES = {Sign.WRONG: "bold red", Sign.NOTE: "yellow", Sign.OK: "green"}
_SIGN_WIDTH, _CHECK_WIDTH = 7, 13
_OUTCOMES = {"fixed": True, "not_fixed": False}
_ROUNDS = 3
"""How often to look again: what is mended first may bring more to light, as a store that can be read again."""


def doctor_command(*, fix: bool, as_json: bool) -> int:
    """Prints what was found, the worst first.

    Args:
        fix: Whether to mend first what can be mended; what was done is said, then the state after it.
        as_json: Whether to print one JSON object instead of lines.

    Returns:
        The exit code: 1 where something is wrong or could not be mended, else 0.
    """
    console = Console(soft_wrap=True, highlight=False, quiet=as_json)
    findings = examine()
    done: dict[str, bool] = {}
    for _ in range(_ROUNDS if fix else 0):
        news = {line: mended for mended, line in mend(findings) if line not in done}
        for line, mended in news.items():
            console.print((Text("fixed  ", "bold green") if mended else Text("failed ", "bold red")) + Text(line))
        done |= news
        findings = examine()
        if not any(news.values()):
            break
    if done:
        console.print()
    if as_json:
        told = {name: [line for line in done if done[line] is mended] for name, mended in _OUTCOMES.items()}
        typer.echo(json.dumps(_as_data(findings) | told, indent=2))
    else:
        _print(console, findings)
    return int(_count(findings, Sign.WRONG) > 0 or not all(done.values()))


def _print(console: Console, findings: Sequence[Finding]) -> None:
    for finding in findings:
        sign = Text(f"{finding.sign:{_SIGN_WIDTH}}", style=_STYLES[finding.sign])
        console.print(Text.assemble(sign, (f"{finding.check:{_CHECK_WIDTH}}", "bold"), finding.found))
        if finding.remedy:
            console.print(Text(" " * (_SIGN_WIDTH + _CHECK_WIDTH) + "-> " + finding.remedy, style="cyan"))
    wrong, notes = _count(findings, Sign.WRONG), _count(findings, Sign.NOTE)
    console.print(Text(f"\n{wrong} wrong, {notes} to note" if wrong or notes else "\nAll is well"))
    if fixable := sum(finding.mend is not None for finding in findings):
        console.print(Text(f"{FIX} mends {fixable} of these"))


def _as_data(findings: Sequence[Finding]) -> dict[str, object]:
    told = [
        {
            "sign": finding.sign,
            "check": finding.check,
            "found": finding.found,
            "remedy": finding.remedy,
            "fixable": finding.mend is not None,
        }
        for finding in findings
    ]
    return {"wrong": _count(findings, Sign.WRONG), "notes": _count(findings, Sign.NOTE), "findings": told}


def _count(findings: Sequence[Finding], sign: Sign) -> int:
    return sum(finding.sign is sign for finding in findings)
