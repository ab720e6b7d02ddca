"""Any shop by hand, in the terminal.

    webshop-rl play [env=...] [env.KEY=...] [split=train] [goal=0] [seed=0]

Commands are read a line each, from a terminal or a pipe; at the end of an episode its reward is explained.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hydra import compose, initialize_config_dir

from webshop_rl.cli import command, invocation
from webshop_rl.config import register, validate
from webshop_rl.config.hydra_adapter import CONF, composition_errors, take_options
from webshop_rl.config.validate import with_data
from webshop_rl.config.walk import plain
from webshop_rl.construct import construct_shop
from webshop_rl.envs.types import SPLITS, Goal, Page, PlayableShop, Session, Shop, Step
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.errors import UserError

WIDTH: Final = 100
PROMPT: Final = "> "
HELP: Final = """\
  search WORDS   search the shop                   (s WORDS)
  click TARGET   what the page shows: a result by its number, an option, a button   (c TARGET, or TARGET)
  buy [N]        buy what is shown, or result N
  back           the page before, or the search page
  look           the page once more          goal   what is wanted
  new            the next goal               quit   leave (or Ctrl-D)"""

ENDED: Final = "the episode has ended: new begins another, quit leaves"

BUY, BACK, PREVIOUS = "buy now", "back to search", "< prev"
_BRACKETS: Final = re.compile(r"(search|click|buy)\[(.*)\]", re.IGNORECASE)
_SHORT: Final = {"s": "search", "c": "click", "q": "quit", "exit": "quit", "?": "help", "h": "help"}


class Player:
    """One person at one shop.

    Args:
        shop: to play in.
        goals: in the order in which they are played, over again at their end.
        seed: of the shop's randomness; the next goal has the next one.
    """

    def __init__(self, shop: Shop, goals: Sequence[Goal], seed: int) -> None:
        self._session: Session = shop.session()
        self._goals = goals
        self._seed = seed
        self._played = -1
        self._steps: list[Step] = []
        self._page: Page

    def start(self) -> list[str]:
        """Begin the next goal; what to show."""
        self._played += 1
        self._steps = []
        goal = self._goal
        self._page = self._session.reset_to(goal, seed=self._seed + self._played)
        return [f"wanted: {goal.instruction}", "", *show(self._page)]

    def take(self, line: str) -> list[str] | None:
        """Carry out a line; what to show, or None to leave."""
        name, argument = _parsed(line)
        if name == "quit":
            return None
        if name == "new":
            return self.start()
        shown = {
            "": [],
            "help": [HELP],
            "goal": [f"wanted: {self._goal.instruction}"],
            "look": show(self._page),
        }
        if name in shown:
            return shown[name]
        if self._ended:
            return [ENDED]
        actions = list(self._actions(name, argument))
        if not actions:
            return [self._refusal(line)]
        for action in actions:
            step = self._session.step(action)
            self._steps.append(step)
            self._page = step.page
            if step.terminated or step.truncated:
                return [*explain(self._goal, self._steps), "", ENDED]
        earned = sum(step.reward for step in self._steps[-len(actions) :])
        return [*([f"reward {earned:+.2f}"] if earned else []), *show(self._page)]

    @property
    def _goal(self) -> Goal:
        return self._goals[self._played % len(self._goals)]

    @property
    def _ended(self) -> bool:
        return bool(self._steps) and (self._steps[-1].terminated or self._steps[-1].truncated)

    def _actions(self, name: str, argument: str) -> Iterator[str]:
        """What the shop is to be sent, an action after another; nothing for what does not apply here."""
        page = self._page
        if name == "search" and argument:
            yield f"search[{argument}]"
        elif name == "buy" and (argument or page.kind == "results"):
            if target := _target(argument, page.products, page.products):
                yield f"click[{target}]"
                yield f"click[{BUY}]"
        elif name in ("buy", "back"):
            targets = (BUY,) if name == "buy" else (PREVIOUS, BACK)
            yield from (f"click[{target}]" for target in [t for t in targets if t in page.clickables][:1])
        else:
            word = argument if name == "click" else f"{name} {argument}"
            if target := _target(word, page.clickables, page.products):
                yield f"click[{target}]"

    def _refusal(self, line: str) -> str:
        hint = "search WORDS" if self._page.can_search else "click what the page shows"
        return f"{line.strip()!r} does not apply here: {hint}; help lists the commands"


def show(page: Page) -> list[str]:
    """The lines of a page: results with their numbers, options with those chosen marked, and the buttons."""
    buttons = [target for target in page.clickables if target not in (*page.products, *page.options)]
    lines = [f"── {page.kind} " + "─" * 30]
    if page.kind == "results":
        lines += [
            f"  {number:2}  {textwrap.shorten(line.title, WIDTH)}  {line.price}"
            for number, line in enumerate(page.results, start=1)
        ] or ["  nothing found"]
    elif page.kind == "item":
        name = f"{page.title}  {page.price}"
        lines += textwrap.wrap(name, WIDTH, initial_indent="  ", subsequent_indent="  ")
        for name, values in page.option_groups.items():
            chosen = page.chosen.get(name)
            marked = ", ".join(f"[{value}]" if value == chosen else value for value in values)
            lines += textwrap.wrap(
                f"{name}: {marked}", WIDTH, initial_indent="  ", subsequent_indent="      "
            )
    else:
        said = [part for part in page.body.split(" [SEP] ") if part.lower() not in buttons]
        lines += textwrap.wrap(" | ".join(said), WIDTH, initial_indent="  ", subsequent_indent="  ")
    searching = ["search WORDS"] if page.can_search else []
    return [*lines, *([f"  ({', '.join([*searching, *buttons])})"] if searching or buttons else [])]


def explain(goal: Goal, steps: Sequence[Step]) -> list[str]:
    """What the steps of an episode earned, part by part, and why the score is what it is."""
    last = steps[-1]
    shown = steps[-2].page.title if len(steps) > 1 else ""
    end = f"bought {shown}" if last.terminated else f"cut off after {len(steps)} actions, nothing bought"
    lines = [f"{end}: score {last.score:.2f}, return {sum(step.reward for step in steps):.2f}"]
    for number, step in enumerate(steps, start=1):
        if step.reward:
            parts = {} if "r_type" in step.parts else step.parts
            what = ", ".join(f"{name} {value:.2f}" for name, value in parts.items()) or "the purchase"
            lines.append(f"  action {number}: {step.reward:+.2f}  {what}")
    if "r_type" in last.parts:
        lines += _score_lines(last.parts)
    if isinstance(goal, WebshopGoal):
        options = ", ".join(f"{name}: {value}" for name, value in goal.options) or "none"
        lines.append(f"wanted was {goal.asin}, {textwrap.shorten(goal.name, WIDTH)}; options {options}")
    else:
        lines.append(f"wanted was product {goal.asin}")
    return lines


def _score_lines(parts: Mapping[str, float]) -> Iterator[str]:
    """score = r_type x (weighted shares of attributes, options and price), with the numbers."""
    terms = [("attributes", "att"), ("options", "option"), ("price", "price")]
    there = [(word, parts[f"r_{key}"], parts[f"w_{key}"]) for word, key in terms if f"r_{key}" in parts]
    shares = " + ".join(f"{word} {share:.2f} x {weight:.2f}" for word, share, weight in there)
    yield f"  score = type {parts['r_type']:.2f} x ({shares})"
    alike = {"query_match": "the same query", "category_match": "the same category"}
    found = [words for key, words in alike.items() if parts.get(key)]
    found.append(f"{parts.get('title_score', 0.0):.0%} of the title's nouns")
    yield f"  type: {', '.join(found)}"


def _parsed(line: str) -> tuple[str, str]:
    """Command and argument of a line, in lower case, blanks at their ends removed."""
    text = line.strip()
    if match := _BRACKETS.fullmatch(text):
        return match[1].lower(), match[2].strip().lower()
    if text.lower() == BUY:
        return "buy", ""
    name, _, argument = text.partition(" ")
    return _SHORT.get(name.lower(), name.lower()), argument.strip().lower()


def _target(word: str, clickables: Sequence[str], products: Sequence[str]) -> str | None:
    """What a word names: a target as it stands, or the result with that number."""
    word = word.strip()
    if word in clickables and not (word.isdigit() and products):
        return word
    if word.isdigit() and 1 <= int(word) <= len(products):
        return products[int(word) - 1]
    return word if word in clickables else None


def read_lines() -> Iterator[str]:
    """Lines that a person types, or of a pipe, shown as if they had been typed; ends with Ctrl-D."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            print(f"{PROMPT}{line.rstrip()}")
            yield line
        return
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # lines can be edited and called back
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return


