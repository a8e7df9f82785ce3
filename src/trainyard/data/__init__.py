"""Data: data sets, file formats, splits, preprocessing, batches and augmentation."""

from trainyard.data import image_files, preprocessing
from trainyard.data.array_cache import (
    CACHE_VARIABLE,
    SIZE_VARIABLE,
    clear_cache,
    find_cache_root,
    find_damage,
    list_entries,
    read_size_limit,
)
from trainyard.data.array_check import ArrayReport, check_arrays, find_array_config
from trainyard.data.array_names import find_roles
from trainyard.data.augmentation import NoAugmentation
from trainyard.data.batches import BatchMaker, build_batch_maker, compute_inference_batch_size
from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.data.datasets.digits import Digits
from trainyard.data.datasets.emnist import Emnist
from trainyard.data.datasets.image_folder import ImageFolder
from trainyard.data.datasets.medmnist import Medmnist
from trainyard.data.datasets.mnist_family import DATA_DIR_VARIABLE, DownloadableDataset, FashionMnist, Kmnist, Mnist
from trainyard.data.datasets.user_arrays import Npz, UserData
from trainyard.data.image_arrays import convert_images
from trainyard.data.image_check import FolderReport, check_image_folder
from trainyard.data.image_files import convert_image, load_image
from trainyard.data.image_rows import ImageRows, iterate_chunks, read_rows
from trainyard.data.label_arrays import match_labels
from trainyard.data.loading import draw_stratified_sample, load_dataset
from trainyard.data.memory import describe_streaming
from trainyard.data.npz import list_npz_arrays, load_npz
from trainyard.data.preprocessing import (
    PREPROCESSING_FILE,
    Preprocessing,
    is_image_shape,
    load_preprocessing,
    measure_background_lightness,
    write_preprocessing,
)
