"""Configs: schema, registry of components, composition, validation, security and reference."""
