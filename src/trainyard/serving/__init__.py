"""Trained models in use: predicting, exporting, and promoting to MLflow's model registry."""

from trainyard.serving.export import export_run
from trainyard.serving.image_inputs import ImageConversion, ImageInputs, list_image_files, load_image_inputs
from trainyard.serving.pixel_scaling import PIXEL_RANGES
from trainyard.serving.predictor import (
    Predictor,
    are_images_resized,
    find_predictor_model,
    load_model_preprocessing,
    load_predictor,
)
from trainyard.serving.promote import RegisteredVersion, promote_run
