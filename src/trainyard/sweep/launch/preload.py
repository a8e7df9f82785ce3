"""Imported by the server that trials are forked from, before all else: TensorFlow, in silence.

TensorFlow reads where compiled programs are kept when it is imported; whoever starts the server has said so by then.
"""

from trainyard.system.garbage import process_is_ours
from trainyard.system.tensorflow_setup import import_tensorflow

process_is_ours()
import_tensorflow(to_fork=True)
