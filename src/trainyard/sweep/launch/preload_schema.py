"""Loads the schema revisions of MLflow in the fork server, so that not every trial loads them."""

from trainyard.tracking import load_schema_revisions

load_schema_revisions()
