"""The reference of all config fields: as Markdown and as a JSON Schema."""
