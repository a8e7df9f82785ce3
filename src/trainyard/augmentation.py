"""What may be done to training images at random.

One member for now: the config has its place for it, so that a config and its hash stay what they are when more come.

Before it: the registry. After it: compose.
"""

from dataclasses import dataclass

from trainyard.registry import register_augmentation
from trainyard.schema import AugmentationConfig


@register_augmentation("none")
@dataclass(kw_only=True, slots=True)
class NoAugmentation(AugmentationConfig):
    """Training images are used as they are."""
