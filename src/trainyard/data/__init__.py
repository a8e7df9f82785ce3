"""The built-in data sets. The data is verified each time it is loaded."""

from trainyard.data.digits import Digits
from trainyard.data.image_folder import ImageFolder
from trainyard.data.loading import load_dataset
from trainyard.data.published import DATA_DIR_VARIABLE, FashionMnist, Kmnist, Mnist, PublishedDataset
from trainyard.data.user_arrays import Idx, Npz

__all__ = [
    "DATA_DIR_VARIABLE",
    "Digits",
    "FashionMnist",
    "Idx",
    "ImageFolder",
    "Kmnist",
    "Mnist",
    "Npz",
    "PublishedDataset",
    "load_dataset",
]
