"""The store of reference returns: what is kept, what is tolerated."""

import json
from pathlib import Path

import pytest

from webshop_rl.errors import UserError
from webshop_rl.values.store import KeyedReturns, ReturnStore, Sample

KEY = {"weights": "abc", "shop": "def"}


def _open(root: Path, **key: str) -> KeyedReturns:
    return ReturnStore(root).open(KEY | key)


def _shards(store: KeyedReturns) -> list[Path]:
    return sorted((store.folder / "returns").glob("*.jsonl"))


def test_what_is_added_is_there_for_the_next(tmp_path: Path) -> None:
    _open(tmp_path).add([Sample("g/1", 1, 0.3, 0.0), Sample("g/1", 0, 1.6, 1.0)])
    store = _open(tmp_path)
    assert store.get("g/1") == {0: 1.6, 1: 0.3}
    assert list(store.get("g/1")) == [0, 1]
    assert store.scores("g/1") == {0: 1.0, 1: 0.0}
    assert store.get("other") == {}
    assert store.missing(["g/1", "g/2"], 3) == [("g/1", 2), ("g/2", 0), ("g/2", 1), ("g/2", 2)]


def test_keys_are_apart_and_their_order_does_not_matter(tmp_path: Path) -> None:
    _open(tmp_path).add([Sample("g", 0, 1.0, 1.0)])
    assert _open(tmp_path, weights="other").get("g") == {}
    assert ReturnStore(tmp_path).open(dict(reversed(KEY.items()))).get("g") == {0: 1.0}
    assert json.loads((_open(tmp_path).folder / "key.json").read_text()) == KEY


def test_refresh_shows_what_others_add(tmp_path: Path) -> None:
    mine, theirs = _open(tmp_path), _open(tmp_path)
    theirs.add([Sample("g", 0, 0.5, 0.5), Sample("g", 1, 0.5, 0.5)])
    assert mine.get("g") == {}
    assert mine.refresh() == 2
    assert mine.refresh() == 0
    assert mine.get("g") == {0: 0.5, 1: 0.5}


def test_the_same_sample_twice_counts_once_without_a_word(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for _ in range(2):
        _open(tmp_path).add([Sample("g", 0, 0.5, 0.5)])
    assert _open(tmp_path).get("g") == {0: 0.5}
    assert not recwarn.list


def test_of_contradicting_samples_the_first_written_counts(tmp_path: Path) -> None:
    _open(tmp_path).add([Sample("g", 0, 0.1, 0.0)])
    late = _open(tmp_path)
    with pytest.warns(UserWarning, match="first written counts"):
        late.add([Sample("g", 0, 0.9, 0.0), Sample("g", 0, 0.8, 0.0)])
    assert late.get("g") == {0: 0.1}
    # Whatever the order in which the shards are met: here the later one first.
    first, _second = _shards(late)
    first_text = first.read_text()
    first.unlink()
    with pytest.warns(UserWarning, match="first written counts"):
        reader = _open(tmp_path)
    assert reader.get("g") == {0: 0.9}
    first.write_text(first_text)
    reader.refresh()
    assert reader.get("g") == {0: 0.1}


def test_a_torn_last_line_loses_only_itself(tmp_path: Path) -> None:
    store = _open(tmp_path)
    store.add([Sample("g", i, 0.5, 0.5) for i in range(3)])
    (shard,) = _shards(store)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.warns(UserWarning, match="1 unreadable"):
        reader = _open(tmp_path)
    assert reader.get("g") == {0: 0.5, 1: 0.5}
    assert reader.missing(["g"], 3) == [("g", 2)]
    # Seen again once it is whole, and not before.
    assert reader.refresh() == 0
    shard.write_bytes(whole)
    assert reader.refresh() == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0\0",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"goal": "g", "index": 1}',
        b'{"goal": "g", "index": 1.5, "return": 0, "score": 0}',
        b'{"goal": "g", "index": -1, "return": 0, "score": 0}',
        b'{"goal": "g", "index": 1, "return": NaN, "score": 0}',
        b'{"goal": "g", "index": 1, "return": "much", "score": 0}',
    ],
)
def test_a_bad_line_is_passed_over(tmp_path: Path, line: bytes) -> None:
    folder = _open(tmp_path).folder / "returns"
    good = b'{"goal": "g", "index": 0, "return": 0.5, "score": 0}\n'
    (folder / "0.jsonl").write_bytes(line + b"\n" + good)
    with pytest.warns(UserWarning, match="unreadable"):
        assert _open(tmp_path).get("g") == {0: 0.5}


def test_half_written_files_of_the_dead_are_not_read(tmp_path: Path) -> None:
    store = _open(tmp_path)
    (store.folder / "returns" / ".123.jsonl.abc.tmp").write_text(
        '{"goal": "g", "index": 0, "return": 1, "score": 1}\n'
    )
    assert _open(tmp_path).get("g") == {}


@pytest.mark.parametrize("bad", [Sample("g", -1, 0.0, 0.0), Sample("g", 1, float("nan"), 0.0)])
def test_a_bad_sample_stores_nothing(tmp_path: Path, bad: Sample) -> None:
    store = _open(tmp_path)
    with pytest.raises(ValueError, match="not a sample"):
        store.add([Sample("g", 0, 1.0, 1.0), bad])
    assert _open(tmp_path).get("g") == {}


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        _open(tmp_path / "file")
