"""Imported once by the server that trials are forked from: all that a run needs, and nothing that it decides.

TensorFlow reads where compiled programs are kept when it is imported; whoever starts the server has said so by then.

Before it: run. After it: nothing imports it; the launcher names it.
"""

from trainyard.runtime import import_tensorflow

import_tensorflow(keep_programs=False)

import matplotlib.figure  # noqa: E402, F401 - after TensorFlow, as in a run
import mlflow  # noqa: E402, F401
import sklearn.metrics  # noqa: E402, F401

from trainyard import run  # noqa: E402, F401
