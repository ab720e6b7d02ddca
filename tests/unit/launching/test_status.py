"""The command lines of `status`."""

from __future__ import annotations

from pathlib import Path

import pytest

from webshop_rl.launching import status


@pytest.mark.parametrize(
    ("words", "command", "given"),
    [
        ("", "_show", {"name": None, "root": Path("runs"), "once": False}),
        ("study --once", "_show", {"name": "study", "once": True}),
        ("--root elsewhere --json", "_show", {"name": None, "root": Path("elsewhere"), "json": True}),
        ("study --root elsewhere --no-replay", "_show", {"name": "study", "no_replay": True}),
        ("cancel study --root elsewhere", "_cancel", {"name": "study", "root": Path("elsewhere")}),
        ("--root elsewhere cancel study", "_cancel", {"name": "study", "root": Path("elsewhere")}),
        ("retry study", "_retry", {"name": "study", "root": Path("runs")}),
        ("logs 3f2 -f", "_logs", {"name": "3f2", "follow": True}),
        ("logs -f 3f2", "_logs", {"name": "3f2", "follow": True}),
    ],
)
def test_options_stand_anywhere_and_show_is_what_no_command_means(
    words: str, command: str, given: dict[str, object]
) -> None:
    options = vars(status._parse(words.split()))
    assert options["carry_out"] is getattr(status, command)
    assert {key: options[key] for key in given} == given


@pytest.mark.parametrize("words", ["cancel", "retry"])
def test_a_sweep_is_named_before_anything_is_done_to_it(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main([words, "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {words}: the name of a sweep is missing (there is no sweep)\n"
