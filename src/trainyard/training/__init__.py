"""Training: engines, optimizers, schedules, losses, callbacks and checkpoints."""
