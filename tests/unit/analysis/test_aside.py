"""Work done in a forked process meanwhile: its result, what it raises, and a child that is killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: pytest's may have threads, and then nothing is forked.
_PROGRAM = """
import os, signal, sys, threading
from analysis.aside import aside, can_fork
from webshop_rl.errors import UserError

own = os.getpid()

def work():
    if sys.argv[1] == "raises":
        raise UserError("is torn", where="a file", remedy="mend it")
    if sys.argv[1] == "killed" and os.getpid() != own:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid(), list(range(100_000))

if sys.argv[1] == "threads":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
assert can_fork() == (sys.argv[1] != "threads")
result = aside(work)
try:
    pid, made = result()
except UserError as error:
    print(error)
else:
    print("here" if pid == own else "aside", made == list(range(100_000)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nothing", "aside True"),
        ("raises", "a file: is torn (mend it)"),
        ("killed", "here True"),
        ("threads", "here True"),
    ],
)
def test_what_was_done_aside_is_returned_or_raised(what: str, said: str) -> None:
    command = [sys.executable, "-c", _PROGRAM, what]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == said, done.stderr
