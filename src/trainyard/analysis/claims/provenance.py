"""Where the runs of a record were made: read from what each run left, not from who writes the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Ledger
from trainyard.system.environment import REPORTED_PACKAGES
from trainyard.tracking import read_account


def describe_runs(sweeps: Sequence[SweepFolder], command: str) -> dict[str, Any]:
    """Returns when, on what and with what the runs of finished sweeps were made, as `origin.describe_origin` does.

    Args:
        sweeps: Of which all trials are done.
        command: What makes them again.

    Returns:
        That of the first run; under ``mixed`` a line for all that was not the same for all of them.
    """
    ledgers = [Ledger(sweep.ledger) for sweep in sweeps]
    accounts = [
        (ledger, trial.number) for ledger, sweep in zip(ledgers, sweeps, strict=True) for trial in sweep.read_trials()
    ]
    results = [result for ledger, number in accounts if (result := ledger.account(number).result)]
    origins = [_origin_of(Path(result.folder)) for result in results]
    seconds = sum(session.seconds for ledger in ledgers for session in ledger.sessions)
    return {
        "date": f"{datetime.fromtimestamp(min(one['started'] for one in origins) / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "commit": origins[0]["commit"],
        "dirty": any(one["dirty"] for one in origins),
        "machine": origins[0]["machine"],
        "versions": origins[0]["versions"],
        "mixed": list(_mixed(origins)),
        "seconds": seconds,
    }


def _origin_of(folder: Path) -> dict[str, Any]:
    account = read_account(folder)
    machine = json.loads((folder / "environment" / "machine.json").read_text())
    lines = (folder / "environment" / "versions.txt").read_text().splitlines()
    versions = dict(line.split("==", 1) for line in lines)
    return {
        "started": account.started,
        "commit": account.tags.get("mlflow.source.git.commit"),
        "dirty": account.tags.get("git.dirty") == "true",
        "machine": {name: value for name, value in machine.items() if name != "host"},
        "versions": {name: versions[name] for name in REPORTED_PACKAGES if name in versions},
    }


def _mixed(origins: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each thing that was not the same for all runs."""
    flat = [{"commit": one["commit"], **one["machine"], **one["versions"]} for one in origins]
    found = {name: list(dict.fromkeys(json.dumps(one.get(name)) for one in flat)) for name in flat[0]}
    return [f"{name}: {', '.join(values)}" for name, values in found.items() if len(values) > 1]
