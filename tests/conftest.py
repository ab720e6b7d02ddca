"""What all tests share: one thread a process, and the fixtures of a WebShop."""

from __future__ import annotations

import os

# Before torch is loaded. Tests run side by side, one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.support.webshop_fixtures import (  # noqa: F401
    mini_data_dir,
    mini_files,
    webshop_data_dir,
    webshop_parity_dir,
    write_catalogue,
)
