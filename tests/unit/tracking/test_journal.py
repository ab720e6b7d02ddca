"""The journal: whole rows whatever is killed, rows computed again, numbers to the last bit."""

import json
import math
import os
from itertools import count

import pytest

from tests.support.tracking import Point, last_values, metric_history
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking import rows
from webshop_rl.tracking.journal import Journal


def ticking():
    """A clock that shows 1000 s, 1001 s, ..."""
    ticks = count(1000)
    return lambda: float(next(ticks))


def write(folder, *steps, **more):
    journal = Journal(folder, clock=ticking())
    for step in steps:
        journal.metrics(step, {"train/score": step / 10, **more})
    journal.close()
    return journal


def test_special_and_awkward_numbers_come_back_as_they_were(tmp_path):
    values = {
        "algo/nan": math.nan,
        "algo/inf": math.inf,
        "algo/minus_inf": -math.inf,
        "algo/denormal": 5e-324,
        "algo/third": 0.1 + 0.2,
        "algo/large": 1.7976931348623157e308,
    }
    journal = Journal(tmp_path)
    journal.metrics(7, values)
    journal.close()
    for line in journal.path.read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    for key, value in values.items():
        (point,) = metric_history(journal.path, key)
        assert point.step == 7
        assert point.value == value or (math.isnan(value) and math.isnan(point.value))


def test_torn_at_every_byte_of_the_last_row(tmp_path):
    whole = write(tmp_path / "whole", 1, 2, 3).path.read_bytes()
    kept = whole[: whole.rindex(b"\n", 0, -1) + 1]
    for length in range(len(kept), len(whole)):
        folder = tmp_path / str(length)
        folder.mkdir()
        path = RunFolder(folder).journal
        path.write_bytes(whole[:length])
        journal = Journal(folder, clock=ticking())
        journal.metrics(3, {"train/score": 0.3})
        journal.metrics(4, {"train/score": 0.4})
        journal.close()
        assert [p.step for p in metric_history(path, "train/score")] == [1, 2, 3, 4], length
        assert not journal.mismatches
        torn = whole[len(kept) : length]
        if len(torn) == len(whole) - len(kept) - 1:  # all but the newline: the row was whole
            assert not RunFolder(folder).torn_journal.exists()
        elif torn:
            assert RunFolder(folder).torn_journal.read_bytes() == torn + b"\n"


def test_reader_leaves_out_a_row_that_is_being_written(tmp_path):
    path = write(tmp_path, 1, 2).path
    with path.open("ab") as file:
        file.write(b'{"kind":"metrics","ts_')
    assert len(rows.read_rows(path)) == 2


def test_damage_before_the_last_line_is_an_error_that_names_the_line(tmp_path):
    path = write(tmp_path, 1, 2, 3).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * 20 + b"\n" + lines[2])
    with pytest.raises(UserError, match="line 2 is damaged"):
        Journal(tmp_path)
    with pytest.raises(UserError, match="line 2 is damaged"):
        rows.read_rows(path)


def test_rows_computed_again_are_compared_not_appended(tmp_path, caplog):
    write(tmp_path, 1, 2, 3, **{"time/learn_s": 1.0})
    journal = Journal(tmp_path, clock=ticking())
    journal.metrics(2, {"train/score": 0.2, "time/learn_s": 9.0})
    journal.metrics(3, {"train/score": 0.30000000000000004, "time/learn_s": 9.0, "optim/loss": 1.0})
    journal.metrics(4, {"train/score": 0.4})
    journal.close()
    history = metric_history(journal.path, "train/score")
    assert [(p.step, p.value) for p in history] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert [p.value for p in metric_history(journal.path, "time/learn_s")] == [1.0, 1.0, 1.0]
    assert [p.step for p in metric_history(journal.path, "optim/loss")] == [3]
    # Tolerance 0: one bit differs, and the wall-clock metric is let through.
    (mismatch,) = journal.mismatches
    assert (mismatch.key, mismatch.step) == ("train/score", 3)
    assert "resume not exact: train/score at step 3" in caplog.text


def test_nan_computed_again_is_no_mismatch(tmp_path):
    write(tmp_path, 1, **{"optim/loss": math.nan})
    journal = Journal(tmp_path)
    journal.metrics(1, {"optim/loss": math.nan})
    assert not journal.mismatches


def test_the_same_run_keeps_its_uid_and_an_unchanged_tag_is_not_repeated(tmp_path):
    uids = set()
    for _ in range(2):
        journal = Journal(tmp_path)
        journal.run(run_name="a", experiment="e", uri="u", sweep="")
        journal.params({"lr": "1"})
        journal.tags({"seed": "0"})
        journal.close()
        uids.add(journal.run_uid)
    assert len(uids) == 1
    assert [row["kind"] for row in rows.read_rows(journal.path)] == ["run", "params", "tags"]
    with pytest.raises(ValueError, match="param lr was '1'"):
        Journal(tmp_path).params({"lr": "2"})


def test_an_empty_tag_is_recorded_only_where_it_clears_one(tmp_path):
    journal = Journal(tmp_path)
    journal.tags({"error": "", "seed": "0"})
    journal.tags({"error": "it broke"})
    journal.tags({"error": ""})
    journal.close()
    expected = [{"seed": "0"}, {"error": "it broke"}, {"error": ""}]
    assert [row["tags"] for row in rows.read_rows(journal.path)] == expected


def test_full_disk_leaves_whole_rows_and_loses_none(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.metrics(1, {"train/score": 0.1})
    journal.flush()
    journal.metrics(2, {"train/score": 0.2})
    real = os.write

    def half(handle, content):
        real(handle, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        journal.flush()
    assert len(rows.read_rows(journal.path)) == 1
    assert journal.path.read_bytes().endswith(b"}\n")
    monkeypatch.setattr(os, "write", real)
    journal.close()
    assert [p.step for p in metric_history(journal.path, "train/score")] == [1, 2]


def test_nothing_is_written_once_another_process_has_taken_over(tmp_path):
    ours = [True]
    journal = Journal(tmp_path, may_write=lambda: ours[0])
    journal.metrics(1, {"train/score": 0.1})
    journal.flush()
    ours[0] = False
    journal.metrics(2, {"train/score": 0.2})
    with pytest.raises(RuntimeError, match="taken over"):
        journal.flush()
    assert len(rows.read_rows(journal.path)) == 1


def test_last_values_are_the_newest(tmp_path):
    path = write(tmp_path, 1, 2, 3).path
    assert last_values(path)["train/score"] == Point(3, 1_002_000, 0.3)
