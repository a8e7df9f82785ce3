"""Sweeps: plan, run, rank and report many trials that are started by one command."""

from trainyard.sweep.card import PAGE
from trainyard.sweep.folder import SWEEPS, SweepFolder, find_sweep, list_sweeps
from trainyard.sweep.launch.hydra_launcher import run_batch
from trainyard.sweep.ledger import TrialState
from trainyard.sweep.listener import SweepBar, SweepCounts, SweepListener
from trainyard.sweep.plan import SweepPlan, is_execution_override, make_plan
from trainyard.sweep.progress import NO_OBJECTIVE, SweepProgress, TrialStatus, build_status
from trainyard.sweep.recorder import TrialOutcomes
from trainyard.sweep.run import allocate_slots_and_threads, check_plan, find_prior_sweeps, run_plan, run_sweep
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.status import SweepStatus, load_sweep_status
from trainyard.sweep.summary import SweepResult, compute_cost, describe_sampling, describe_swept, rank_trials
from trainyard.sweep.winner_recipe import Winner
