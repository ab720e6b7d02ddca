"""Runs launch.py, or another command, with something else in the place of training.

python stand_in.py MODULE:FUNCTION SCRIPT ARGUMENTS
python stand_in.py MODULE:FUNCTION -m MODULE ARGUMENTS
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    _, task, what, *arguments = sys.argv
    sys.path[0] = os.getcwd() if what == "-m" else str(Path(what).parent)

    from webshop_rl.launching import sweep

    sweep.TASK = task
    if what == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *arguments]
        runpy.run_path(what, run_name="__main__")
