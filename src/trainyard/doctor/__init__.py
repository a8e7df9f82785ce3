"""What is wrong on this machine, and how to mend it. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainyard.doctor.caches import check_data, check_leftovers, check_programs
from trainyard.doctor.disk import check_disk, check_git
from trainyard.doctor.finding import Finding, Sign, wrong
from trainyard.doctor.machine import check_cores, check_environment, check_gpu, check_memory
from trainyard.doctor.packages import check_plugins, check_versions
from trainyard.doctor.store import check_store
from trainyard.errors import in_one_line

__all__ = ["CHECKS", "Finding", "Sign", "examine", "mend"]

CHECKS = (
    check_versions,
    check_plugins,
    check_store,
    check_disk,
    check_data,
    check_programs,
    check_leftovers,
    check_cores,
    check_memory,
    check_environment,
    check_gpu,
    check_git,
)
"""All checks, in the order in which their findings of one sign are told."""


def examine() -> list[Finding]:
    """Returns what all checks find in the working directory and its environment, the worst first."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as error:  # noqa: BLE001 - one that breaks down must not keep the others from being asked
            name = check.__name__.removeprefix("check_")
            said = f"{type(error).__name__}: {in_one_line(error)}"
            findings.append(wrong(name, f"it could not be checked: {said}", "mend this first, and look again"))
    return sorted(findings, key=lambda finding: list(Sign).index(finding.sign))


def mend(findings: Iterable[Finding]) -> Iterator[tuple[bool, str]]:
    """Mends what can be mended.

    Yields:
        For each thing whether it is mended, and a line that says what was done, or why it could not be.
    """
    for finding in findings:
        if finding.mend:
            try:
                yield from ((True, line) for line in finding.mend())
            except Exception as error:  # noqa: BLE001 - the others can still be mended
                yield False, f"{finding.check}: {in_one_line(error)}"
