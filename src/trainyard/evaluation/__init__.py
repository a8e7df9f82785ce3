"""Evaluation of trained models: scores, calibration, statistics and rankings."""

from trainyard.evaluation import scoring
from trainyard.evaluation.calibration import Calibration, measure_calibration
from trainyard.evaluation.range_test import RangeTestResult, compare_with_best
from trainyard.evaluation.ranking import (
    TEST_METRICS,
    RankedPoint,
    RankedRun,
    Ranking,
    count_decimals,
    higher_is_better,
    is_proportion,
    rank,
)
from trainyard.evaluation.scoring import MAX_LISTED_CLASSES, ClassScores, EvalResult, PredictionScores, evaluate
from trainyard.evaluation.statistics import (
    CONFIDENCE_LEVEL,
    SIGNIFICANCE_LEVEL,
    Estimate,
    compute_mcnemar_p_value,
    compute_min_accuracy_variance,
    compute_proportion_interval,
    compute_std,
    compute_t_quantile,
    estimate_accuracy,
    estimate_accuracy_difference,
    estimate_difference,
    has_few_errors,
)
from trainyard.evaluation.trials import Trial, TrialResult
