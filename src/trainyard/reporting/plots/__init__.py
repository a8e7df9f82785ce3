"""The pictures of a run as PNG files: learning curves, confusion matrix, calibration, predictions, mistakes, profile.

Those of a sweep: learning curves, ranking, settings one by one and together. One of what a model says of images,
those of records, and those of a comparison: scores by class, what changed, the images that did.

The only place that knows matplotlib. It uses figures without pyplot, so that drawing needs no display, leaves nothing
behind in the process, and can go on in several threads at once.
"""

from trainyard.reporting.plots.calibration import draw_calibration
from trainyard.reporting.plots.claims import Band, draw_arms, draw_bands
from trainyard.reporting.plots.comparison import Flip, draw_class_scores, draw_confusion_difference, draw_flips
from trainyard.reporting.plots.confusion_matrix import draw_confusion_matrix
from trainyard.reporting.plots.effects import draw_effects, draw_parallel
from trainyard.reporting.plots.grid import draw_grid
from trainyard.reporting.plots.image_grid import draw_mistakes, draw_predictions
from trainyard.reporting.plots.learning_curves import draw_learning_curves
from trainyard.reporting.plots.probabilities import draw_probabilities
from trainyard.reporting.plots.profile import draw_profile
from trainyard.reporting.plots.ranking import draw_curves, draw_ranking

__all__ = [
    "Band",
    "Flip",
    "draw_arms",
    "draw_bands",
    "draw_calibration",
    "draw_class_scores",
    "draw_confusion_difference",
    "draw_confusion_matrix",
    "draw_curves",
    "draw_effects",
    "draw_flips",
    "draw_grid",
    "draw_learning_curves",
    "draw_mistakes",
    "draw_parallel",
    "draw_predictions",
    "draw_probabilities",
    "draw_profile",
    "draw_ranking",
]
