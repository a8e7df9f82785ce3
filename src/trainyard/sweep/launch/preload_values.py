"""Loads in the fork server the values that each trial would load, such as the schema revisions of MLflow.

It is imported last, and ends the pause of the garbage collector. That of a trial, which Keras calls, skips everything
that the server imported.
"""

import gc

from trainyard.config import COMPONENT_GROUPS, find_section_problems, get_registered_components
from trainyard.system import list_installed_versions
from trainyard.tracking import cache_latest_schema_revision, load_schema_revisions


def _load_scikit_learn_plugins() -> None:
    """Calls a function of scikit-learn, which searches all installed packages for plugins in its first call."""
    from sklearn.metrics import confusion_matrix

    confusion_matrix([0, 1], [0, 1])


load_schema_revisions()
cache_latest_schema_revision()
list_installed_versions()
_load_scikit_learn_plugins()
for group in COMPONENT_GROUPS:  # builds the types with which pydantic checks their fields
    for component in get_registered_components(group).values():
        list(find_section_problems(component(), group))
gc.enable()
gc.freeze()
