"""Plots as PNG files.

- Runs: learning curves, confusion matrix, calibration, first predictions, mistakes.
- Sweeps: learning curves, ranking, the effect of each setting, parallel coordinates.
- Predictions: images with the probabilities of their classes.
- Records of experiments: the scores of all seeds, and published metrics with measured ones.
- Comparisons of runs: scores by class, differences of confusion matrices, images whose prediction changed.

This is the only package that imports matplotlib. It does not use pyplot, so drawing needs no display, keeps no global
state except for a list of fonts.
"""

from trainyard.reporting.plots.calibration import draw_calibration
from trainyard.reporting.plots.claims import PublishedMetric, draw_arm_accuracies, draw_published_metrics
from trainyard.reporting.plots.comparison import (
    PredictionFlip,
    draw_class_scores,
    draw_confusion_difference,
    draw_prediction_flips,
)
from trainyard.reporting.plots.confusion_matrix import draw_confusion_matrix
from trainyard.reporting.plots.effects import draw_numeric_settings, draw_setting_effects
from trainyard.reporting.plots.fonts import describe_missing_font
from trainyard.reporting.plots.image_grid import draw_mistakes, draw_predictions
from trainyard.reporting.plots.learning_curves import draw_learning_curves
from trainyard.reporting.plots.parallel_coordinates import draw_parallel_coordinates
from trainyard.reporting.plots.probabilities import draw_probabilities
from trainyard.reporting.plots.ranking import draw_point_curves, draw_ranking
