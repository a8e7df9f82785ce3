"""The data sets: where their images come from, verified at every load."""

from trainyard.data.digits import Digits
from trainyard.data.image_folder import ImageFolder
from trainyard.data.loading import load_dataset
from trainyard.data.published import DATA_VARIABLE, FashionMnist, Kmnist, Mnist, PublishedSet
from trainyard.data.user_arrays import Idx, Npz

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
