"""The store of reference returns: what each reference sample of each goal earned.

    root/<digest of the key>/key.json                what determines the samples, the code among it
                             returns/<shard>.jsonl   {"goal", "index", "return", "score"} a line
                             locks/<goal>.lock/      who is sampling that goal now
                             configurations/<digest> names of shop and model of a configuration that used them

Raw returns are stored, not V*: another beta costs nothing and more samples extend what is there. A
sample is determined by the key, the goal and its index; the same one stored twice counts once.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.lock import STALE_S
from webshop_rl.values.goal_locks import lock_goals
from webshop_rl.values.shards import list_shards, read_shard, write_shard

_CONFIGURATIONS = "configurations"


@dataclass(frozen=True, slots=True)
class Sample:
    """One reference episode: the goal's id, which sample of it, its return and its score."""

    goal: str
    index: int
    episode_return: float
    score: float


class _Entry(NamedTuple):
    origin: tuple[str, int]  # shard's name and line: the smallest wins, whatever the order of reading
    episode_return: float
    score: float


class ReturnStore:
    """A folder of keyed returns, shared by all runs that name it."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def open(self, key: Mapping[str, str], *, stale_s: float = STALE_S) -> KeyedReturns:
        """The returns under a key.

        Args:
            key: all that determines a sample besides goal and index: reference weights, prompt,
                decoding, shop, seed. Two keys with the same pairs are the same key.
            stale_s: see lock_goals.
        Raises: UserError if the folder cannot be written.
        """
        text = json.dumps(dict(key), sort_keys=True, ensure_ascii=False)
        folder = self.root / hashlib.sha256(text.encode()).hexdigest()[:32]
        try:
            (folder / "returns").mkdir(parents=True, exist_ok=True)
            if not (folder / "key.json").exists():
                replace_file(folder / "key.json", json.dumps(dict(key), sort_keys=True, indent=1) + "\n")
            return KeyedReturns(folder, stale_s=stale_s)
        except OSError as error:
            raise UserError(
                f"the store of reference returns cannot be written: {error.strerror}",
                where=str(self.root),
                remedy="name a folder you may write to",
            ) from error

    def others(self, key: Mapping[str, str], *, apart: Iterable[str]) -> list[KeyedReturns]:
        """Samples under keys that differ from this one in nothing but the fields `apart`.

        Returns: those that have samples; the ones added to last come last.
        """
        free = set(apart)
        same = {name: value for name, value in key.items() if name not in free}
        return [
            KeyedReturns(folder)
            for folder, found in self._sampled()
            if found != dict(key) and {n: v for n, v in found.items() if n not in free} == same
        ]

    def keys_used_by(self, configuration: str) -> list[dict[str, str]]:
        """The keys under which runs of a configuration (KeyedReturns.note_configuration) have samples."""
        return [key for folder, key in self._sampled() if (folder / _CONFIGURATIONS / configuration).exists()]

    def all(self) -> list[KeyedReturns]:
        """The returns under every key that has samples; those added to last come last."""
        return [KeyedReturns(folder) for folder, _ in self._sampled()]

    def _sampled(self) -> list[tuple[Path, dict[str, str]]]:
        """Folder and key of all that have samples, by the time of their last shard."""
        found = []
        for folder in self.root.glob("*"):
            shards = list_shards(folder / "returns")
            if shards:
                found.append((shards[-1].name, folder, read_json(folder / "key.json") or {}))
        return [(folder, key) for _, folder, key in sorted(found, key=lambda entry: entry[:2])]


class KeyedReturns:
    """The reference returns under one key; what other processes add shows after refresh."""

    def __init__(self, folder: Path, *, stale_s: float = STALE_S) -> None:
        self.folder = folder
        self.key: dict[str, str] = read_json(folder / "key.json") or {}
        self._stale_s = stale_s
        self._entries: dict[str, dict[int, _Entry]] = {}
        self._read: dict[str, tuple[int, int] | None] = {}  # None: read whole, never to be read again
        self._warned = False
        self.refresh()

    def get(self, goal: str) -> dict[int, float]:
        """Return of each stored sample of the goal, by index, ascending."""
        return {i: entry.episode_return for i, entry in sorted(self._entries.get(goal, {}).items())}

    def scores(self, goal: str) -> dict[int, float]:
        """Score of each stored sample of the goal, by index, ascending."""
        return {i: entry.score for i, entry in sorted(self._entries.get(goal, {}).items())}

    def missing(self, goals: Iterable[str], num_samples: int) -> list[tuple[str, int]]:
        """The (goal, index) pairs with index < num_samples that are not stored, goals in their order."""
        return [(g, i) for g in goals for i in range(num_samples) if i not in self._entries.get(g, {})]

    def add(self, samples: Sequence[Sample]) -> None:
        """Store samples durably; when this returns they survive a crash.

        Raises: ValueError if an index is negative or a number is not finite; then nothing is stored.
        """
        for sample in samples:
            if sample.index < 0 or not (math.isfinite(sample.episode_return) and math.isfinite(sample.score)):
                raise ValueError(f"not a sample: {sample}")
        if samples:
            rows = [
                {"goal": s.goal, "index": s.index, "return": s.episode_return, "score": s.score}
                for s in samples
            ]
            self._load(write_shard(self.folder / "returns", rows))

    def refresh(self) -> int:
        """Read what others have added. Returns: how many samples are new."""
        return sum(self._load(path) for path in list_shards(self.folder / "returns"))

    def adopt(self, other: KeyedReturns) -> None:
        """Store what another key has and this one lacks."""
        self.add(
            [
                Sample(goal, index, entry.episode_return, entry.score)
                for goal, entries in other._entries.items()
                for index, entry in entries.items()
                if index not in self._entries.get(goal, {})
            ]
        )

    def note_configuration(self, configuration: str, names: Mapping[str, Any] | None = None) -> None:
        """Note that runs of this configuration use the samples; see ReturnStore.keys_used_by.

        Args:
            configuration: its digest.
            names: what people call its shop and model, and with a curriculum its stages.
        """
        folder = self.folder / _CONFIGURATIONS
        folder.mkdir(exist_ok=True)
        replace_file(folder / configuration, json.dumps(dict(names or {})), durable=False)

    @property
    def names(self) -> dict[str, Any]:
        """What people call the shop and the model, as a configuration that used the samples notes it."""
        notes = sorted(self.folder.glob(f"{_CONFIGURATIONS}/*"))
        return next((note for path in notes if (note := read_json(path))), {})

    @property
    def goals(self) -> list[str]:
        """The goals that have samples, in order."""
        return sorted(self._entries)

    @property
    def empty(self) -> bool:
        """Whether there is no sample."""
        return not self._entries

    def lock(
        self, goals: Iterable[str], *, limit: int | None = None, force: bool = False
    ) -> AbstractContextManager[list[str]]:
        """Lock goals for sampling; see lock_goals."""
        return lock_goals(self.folder / "locks", goals, limit=limit, force=force, stale_s=self._stale_s)

    def _load(self, path: Path) -> int:
        seen = self._read.get(path.name, (-1, -1))
        if seen is None:
            return 0
        status = path.stat()
        if seen == (status.st_size, status.st_mtime_ns):
            return 0
        rows, bad = read_shard(path)
        added = 0
        for number, row in rows:
            try:
                added += self._put(_parse(row), (path.name, number))
            except (KeyError, TypeError, ValueError):
                bad += 1
        # A shard with a bad line is looked at again should it change.
        self._read[path.name] = (status.st_size, status.st_mtime_ns) if bad else None
        if bad:
            warnings.warn(f"{path}: {bad} unreadable line(s) passed over", stacklevel=2)
        return added

    def _put(self, sample: Sample, origin: tuple[str, int]) -> int:
        entries = self._entries.setdefault(sample.goal, {})
        entry = _Entry(origin, sample.episode_return, sample.score)
        old = entries.get(sample.index)
        if old is None or entry.origin < old.origin:
            entries[sample.index] = entry
        if old is not None and old[1:] != entry[1:] and not self._warned:
            self._warned = True  # one is enough: a changed machine changes many
            warnings.warn(
                f"{self.folder}: goal {sample.goal} sample {sample.index} is stored as "
                f"{old.episode_return} and {entry.episode_return}; the first written counts",
                stacklevel=2,
            )
        return int(old is None)


def _parse(row: dict[str, Any]) -> Sample:
    index, episode_return, score = (row["index"], float(row["return"]), float(row["score"]))
    if type(index) is not int or index < 0 or not (math.isfinite(episode_return) and math.isfinite(score)):
        raise ValueError("not a sample")
    return Sample(str(row["goal"]), index, episode_return, score)
