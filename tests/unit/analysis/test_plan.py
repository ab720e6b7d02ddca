from __future__ import annotations

import pytest

from analysis.plan import as_typed, recorded_command


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["/home/me/launch.py", "-m", "lr=1e-5,2e-5"], "python launch.py -m lr=1e-5,2e-5"),
        (["webshop-rl sweep", "-m", "seed=0,1"], "webshop-rl sweep seed=0,1"),
        (["webshop-rl train", "env.x={a: 1}"], "webshop-rl train 'env.x={a: 1}'"),
        ([], ""),
    ],
)
def test_a_command_is_as_it_was_typed(words: list[str], typed: str) -> None:
    assert as_typed(words) == typed


def test_the_command_of_a_parent_run() -> None:
    assert recorded_command("'webshop-rl sweep' -m seed=0 'a=b c'") == "webshop-rl sweep seed=0 'a=b c'"
    assert recorded_command("launch.py -m 'a=b") == ""  # it was cut
    assert recorded_command("") == ""
