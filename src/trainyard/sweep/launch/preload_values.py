"""Loads in the fork server the values that each trial would load, such as the schema revisions of MLflow.

It is imported last: the garbage collector of a trial, which Keras calls, skips everything that the server imported.
"""

import gc

from trainyard.config import COMPONENT_GROUPS, find_section_problems, get_registered_components
from trainyard.system import list_installed_versions
from trainyard.tracking import cache_latest_schema_revision, load_schema_revisions

load_schema_revisions()
cache_latest_schema_revision()
list_installed_versions()
for group in COMPONENT_GROUPS:  # builds the types with which pydantic checks their fields
    for component in get_registered_components(group).values():
        list(find_section_problems(component(), group))
gc.freeze()