def open_shop(words: Sequence[str]) -> Shop:
    """The shop of env=... and env.KEY=... words.

    Raises: UserError if one is something else or does not fit, or data are missing.
    """
    for word in words:
        if not re.match(r"env[=.]", word):
            remedy = "env=..., env.KEY=..., split=, goal=, seed="
            raise UserError("only the shop is read", where=word, remedy=remedy)
    register()
    with composition_errors():
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", overrides=list(words), return_hydra_config=True)
        chosen = take_options(cfg)
        tree = plain(cfg)
    validate(tree, chosen)
    shop: Shop = construct_shop(with_data(tree)["env"], PlayableShop)
    return shop


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} play",
        description="Play a shop by hand. help, once it has begun, lists the commands.",
        epilog=f"commands:\n{HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words", metavar="key=value", nargs="*", help="env=stage2, env.KEY=..., split=train, goal=0, seed=0"
    )
    given = parser.parse_args(arguments).words
    pairs = {word: word.partition("=") for word in given}
    own = {key: value for key, _, value in pairs.values() if key in ("split", "goal", "seed")}
    shop = open_shop([word for word, (key, _, _) in pairs.items() if key not in own])
    split = own.get("split", SPLITS[0])
    goals = shop.goals(split)
    first = _number("goal", own.get("goal", "0"), len(goals))
    player = Player(shop, [*goals[first:], *goals[:first]], _number("seed", own.get("seed", "0")))
    for remark in shop.remarks:
        print(f"note: {remark}")
    print(f"goal {first} of {len(goals)} ({split}), {shop.max_steps} actions; help lists the commands\n")
    print("\n".join(player.start()))
    for line in read_lines():
        answer = player.take(line)
        if answer is None:
            break
        print("\n".join(answer))
    return 0


def _number(key: str, text: str, end: int | None = None) -> int:
    if not text.isdigit() or (end is not None and int(text) >= end):
        least = "a whole number" if end is None else f"a whole number below {end}"
        raise UserError(f"{text!r} is out of range", where=key, remedy=f"give {least}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
