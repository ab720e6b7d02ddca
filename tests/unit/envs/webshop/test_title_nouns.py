"""The command that writes title nouns, with a tagger that stands in for spaCy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from webshop_rl.envs.webshop import title_nouns

RECORDS = [{"asin": "A", "name": "Red Shoes For Red Feet"}, {"asin": "B", "name": "Go Quickly"}]


@dataclass
class Token:
    text: str
    pos_: str


class Tagger:
    """Capitals are proper nouns, "For" is none, "Quickly" an adverb."""

    def pipe(self, items: Iterable[tuple[str, str]], *, as_tuples: bool) -> Iterator[tuple[list[Token], str]]:
        assert as_tuples
        tags = {"For": "ADP", "Quickly": "ADV", "Go": "VERB", "Shoes": "NOUN"}
        for text, context in items:
            yield [Token(word, tags.get(word, "PROPN")) for word in text.split()], context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "items_shuffle.json").write_text(json.dumps(RECORDS))
    return tmp_path


def test_nouns_are_written_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(title_nouns, "load_tagger", lambda model: Tagger())
    path = folder / "title_nouns.json"
    path.write_text(json.dumps({"B": ["kept"]}))
    assert title_nouns.main([str(folder)]) == 0
    assert json.loads(path.read_text()) == {"B": ["kept"], "A": ["red", "shoes", "red", "feet"]}
    assert "1 products added, 2 in all" in capsys.readouterr().out
    assert [entry.name for entry in folder.iterdir() if "partial" in entry.name] == []


def test_an_interrupted_tagging_goes_on_where_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tagged: list[str] = []

    class Interrupted(Tagger):
        def pipe(
            self, items: Iterable[tuple[str, str]], *, as_tuples: bool
        ) -> Iterator[tuple[list[Token], str]]:
            for found in super().pipe(items, as_tuples=as_tuples):
                if tagged == ["A"]:
                    raise KeyboardInterrupt
                yield found
                tagged.append(found[1])

    monkeypatch.setattr(title_nouns, "SAVED_EVERY", 1)
    monkeypatch.setattr(title_nouns, "load_tagger", lambda model: Interrupted())
    assert title_nouns.main([str(folder)]) == 130
    assert "1 of 2 titles tagged, " in capsys.readouterr().out
    assert list(json.loads((folder / "title_nouns.json").read_text())) == ["A"]
    tagged.append("once")
    assert title_nouns.main([str(folder)]) == 0
    assert tagged == ["A", "once", "B"]
    assert "1 products added, 2 in all" in capsys.readouterr().out


def test_nothing_missing_needs_no_tagger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: str) -> None:
        raise AssertionError("no tagger is needed")

    monkeypatch.setattr(title_nouns, "load_tagger", fail)
    path = folder / "title_nouns.json"
    path.write_text(json.dumps({"A": [], "B": []}))
    path.chmod(0o444)
    before = path.stat()
    assert title_nouns.main([str(folder)]) == 0
    assert path.stat() == before  # nor is the file written


def test_a_folder_that_cannot_be_written_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(title_nouns, "load_tagger", lambda model: Tagger())
    monkeypatch.setattr(title_nouns, "replace_file", refuse)
    assert title_nouns.main([str(folder)]) == 2
    expected = (
        f"error: {folder / 'title_nouns.json'}: cannot be written: Permission denied (copy the folder first)"
    )
    assert capsys.readouterr().err.strip() == expected


def test_a_missing_model_is_an_error_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert title_nouns.main([str(folder), "--model", "no_such_model_here"]) == 2
    assert "constraints-nouns.txt, or make webshop" in capsys.readouterr().err
    assert not (folder / "title_nouns.json").exists()


def test_a_missing_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert title_nouns.main([str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err
