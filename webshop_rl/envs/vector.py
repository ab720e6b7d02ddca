"""Many episodes of one shop, stepped with one call."""

from __future__ import annotations

from collections.abc import Sequence

from webshop_rl.envs.types import Goal, Page, PlayableShop, Step


class VectorEnv:
    """B sessions of a shop, which share its catalogue, index and recent searches.

    A session goes its own way: what happens in one changes nothing in another, so the steps are those of B
    single sessions. There is no automatic reset; an ended session stays on its end page until `reset`.

    Args:
        shop: any shop, e.g. WebShop(data_dir="FOLDER/prepared", num_products=None).
        num_sessions: B.
    """

    def __init__(self, shop: PlayableShop, num_sessions: int) -> None:
        self.shop = shop
        self._sessions = [shop.session() for _ in range(num_sessions)]

    def __len__(self) -> int:
        return len(self._sessions)

    def reset(
        self, goals: Sequence[Goal], seeds: Sequence[int], *, places: Sequence[int] | None = None
    ) -> list[Page]:
        """Start an episode in every session, or in those at some places.

        Args:
            goals, seeds: one for each of them.
            places: of the sessions; None for all.
        Returns: the first page of each.
        Raises: ValueError if the numbers differ.
        """
        chosen = self._sessions if places is None else [self._sessions[place] for place in places]
        return [
            session.reset_to(goal, seed=seed)
            for session, goal, seed in zip(chosen, goals, seeds, strict=True)
        ]

    def step(self, actions: Sequence[str | None]) -> list[Step | None]:
        """Apply one action to each session.

        Args:
            actions: [B]; None leaves a session alone, and gives None.
        Raises: ValueError if there are not B.
        """
        return [
            None if action is None else session.step(action)
            for session, action in zip(self._sessions, actions, strict=True)
        ]
