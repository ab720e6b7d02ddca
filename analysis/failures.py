"""failures.md: of each arm and reason a few episodes to be read, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .survey import Played, reasons_by_arm

_FENCE = "~~~"


def failures_markdown(played: Sequence[Played]) -> str:
    """All arms with how often they failed for each reason, and the episodes that were kept whole."""
    lines = ["# Why test episodes failed", ""]
    for arm, counts in reasons_by_arm(played).items():
        tested = sum(episode.arm == arm for episode in played)
        lines += [f"## {_plain(arm)}", "", f"{counts.total()} of {tested} test episodes failed.", ""]
        for reason, num in counts.most_common():
            lines += [f"### {reason}: {num}", ""]
            kept = [e for e in played if e.record and e.arm == arm and e.reason == reason]
            for episode in kept:
                lines += _episode(episode)
    return "\n".join(lines) + "\n"


def _episode(episode: Played) -> Iterator[str]:
    yield f"Run {episode.run}, line {episode.number}, {_plain(episode.goal)}, score {episode.score:.2f}"
    yield ""
    yield _FENCE
    yield _inside(f"wanted {episode.asin}: {episode.instruction}")
    for number, turn in enumerate((episode.record or {"turns": []})["turns"], 1):
        yield _inside(f"{number}. saw     {turn['page']}")
        if turn["reply"] != turn["action"]:
            yield _inside(f"   said    {turn['reply']}")
        parts = "".join(f" {name} {value:.2f}" for name, value in turn["parts"].items())
        yield _inside(f"   did     {turn['action']}{'' if turn['valid'] else ' (does not apply)'}{parts}")
    yield _FENCE
    yield ""


def _plain(text: str) -> str:
    return " ".join(text.replace("<", "&lt;").split())


def _inside(text: str) -> str:
    """One line that cannot end the fence."""
    return " ".join(text.split()).replace(_FENCE, "~ ~ ~")
