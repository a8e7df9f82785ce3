"""Records: what is claimed or aimed at, what many seeds gave, and the page that sets the two side by side.

A record is a folder, ``experiments/<name>``: what was aimed at (``target.yaml``), what the runs gave
(``results.json``), pictures, and a README that is generated from both.
"""
