"""Trainyard runs Keras experiments that are described, not programmed."""
