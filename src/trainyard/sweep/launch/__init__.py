"""Running trials: process pools, Ray, and the launchers for Hydra."""
