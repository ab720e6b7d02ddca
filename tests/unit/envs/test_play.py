"""A shop played by hand: what a line does, what the end explains, what is refused."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys

import pytest

from webshop_rl.__main__ import main as webshop_rl
from webshop_rl.envs.play import ENDED, main


def played(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: str, *words: str
) -> list[str]:
    """What the command shows of lines from a pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(words) == 0
    return capsys.readouterr().out.splitlines()


def test_three_lines_buy_the_target_and_the_reward_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stage 1, goal 1 is one of red shoes; 0.3 and 0.3 on the way, then the score."""
    shown = played(monkeypatch, capsys, "search red shoes\nclick 1\nbuy\n", "env=stage1", "goal=1")
    assert "wanted: i am looking for red shoes, and price lower than 60.00 dollars" in shown
    assert "   1  red shoes  $45.0" in shown
    assert shown[shown.index("bought red shoes: score 1.00, return 1.60") :] == [
        "bought red shoes: score 1.00, return 1.60",
        "  action 1: +0.30  shaping_search 0.30",
        "  action 2: +0.30  shaping_open 0.30",
        "  action 3: +1.00  the purchase",
        "  score = type 1.00 x (attributes 1.00 x 0.50 + price 1.00 x 0.50)",
        "  type: the same query, the same category, 100% of the title's nouns",
        "wanted was P01, red shoes; options none",
        "",
        ENDED,
    ]


def test_every_way_to_say_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ways = ["search[red shoes]\nclick[P01]\nclick[buy now]", "s red shoes\nbuy 1", "Search RED shoes\nbuy[1]",
            "s red shoes\np01\nbuy now", "s red shoes\nc 1\nback\nc 1\nc buy now"]  # fmt: skip
    for lines in ways:
        shown = played(monkeypatch, capsys, lines, "env=stage1", "goal=1")
        assert any(line.startswith("bought red shoes: score 1.00") for line in shown), lines


def test_the_wrong_product_is_explained_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = played(monkeypatch, capsys, "search white shirt\nbuy 1\n", "env=stage1", "goal=1")
    assert "bought white shirt: score 0.00, return 0.00" in shown
    assert "  score = type 0.00 x (attributes 0.00 x 0.50 + price 1.00 x 0.50)" in shown


def test_options_are_chosen_and_marked_and_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal 0 of the third stage's generated products; its options by hand from its instruction."""
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)
    first = played(monkeypatch, capsys, "", "env=stage3")
    wanted = next(line for line in first if line.startswith("wanted: "))
    name, colour = "color", wanted.partition("color: ")[2].partition(",")[0]
    assert colour, wanted
    words = wanted.removeprefix("wanted: ").partition(", and price")[0]
    shown = played(monkeypatch, capsys, f"search {words}\nclick 1\n{colour}\nlook\nbuy\n", "env=stage3")
    assert any(line.startswith(f"  {name}: ") and f"[{colour}]" in line for line in shown)
    assert any("options 1.00" in line for line in shown)


def test_the_five_product_shop_has_parts_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = played(monkeypatch, capsys, "search red shoes\nbuy 1\n", "env=shop5")
    assert shown[-7:-2] == [
        "bought red shoes: score 1.00, return 1.60",
        "  action 1: +0.30  search 0.30",
        "  action 2: +0.30  click 0.30",
        "  action 3: +1.00  buy 1.00",
        "wanted was product 1",
    ]


@pytest.mark.parametrize("line", ["fly", "click 7", "buy 9", "buy", "search", "click", "buy[x]", "[]", "7"])
def test_what_does_not_apply_is_one_line_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    shown = played(monkeypatch, capsys, f"search shoes\n{line}\nlook\n", "env=stage1")
    place = shown.index(f"> {line}")
    assert "does not apply here" in shown[place + 1]
    assert shown[place + 2] == "> look"
    assert "   1  red shoes  $45.0" in shown[place:]


def test_lines_that_are_no_actions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = played(monkeypatch, capsys, "\nhelp\ngoal\nnew\nquit\nsearch shoes\n", "env=stage1")
    assert sum("  new            the next goal" in line for line in shown) == 1
    wanted = [line for line in shown if line.startswith("wanted: ")]
    assert wanted[0] == wanted[1] != wanted[2]
    assert shown[-1] == "> quit"


def test_the_end_is_final_until_the_next_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "search shoes\n" * 3 + "search shirt\nnew\nsearch shirt\n"
    shown = played(monkeypatch, capsys, lines, "env=stage1", "env.max_steps=3", "env.reward=score")
    assert "cut off after 3 actions, nothing bought: score 0.00, return 0.00" in shown
    assert shown[shown.index("> search shirt") + 1] == ENDED
    assert shown[-2].startswith("   1  white shirt")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr=3"], "error: lr=3: only the shop is read"),
        (["env=nowhere"], "error: env: there is no nowhere"),
        (["env=stage1", "env.speed=3"], "error: env.speed: there is no such key"),
        (["env=stage1", "goal=25"], "error: goal: '25' is out of range (give a whole number below 25)"),
        (["env=stage1", "seed=x"], "error: seed: 'x' is out of range"),
        (["env=stage1", "split=half"], "error: split: no split 'half'"),
    ],
)
def test_bad_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1


def test_what_stands_in_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("WEBSHOP_DATA_DIR", raising=False)
    assert played(monkeypatch, capsys, "", "env=stage4")[0] == (
        "note: 50 generated products stand in for real ones (no env.data_dir)"
    )


def test_it_is_a_command_of_the_one_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
    monkeypatch.setattr("sys.argv", ["webshop-rl"])
    assert webshop_rl(["play", "env=stage1"]) == 0
    assert "wanted: " in capsys.readouterr().out


def test_it_loads_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    call = "from webshop_rl.envs.play import main; main(['env=stage1'])"
    script = f"import sys; {call}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], input="", capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "webshop_rl.envs.play", "env=stage1"],
            stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
        )  # fmt: skip
        os.close(slave)

    def wait_for_prompt(self) -> None:
        seen = b""
        while not seen.rstrip(b"\x1b[?2004h").endswith(b"> "):
            seen += os.read(self._master, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def interrupt(self) -> None:
        """Ctrl-C until it is heard: input() misses one between its prompt and its wait for a key."""
        for _ in range(10):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=3)
                return

    def end(self) -> tuple[int, str]:
        """Exit code and stderr."""
        _, error = self.process.communicate(timeout=120)
        os.close(self._master)
        return self.process.returncode, error


def test_ctrl_c_on_a_terminal_is_one_word() -> None:
    terminal = Terminal()
    terminal.wait_for_prompt()
    terminal.interrupt()
    assert terminal.end() == (130, "stopped\n")


def test_ctrl_d_on_a_terminal_leaves() -> None:
    terminal = Terminal()
    for keys in (b"search shoes\n", b"\x04"):
        terminal.wait_for_prompt()
        terminal.type(keys)
    assert terminal.end() == (0, "")
