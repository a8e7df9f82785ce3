"""Provenance of a record: read from the folders of its runs, not from the machine that writes the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.sweep import Ledger, SweepFolder
from trainyard.system import REPORTED_PACKAGES
from trainyard.tracking import load_run_record, names


def collect_runs_provenance(sweeps: Sequence[SweepFolder], command: str) -> dict[str, Any]:
    """Returns the date, the commit, the machine and the package versions of the runs of finished sweeps.

    Args:
        sweeps: Sweeps whose trials are all finished.
        command: The command that repeats the runs.

    Returns:
        The provenance of the first run. ``mixed`` has one line for each value that
        differs between the runs; ``seconds`` is the wall-clock time of all sessions together.
    """
    ledgers = [Ledger(sweep.ledger) for sweep in sweeps]
    trials = [
        (ledger, trial.number) for ledger, sweep in zip(ledgers, sweeps, strict=True) for trial in sweep.read_trials()
    ]
    results = [result for ledger, number in trials if (result := ledger.get_trial_record(number).result)]
    runs = [_load_run_provenance(Path(result.folder)) for result in results]
    seconds = sum(session.seconds for ledger in ledgers for session in ledger.sessions)
    return {
        "date": f"{datetime.fromtimestamp(min(run['started'] for run in runs) / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "commit": runs[0]["commit"],
        "dirty": any(run["dirty"] for run in runs),
        "machine": runs[0]["machine"],
        "versions": runs[0]["versions"],
        "mixed": list(_find_mixed_values(runs)),
        "seconds": seconds,
    }


def _load_run_provenance(folder: Path) -> dict[str, Any]:
    """Loads start time (ms since 1970), commit, machine without host name, and package versions of a run."""
    record = load_run_record(folder)
    machine = json.loads((folder / "environment" / "machine.json").read_text())
    lines = (folder / "environment" / "versions.txt").read_text().splitlines()
    versions = dict(line.split("==", 1) for line in lines)
    return {
        "started": record.started,
        "commit": record.tags.get(names.GIT_COMMIT),
        "dirty": record.tags.get(names.GIT_DIRTY) == "true",
        "machine": {name: value for name, value in machine.items() if name != "host"},
        "versions": {name: versions[name] for name in REPORTED_PACKAGES if name in versions},
    }


def _find_mixed_values(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each value that is not the same for all runs."""
    flat = [{"commit": run["commit"], **run["machine"], **run["versions"]} for run in runs]
    values_by_name = {name: list(dict.fromkeys(json.dumps(run.get(name)) for run in flat)) for name in flat[0]}
    return [f"{name}: {', '.join(values)}" for name, values in values_by_name.items() if len(values) > 1]
