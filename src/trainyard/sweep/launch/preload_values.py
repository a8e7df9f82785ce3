"""Loads in the fork server what each trial would load: the schema revisions of MLflow, and the package versions.

It is imported last: the garbage collector of a trial, which Keras calls, then skips everything that the server imported.
"""

import gc

from trainyard.system import list_installed_versions
from trainyard.tracking import load_schema_revisions

load_schema_revisions()
list_installed_versions()
gc.freeze()
