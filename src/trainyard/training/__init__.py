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
from trainyard.training.debug import PROFILE_FOLDER, OneBatch
from trainyard.training.profiler import StepProfile, load_profile
from trainyard.training.schedules import Constant
from trainyard.training.trainer import TrainResult, train

__all__ = [
    "BEST_MODEL",
    "CHECKPOINTS_FOLDER",
    "PROFILE_FOLDER",
    "BestModel",
    "Checkpoint",
    "CheckpointPlan",
    "Constant",
    "Identity",
    "OneBatch",
    "StepProfile",
    "TrainResult",
    "find_checkpoints",
    "load_checkpoint",
    "load_profile",
    "train",
]
