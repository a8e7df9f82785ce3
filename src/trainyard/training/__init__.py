"""Training: engines, optimizers, schedules, losses, callbacks and checkpoints."""

from trainyard.training.best_model import BEST_MODEL, BestModel
from trainyard.training.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    CheckpointPlan,
    Identity,
    find_checkpoints,
    load_checkpoint,
)
from trainyard.training.debug import OneBatch
from trainyard.training.schedules import Constant
from trainyard.training.trainer import TrainResult, train
