"""The prepared form: the same shop bit for bit, whatever interrupts its making; refused if not whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from webshop_rl.envs import prepare as command
from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop import reading
from webshop_rl.envs.webshop.catalogue import Catalogue, load_products, look
from webshop_rl.envs.webshop.prepared import Prepared, as_text, from_text, is_prepared
from webshop_rl.envs.webshop.product import HumanInstruction
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError

Write = Callable[[Path, dict[str, Any]], Path]


def _prepare(folder: Path, out: Path, *options: str) -> int:
    return command.main(["--data-dir", str(folder), "--out", str(out), "--workers", "1", *options])


@pytest.fixture(scope="module")
def real(webshop_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real 1,000 products, prepared in runs of 300 records."""
    out = tmp_path_factory.mktemp("prepared") / "real"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "RUN", 300)
        patch.setattr(reading, "BATCH", 70)
        assert _prepare(webshop_data_dir, out) == 0
    return out


@pytest.fixture
def mini(tmp_path: Path, mini_files: dict[str, Any], write_catalogue: Write) -> Path:
    """Original files that a test may change."""
    return write_catalogue(tmp_path / "mini", mini_files)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"goals": "human", "split": "published"},
        {"fidelity": "fixed", "split": "published", "mode": "text_rich"},
        {"train_goals": "generated", "split": "product"},
        {"num_products": 100, "split": "none"},
    ],
    ids=str,
)
def test_both_forms_are_one_shop(settings: dict[str, Any], webshop_data_dir: Path, real: Path) -> None:
    plain = WebShop(data_dir=str(webshop_data_dir), **settings)
    mapped = WebShop(data_dir=str(real), **settings)
    assert list(mapped.products) == list(plain.products)
    assert [repr(p) for p in mapped.products] == [repr(p) for p in plain.products]
    assert dict(mapped.prices) == dict(plain.prices)
    assert list(map(repr, mapped.goals("all"))) == list(map(repr, plain.goals("all")))
    for split in SPLITS:
        assert _ids(mapped, split) == _ids(plain, split)
    assert mapped.digest() == plain.digest()
    assert mapped.split_digest() == plain.split_digest()
    goals = plain.goals("all")[::97]
    for goal in goals:
        assert mapped.hits(goal.instruction) == plain.hits(goal.instruction)
    for goal, policy in zip(goals[:24], ["rule", "backtrack", "random"] * 8, strict=False):
        records = [run_episode(shop.session(), POLICIES[policy](), goal, seed=3) for shop in (plain, mapped)]
        assert records[0] == records[1]


def _ids(shop: WebShop, split: str) -> list[str]:
    try:
        return [goal.id for goal in shop.goals(split)]
    except UserError as error:
        return [str(error)]


def test_special_searches_and_twins_are_the_same(webshop_data_dir: Path, real: Path) -> None:
    plain, mapped = (WebShop(data_dir=str(folder)) for folder in (webshop_data_dir, real))
    goal = plain.goals("all")[0]
    item = plain.product(goal.asin)
    for words in (item.query, item.category, *item.attributes[:3], "no such thing"):
        for kind in ("<q>", "<c>", "<a>", "<r>"):
            pages = []
            for shop in (plain, mapped):
                session = shop.session()
                session.reset_to(goal, seed=5)
                pages.append(session.step(f"search[{kind} {words}]").page)
            assert pages[0] == pages[1]
    catalogues = [Catalogue.load(folder, num_products=1000) for folder in (webshop_data_dir, real)]
    leaders = [
        {p.asin: catalogue.leaders.get(p.asin, p.asin) for p in catalogue.products}
        for catalogue in catalogues
    ]
    assert leaders[0] == leaders[1]
    assert sum(asin != leader for asin, leader in leaders[0].items()) > 8


def test_odd_texts_survive(mini_data_dir: Path) -> None:
    for product in load_products(mini_data_dir, num_products=None):
        assert from_text(as_text(product)) == product
    odd = product.__class__(
        **{name: getattr(product, name) for name in product.__slots__}
        | {
            "title": "half a pair \ud83d, ★ \u2028 \x00",
            "options": {"b": (), "a": ("",)},
            "pricing": (0.1 + 0.2, 1e-9),
            "instruction": None,
            "human_instructions": (HumanInstruction("x", ("a",), ()),),
        }
    )
    again = from_text(as_text(odd))
    assert repr(again) == repr(odd)
    assert list(again.options) == ["b", "a"]


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "catalogue.json"}


