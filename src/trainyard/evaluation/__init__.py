"""Evaluation of trained models: scores, calibration, statistics and rankings."""

from trainyard.evaluation import scoring
from trainyard.evaluation.calibration import Calibration
from trainyard.evaluation.intervals import estimate_difference, estimate_mean
from trainyard.evaluation.ranking import (
    CONFIDENCE_LEVEL,
    SIGNIFICANCE_LEVEL,
    TEST_METRICS,
    RankedPoint,
    Ranking,
    compare_first_two,
    count_decimals,
    higher_is_better,
    is_proportion,
    rank,
)
from trainyard.evaluation.scoring import EvalResult, evaluate
from trainyard.evaluation.trials import Trial, TrialResult

__all__ = [
    "CONFIDENCE_LEVEL",
    "SIGNIFICANCE_LEVEL",
    "TEST_METRICS",
    "Calibration",
    "EvalResult",
    "RankedPoint",
    "Ranking",
    "Trial",
    "TrialResult",
    "compare_first_two",
    "count_decimals",
    "estimate_difference",
    "estimate_mean",
    "evaluate",
    "higher_is_better",
    "is_proportion",
    "rank",
    "scoring",
]
