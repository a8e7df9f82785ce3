"""Evaluation of trained models: scores, calibration, statistics and rankings."""