def test_an_interrupted_command_goes_on(
    mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "RUN", 5)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert _prepare(mini, whole) == 0
    parse, replace_file, calls = reading.parse, reading.replace_file, 0

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return parse(*args, **kwargs)

    monkeypatch.setattr(reading, "parse", dies)
    assert _prepare(mini, out) == 130
    assert not out.exists()
    monkeypatch.setattr(reading, "parse", parse)

    def torn(path: Path, text: str) -> None:
        if calls == 3:
            raise KeyboardInterrupt
        replace_file(path, text)

    # Killed after a run was written, and before that was noted.
    monkeypatch.setattr(reading, "replace_file", torn)
    assert _prepare(mini, out) == 130
    calls = 0
    capsys.readouterr()
    assert _prepare(mini, out) == 0
    assert "goes on after 10 records" in capsys.readouterr().out
    assert _content(out) == _content(whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    # Other files: nothing of the old is taken.
    assert Prepared(out).manifest.left_out == {"with an ASIN seen before": 1, "without an ASIN": 2}


def test_several_processes_write_the_same(mini: Path, tmp_path: Path) -> None:
    assert _prepare(mini, tmp_path / "one") == 0
    assert command.main(["--data-dir", str(mini), "--out", str(tmp_path / "two"), "--workers", "2"]) == 0
    assert _content(tmp_path / "one") == _content(tmp_path / "two")


def test_workers_do_not_outlive_a_killed_command(mini: Path, tmp_path: Path) -> None:
    program = """
import os, signal, sys
from webshop_rl.envs.webshop import reading
from webshop_rl.envs import prepare
class Pool(reading.ProcessPoolExecutor):
    def map(self, *args, **kwargs):
        result = list(super().map(*args, **kwargs))
        print(*self._processes, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
reading.ProcessPoolExecutor = Pool
prepare.main(sys.argv[1:])
"""
    command_line = [sys.executable, "-c", program, "--data-dir", str(mini), "--out", str(tmp_path / "out")]
    killed = subprocess.run(
        [*command_line, "--workers", "2"], capture_output=True, text=True, check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    workers = [int(number) for number in killed.stdout.splitlines()[-1].split()]
    assert workers
    assert (
        psutil.wait_procs([psutil.Process(n) for n in workers if psutil.pid_exists(n)], timeout=120)[1] == []
    )


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _change(path: Path) -> None:
    before = path.stat()
    path.write_text(path.read_text().replace("Oak Table", "Elm Table"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _version(path: Path) -> None:
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda mini, out: _change(mini / "items_shuffle_1000.json"),
            r"out: was made of other bytes than .*json",
        ),
        (lambda mini, out: _cut(mini / "items_human_ins.json"), r"was made of other bytes than .*human_ins"),
        (lambda mini, out: _cut(out / "products.bin"), r"products\.bin: has [\d,]+ bytes of [\d,]+"),
        (lambda mini, out: (out / "ranks.npy").unlink(), r"ranks\.npy: no such file"),
        (lambda mini, out: _version(out / "catalogue.json"), r"is of version 99, this program reads 1"),
        (lambda mini, out: _cut(out / "catalogue.json"), r"catalogue\.json: not a readable manifest"),
    ],
)
def test_what_is_not_whole_or_not_of_its_sources_is_refused(
    spoil: Callable[[Path, Path], None], message: str, mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert _prepare(mini, out) == 0
    look(out, num_products=None)
    os.utime(mini / "items_shuffle_1000.json")  # another time, the same bytes
    look(out, num_products=None)
    spoil(mini, out)
    with pytest.raises(UserError, match=message) as caught:
        look(out, num_products=None)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_folder_alone_is_enough(mini: Path, tmp_path: Path) -> None:
    out = mini / "prepared"
    assert command.main(["--data-dir", str(mini), "--workers", "1"]) == 0
    moved = tmp_path / "elsewhere"
    shutil.move(out, moved)
    shutil.rmtree(mini)
    assert len(WebShop(data_dir=str(moved), num_products=None, split="none").products) == 20
    with pytest.raises(UserError, match="holds only 23 products, 1000 were asked for"):
        look(moved, num_products=1000)


def test_a_part_is_not_taken_for_all(mini: Path, tmp_path: Path) -> None:
    assert _prepare(mini, tmp_path / "out", "--num-products", "6") == 0
    assert [p.asin[-1] for p in load_products(tmp_path / "out", num_products=6)] == ["1", "2", "3", "4"]
    with pytest.raises(UserError, match="has the first 6 products, all were asked for"):
        look(tmp_path / "out", num_products=None)


def _record(number: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["items_shuffle_1000.json"][number].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_record(1, name=None), "items_shuffle_1000.json: record 1: name should be a text"),
        (_record(1, asin=7), "items_shuffle_1000.json: record 1: asin should be a text"),
        (_record(1, pricing="12"), "items_shuffle_1000.json: record 1: pricing should be"),
        (lambda c: c["title_nouns.json"].pop("B000000002"), "record 1: no title nouns for B000000002"),
        (
            lambda c: c["items_ins_v2_1000.json"].update(B000000002=[]),
            "annotation of B000000002: record should",
        ),
        (
            lambda c: c["items_human_ins.json"].update(B000000002={}),
            "human of B000000002: human instructions",
        ),
    ],
)
def test_a_broken_record_is_named_or_left_out_and_counted(
    change: Callable[[dict[str, Any]], None],
    message: str,
    tmp_path: Path,
    mini_files: dict[str, Any],
    write_catalogue: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(mini_files)
    folder = write_catalogue(tmp_path / "data", mini_files)
    assert _prepare(folder, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert _prepare(folder, tmp_path / "out", "--broken", "skip") == 0
    out = capsys.readouterr().out
    assert f"left out: {folder}" in out or "left out: " in out
    assert message in out
    assert "1 broken" in out
    shop = WebShop(data_dir=str(tmp_path / "out"), num_products=None, split="none")
    assert len(shop.products) == 19
    assert shop.remarks == ("1 broken records of the catalogue are left out",)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "record 11: cannot be read: "),
        (lambda text: text[:-1], "record 23: cannot be read: the file ends before its list does"),
        (lambda text: text[:900] + b"\xff" + text[900:], "cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_a_torn_catalogue_is_an_error_always(
    spoil: Callable[[bytes], bytes],
    message: str,
    mini: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = mini / "items_shuffle_1000.json"
    path.write_bytes(spoil(path.read_bytes()))
    assert _prepare(mini, tmp_path / "out", "--broken", "skip") == 2
    error = capsys.readouterr().err
    assert f"error: {path}: record" in error
    assert message in error
    assert error.count("\n") == 1
    assert not is_prepared(tmp_path / "out")


def test_bad_requests(mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    assert _prepare(mini, tmp_path / "out", "--num-products", "24") == 2
    assert _prepare(mini, tmp_path / "other") == 2
    assert _prepare(mini, tmp_path / "out", "--num-products", "0") == 2
    assert _prepare(tmp_path / "absent", tmp_path / "out") == 2
    assert _prepare(mini, tmp_path / "out") == 0
    assert _prepare(tmp_path / "out", tmp_path / "more") == 2
    errors = capsys.readouterr().err.splitlines()
    expected = ["holds only 23 products, 24", "is something else", "--num-products: should", "no such folder"]
    expected.append("is prepared already")
    assert len(errors) == len(expected)
    assert all(part in error for part, error in zip(expected, errors, strict=True))
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_prepared_again_after_a_change(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _prepare(mini, out) == 0
    _change(mini / "items_shuffle_1000.json")
    assert _prepare(mini, out) == 0
    assert "Elm Table" in [product.title for product in Prepared(out).products]
    manifest = json.loads((out / "catalogue.json").read_text())
    assert manifest["nouns"] == "title_nouns.json"
