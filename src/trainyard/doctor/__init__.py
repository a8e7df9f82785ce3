"""Checks this machine, the caches and the tracking store for problems, and fixes some of them on request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainyard.doctor.caches import check_data, check_decoded, check_leftovers, check_programs
from trainyard.doctor.disk import check_disk, check_git
from trainyard.doctor.finding import FIX_COMMAND, Finding, Severity, wrong
from trainyard.doctor.machine import check_cores, check_environment, check_gpu, check_memory
from trainyard.doctor.packages import check_plugins, check_versions
from trainyard.doctor.store import check_store
from trainyard.errors import summarize_error

__all__ = ["CHECKS", "FIX_COMMAND", "Finding", "Severity", "apply_fixes", "run_checks"]

CHECKS = (
    check_versions,
    check_plugins,
    check_store,
    check_disk,
    check_data,
    check_decoded,
    check_programs,
    check_leftovers,
    check_cores,
    check_memory,
    check_environment,
    check_gpu,
    check_git,
)
"""All checks. Findings with the same severity are reported in this order."""


def run_checks() -> list[Finding]:
    """Runs all checks in the working directory without changing anything, and returns their findings, worst first."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as error:  # noqa: BLE001 - the other checks must run even if one fails
            name = check.__name__.removeprefix("check_")
            reason = f"{type(error).__name__}: {summarize_error(error)}"
            findings.append(wrong(name, f"the check failed: {reason}", "fix this error, then run the check again"))
    return sorted(findings, key=lambda finding: list(Severity).index(finding.severity))


def apply_fixes(findings: Iterable[Finding]) -> Iterator[tuple[bool, str]]:
    """Applies the fixes of all findings that have one.

    Yields:
        For each fix whether it succeeded, and one line that describes the change, or the error.
    """
    for finding in findings:
        if finding.fix:
            try:
                yield from ((True, line) for line in finding.fix())
            except Exception as error:  # noqa: BLE001 - the other fixes can still succeed
                yield False, f"{finding.check}: {summarize_error(error)}"
