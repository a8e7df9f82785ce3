"""Records of experiments: what was claimed or targeted, the results over several seeds, and the generated page.

A record is a folder, ``experiments/<name>``: the specification (``claim.yaml`` or ``target.yaml``), the results of the
runs (``results.json``), plots, and a README that is generated from the results.
"""
