"""Reports: plots, tables and HTML pages."""
