"""Imports TensorFlow without its log messages in the fork server, before the other modules that trials need.

TensorFlow reads the location of the XLA cache when it is imported. The environment must specify it before the fork
server starts. The garbage collector is paused until the last module, `preload_values`, has been imported.
"""

import gc

from trainyard.system import import_tensorflow, mark_process_owned

gc.disable()
mark_process_owned()
import_tensorflow(before_fork=True)
