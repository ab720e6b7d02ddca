"""Rows of kinds "trajectories" and "trajectories_rich": whole episodes, replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webshop_rl.envs.parity import policies
from webshop_rl.envs.parity.corpus import Row
from webshop_rl.envs.parity.differences import Difference, first_difference, rule
from webshop_rl.envs.parity.reference import RecordedBrowser, Reference
from webshop_rl.envs.parity.rows import Checker, Content, check_id
from webshop_rl.envs.webshop.browser import View
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.pages import render


@dataclass(frozen=True)
class Replay:
    """An episode acted again: the view before each action and after the last, and what steps gave."""

    goal: WebshopGoal
    actions: list[str]
    views: list[View]
    applied: list[bool]
    rewards: list[float]
    dones: list[bool]

    @property
    def codes(self) -> str:
        """One letter an action (see policies)."""
        return "".join(
            policies.code(action, view, self.goal, applied=applied)
            for action, view, applied in zip(self.actions, self.views, self.applied, strict=False)
        )


def text_checker(reference: Reference) -> Checker:
    """Every page, reward and end follows from goal and actions; the actions are held to their policy."""

    def compare(row: Content) -> Difference | None:
        replay = _replay(row, reference)
        if isinstance(replay, Difference):
            return replay
        pages = [
            {
                "obs": render(view.nodes, "text"),
                "available_actions": {
                    "has_search_bar": view.has_search_bar,
                    "clickables": list(view.clickables),
                },
            }
            for view in replay.views
        ]
        steps = [
            {"action": action, **page, "reward": reward, "done": done}
            for action, page, reward, done in zip(
                replay.actions, pages[1:], replay.rewards, replay.dones, strict=True
            )
        ]
        expected = {**_told(row), "policy": row.get("policy"), "initial": pages[0], "steps": steps}
        policy = row.get("policy")
        if policy not in policies.PATTERNS:
            return rule("policy", f"one of {', '.join(policies.PATTERNS)}", policy)
        return (
            check_id(row)
            or first_difference(expected, row)
            or _check_policy(replay, {str(policy)}, reference, field="policy", found=policy)
        )

    return Checker("trajectories", "id", lambda row: ("", row["id"]), compare)


def rich_checker(
    reference: Reference, text_files: Sequence[Sequence[Row]], rich_files: Sequence[Sequence[Row]]
) -> Checker:
    """As text_checker, in the other mode, with the policy to be guessed.

    Where most of the episodes stand in the corpus in mode "text" too, under the same ids, all must, and
    must be the same there.
    """
    texts, rich = _by_id(text_files), _by_id(rich_files)
    twins = sum(id_ in texts and _shared(texts[id_]) == _shared(row) for id_, row in rich.items())
    together = 2 * twins > len(rich)

    def compare(row: Content) -> Difference | None:
        replay = _replay(row, reference)
        if isinstance(replay, Difference):
            return replay
        observations = [render(view.nodes, "text_rich") for view in replay.views]
        steps = [
            {"action": action, "obs": obs, "reward": reward, "done": done}
            for action, obs, reward, done in zip(
                replay.actions, observations[1:], replay.rewards, replay.dones, strict=True
            )
        ]
        expected = {**_told(row), "initial_obs": observations[0], "steps": steps}
        return (
            check_id(row)
            or first_difference(expected, row)
            or _check_policy(replay, set(policies.PATTERNS), reference, field="steps", found=replay.codes)
            or (_check_twin(row, texts) if together else None)
        )

    return Checker("trajectories_rich", "id", lambda row: ("", row["id"]), compare, consecutive=False)


def _told(row: Content) -> Content:
    return {key: row.get(key) for key in ("id", "human_goals", "goal_index")}


def _replay(row: Content, reference: Reference) -> Replay | Difference:
    human, index = row.get("human_goals"), row.get("goal_index")
    if not isinstance(human, bool):
        return rule("human_goals", "true or false", human)
    kind = "human" if human else "synthetic"
    goal = reference.goal(kind, index)
    if goal is None:
        return rule("goal_index", f"the index of a {kind} goal", index)
    steps = row.get("steps")
    if not isinstance(steps, list) or not steps:
        return rule("steps", "a list of steps", steps)
    for number, step in enumerate(steps):
        if not isinstance(step, dict) or not isinstance(step.get("action"), str):
            return rule(f"steps[{number}].action", "a text", step)
    browser = RecordedBrowser(reference.human if human else reference.synthetic, goal)
    replay = Replay(goal, [step["action"] for step in steps], [browser.view], [], [], [])
    for action in replay.actions:
        replay.applied.append(browser.act(action))
        replay.views.append(browser.view)
        replay.rewards.append(browser.reward)
        replay.dones.append(browser.done)
    return replay


def _check_policy(
    replay: Replay, names: set[str], reference: Reference, *, field: str, found: object
) -> Difference | None:
    """A difference unless one of the named policies can have acted so."""
    codes = replay.codes
    fitting = {name for name in names if policies.fits(name, codes, replay.actions)}
    if not fitting:
        return rule(field, f"a script that acts {codes}", found)
    strict = fitting - {"mixed_invalid"}
    for number, (action, letter) in enumerate(zip(replay.actions, codes, strict=True)):
        natural = letter not in "sZ" or policies.is_natural_search(
            action[len("search[") : -1], replay.goal, reference.queries
        )
        plausible = policies.is_plausible_slip(action, letter)
        if (strict == fitting and not natural) or not plausible:
            return rule(f"steps[{number}].action", "an action as its script writes it", action)
    return None


def _by_id(files: Sequence[Sequence[Row]]) -> dict[int, Content]:
    found = [row.content for rows in files for row in rows]
    return {content["id"]: content for content in found if type(content.get("id")) is int}


def _check_twin(row: Content, texts: Mapping[int, Content]) -> Difference | None:
    if row["id"] not in texts:
        return rule("id", "an episode that is there in mode text too", row["id"])
    return first_difference(_shared(texts[row["id"]]), _shared(row))


def _shared(row: Content) -> Content:
    """What the two modes of an episode have in common."""
    steps = row.get("steps")
    kept = [
        {key: step.get(key) for key in ("action", "reward", "done")}
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict)
    ]
    return {"human_goals": row.get("human_goals"), "goal_index": row.get("goal_index"), "steps": kept}
