"""Sweeps: plan, run, rank and report many trials that are started by one command."""

from trainyard.sweep.card import PAGE
from trainyard.sweep.folder import (
    SWEEPS,
    SweepFolder,
    check_definition,
    check_folder,
    find_sweep,
    list_sweeps,
    lock_sweep,
    move_aside,
    parse_trial_number,
)
from trainyard.sweep.labels import build_trial_label, shorten_keys
from trainyard.sweep.launch.devices import RAY_LAUNCHER, SLURM_LAUNCHER, allocate_slots
from trainyard.sweep.launch.job import report, request_answer
from trainyard.sweep.launch.launcher import ForkSettings, JobRunner, Multirun, open_jobs, open_ray_jobs, run_batch
from trainyard.sweep.launch.process_pool import start_fork_server
from trainyard.sweep.launch.ray_pool import RaySettings
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.listener import SweepListener
from trainyard.sweep.plan import SweepPlan, is_execution_override, make_plan
from trainyard.sweep.progress import NO_OBJECTIVE, SweepProgress, TrialState, TrialStatus, build_status
from trainyard.sweep.progress_file import EpochFile
from trainyard.sweep.pruner import OFF, TrialPruner
from trainyard.sweep.results import write_result
from trainyard.sweep.scheduler import SweepScheduler, TrialOutcomes
from trainyard.sweep.search import SearchQueue
from trainyard.sweep.smoke_test import build_architecture_key, smoke_test_architectures
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.status import SweepStatus, load_sweep_status
from trainyard.sweep.summary import (
    SweepResult,
    compute_cost,
    describe_sampling,
    describe_swept,
    rank_trials,
    summarize_sweep,
)
from trainyard.sweep.tracking import SweepTracker
from trainyard.sweep.warm_start import PriorSweep, load_prior_sweeps
from trainyard.sweep.winner_recipe import Winner

__all__ = [
    "NOT_DRAWN",
    "NO_OBJECTIVE",
    "OFF",
    "PAGE",
    "RAY_LAUNCHER",
    "SLURM_LAUNCHER",
    "SWEEPS",
    "EpochFile",
    "ForkSettings",
    "JobRunner",
    "Ledger",
    "Multirun",
    "PriorSweep",
    "RaySettings",
    "SearchQueue",
    "SweepFolder",
    "SweepListener",
    "SweepPlan",
    "SweepProgress",
    "SweepResult",
    "SweepScheduler",
    "SweepStatus",
    "SweepTracker",
    "TrialOutcomes",
    "TrialPruner",
    "TrialState",
    "TrialStatus",
    "Winner",
    "allocate_slots",
    "build_architecture_key",
    "build_status",
    "build_trial_label",
    "check_definition",
    "check_folder",
    "compute_cost",
    "describe_sampling",
    "describe_swept",
    "find_sweep",
    "is_execution_override",
    "list_sweeps",
    "load_prior_sweeps",
    "load_sweep_status",
    "lock_sweep",
    "make_plan",
    "move_aside",
    "open_jobs",
    "open_ray_jobs",
    "parse_trial_number",
    "rank_trials",
    "report",
    "request_answer",
    "run_batch",
    "shorten_keys",
    "smoke_test_architectures",
    "start_fork_server",
    "summarize_sweep",
    "write_result",
]
