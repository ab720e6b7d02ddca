"""Prepare the real WebShop's catalogue, so that opening it costs nothing and processes share it.

    webshop-rl prepare --data-dir FOLDER [--out FOLDER]

Reads the original files once and writes a folder that `env.data_dir` takes in their place. Interrupted, the
same command goes on where it was. docs/webshop.md says what to download.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.cli import command
from webshop_rl.duration import duration
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.prepared import is_prepared, read_manifest
from webshop_rl.envs.webshop.preparing import prepare
from webshop_rl.envs.webshop.reading import Request
from webshop_rl.errors import UserError
from webshop_rl.storage.lock import Busy, FolderLock

OUT = "prepared"


def request_of(arguments: Sequence[str] | None) -> Request:
    """What the command line asks for. Raises: UserError."""
    parser = argparse.ArgumentParser(
        prog="webshop-rl prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="folder of the original data files"
    )
    parser.add_argument("--out", type=Path, help=f"folder to write (default: {OUT} in the data's folder)")
    parser.add_argument("--num-products", type=int, help="only the first so many records (default: all)")
    parser.add_argument(
        "--broken",
        choices=("stop", "skip"),
        default="stop",
        help="a record with a missing or odd field: an error (default), or left out, counted and said",
    )
    parser.add_argument(
        "--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: 2)"
    )
    options = parser.parse_args(arguments)
    if options.num_products is not None and options.num_products < 1:
        raise UserError("should be 1 or more", where="--num-products", remedy="leave it out for all")
    folder = files.data_folder(options.data_dir)
    if is_prepared(folder):
        raise UserError(
            "is prepared already", where=str(folder), remedy="--data-dir names the original files' folder"
        )
    out = options.out or folder / OUT
    if out.exists() and not is_prepared(out) and any(out.iterdir() if out.is_dir() else [out]):
        raise UserError("is something else already", where=str(out), remedy="choose another --out")
    return Request(folder, out, options.num_products, options.broken == "skip", max(1, options.workers))


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    request = request_of(arguments)
    began = time.monotonic()
    request.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FolderLock(request.out.parent, request.out.name, disposable=True).acquire():
            manifest = prepare(request, lambda line: print(f"prepare: {line}", flush=True))
            read_manifest(request.out)
    except Busy as busy:
        raise UserError(
            f"another prepare is writing it, {busy}", where=str(request.out), remedy="wait for it"
        ) from busy
    except PermissionError as error:
        raise UserError(
            "cannot be written", where=str(error.filename), remedy="choose another --out"
        ) from error
    size = sum(manifest.files.values()) / 1e6
    left_out = [f"{number:,} {reason}" for reason, number in manifest.left_out.items()]
    print(f"{manifest.num_products:,} products of {manifest.num_records:,} records, {size:,.0f} MB")
    print(f"left out: {', '.join(left_out) or 'none'}; nouns of the titles: {manifest.nouns}")
    print(f"{duration(time.monotonic() - began)}; use it: env.data_dir={request.out} env.num_products=null")
    return 0


if __name__ == "__main__":
    sys.exit(main())
