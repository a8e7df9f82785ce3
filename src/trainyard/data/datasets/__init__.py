"""The built-in data sets, one module per kind; each registers its components by name."""
