"""Python imports this module in each process that a test starts: figures are blank, and new stores are copies.

This saves two or three seconds per run, and two more with a new store. Processes of tests marked `pictures` draw real
figures; those of tests marked `stores` create real stores.
"""

from stand_ins import install_stand_ins

install_stand_ins()
