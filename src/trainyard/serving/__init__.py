"""Trained models in use: predicting, exporting, and promoting to MLflow's model registry."""
