"""The data sets: where their images come from, verified at every load."""

from trainyard.datasets.digits import Digits
from trainyard.datasets.image_folder import ImageFolder
from trainyard.datasets.loading import load_dataset
from trainyard.datasets.own import Idx, Npz
from trainyard.datasets.published import DATA_VARIABLE, FashionMnist, Kmnist, Mnist, PublishedSet

__all__ = [
    "DATA_VARIABLE",
    "Digits",
    "FashionMnist",
    "Idx",
    "ImageFolder",
    "Kmnist",
    "Mnist",
    "Npz",
    "PublishedSet",
    "load_dataset",
]
