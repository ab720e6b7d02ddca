"""What all tests share: one thread a process, and modules of tests/ that tests may import."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before torch is loaded. Tests run side by side, one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from webshop_fixtures import (  # noqa: F401
    mini_data_dir,
    mini_files,
    webshop_data_dir,
    webshop_parity_dir,
    write_catalogue,
)
