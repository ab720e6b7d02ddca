"""Files are whole or absent, and of several writers none sees another's part."""

import os
import threading

import pytest

from webshop_rl.storage import files
from webshop_rl.storage.files import create_file, read_json, replace_file, replacing


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "new" / "a.json"
    replace_file(path, "first")
    replace_file(path, "segunda versión", durable=False)
    assert path.read_text(encoding="utf-8") == "segunda versión"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_the_old_content_stands_alone(tmp_path):
    path = tmp_path / "a"
    replace_file(path, "old")

    def half_written():
        with replacing(path) as part:
            part.write_text("half")
            assert path.read_text() == "old"
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        half_written()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_durable_content_is_flushed_before_it_takes_its_place(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files, "sync", lambda p: seen.append(("sync", p.name.endswith(".part"))))
    monkeypatch.setattr(files.os, "replace", lambda a, b: seen.append(("replace", str(b))))
    replace_file(tmp_path / "a", "x")
    assert seen == [("sync", True), ("replace", str(tmp_path / "a")), ("sync", False)]


def test_one_of_many_creates_a_file_and_the_others_find_it(tmp_path):
    path, won, start = tmp_path / "uid", [], threading.Barrier(8)

    def create(number):
        start.wait()
        if create_file(path, str(number)):
            won.append(str(number))

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [path.read_text()]
    assert os.listdir(tmp_path) == ["uid"]


@pytest.mark.parametrize("content", ["", "{torn", "[1]", "3"])
def test_what_is_not_an_object_reads_as_none(tmp_path, content):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    path.write_text(content)
    assert read_json(path) is None
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
