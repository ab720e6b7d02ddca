"""Small files that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def replace_file(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file's content in one step; a reader sees the old or the new, never a part.

    Args:
        path: the file; its folder is made if absent.
        text: written as UTF-8.
        durable: wait until it survives a power cut; not needed for what can be composed again.
    """
    with replacing(path, durable=durable) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Within, a name beside path to write to; the file there takes path's place at the end.

    After an error path is as it was and nothing is left beside it. Of several writers the last wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        if durable:
            sync(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def create_file(path: Path, text: str) -> bool:
    """Write a file that does not exist yet, whole; False, and nothing is changed, if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(text, encoding="utf-8")
    try:
        os.link(part, path)  # unlike a rename, this leaves another process's file in place
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def write_original(path: Path, content: str) -> None:
    """Write a word that holds for this very file: `read_original` does not find it in a copy."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(f"{content} {os.fstat(file.fileno()).st_ino}")


def read_original(path: Path) -> str | None:
    """The word of `write_original`; None if there is no such file, or it is a copy of one."""
    try:
        with path.open(encoding="utf-8") as file:
            content, _, inode = file.read().strip().partition(" ")
            return content if inode in ("", str(os.fstat(file.fileno()).st_ino)) else None
    except OSError:
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if the file is absent or contains no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk.

    Some network file systems do not let a folder be opened or flushed; that is let pass.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
