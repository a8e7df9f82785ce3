"""Completes the imports of the fork server: loads what trials need of Trainyard and MLflow, and freezes all objects.

A trial's garbage collector ignores frozen objects. Otherwise each of its collections would scan, and thereby copy, the
memory of all imported libraries.
"""

import gc

from trainyard.config import load_built_in_components
from trainyard.system import list_installed_versions
from trainyard.tracking import load_schema_revisions

load_built_in_components()  # no plugins: they may start TensorFlow, which does not work in a forked process
load_schema_revisions()
list_installed_versions()
gc.freeze()
