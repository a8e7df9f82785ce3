"""Ways of running that look for mistakes rather than for accuracy.

One member for now: the config has its place for it, so that a config and its hash stay what they are when more come.

Before it: the registry. After it: compose.
"""

from dataclasses import dataclass

from trainyard.registry import register_debug
from trainyard.schema import DebugConfig


@register_debug("none")
@dataclass(kw_only=True, slots=True)
class NoDebug(DebugConfig):
    """A run for its result."""
