"""Run every benchmark that needs no cluster: `python -m benchmarks [--data-dir FOLDER]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec

PLAIN = ("tracking_speed", "decoding_speed", "copying_speed", "launch_speed", "sweep_parallelism")
WITH_DATA = ("env_speed", "product_intervals", "view")


def main() -> int:
    """Exit code 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of the real WebShop's data; adds its benchmarks")
    data_dir = parser.parse_args().data_dir
    commands = [[name] for name in PLAIN if find_spec(f"benchmarks.{name}")]
    if data_dir:
        commands += [[name, "--data-dir", data_dir] for name in WITH_DATA]
    failed = 0
    for name, *arguments in commands:
        print(f"\n== {name}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode
            != 0
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
