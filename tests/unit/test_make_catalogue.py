"""Made catalogues are read as the original's files, are the same for a seed, and grow in words."""

from __future__ import annotations

from pathlib import Path

from benchmarks.make_catalogue import code, write
from webshop_rl.envs.webshop.analysis import tokens
from webshop_rl.envs.webshop.catalogue import load_products


def test_a_made_catalogue(webshop_data_dir: Path, tmp_path: Path) -> None:
    for name, number, seed in (("a", 60, 0), ("b", 60, 0), ("c", 60, 1)):
        write(webshop_data_dir, tmp_path / name, number, seed)
    products = load_products(tmp_path / "a", num_products=None)
    assert [product.asin for product in products] == [code(place) for place in range(60)]
    # As many have an instruction as of the real ones: 415 of 1,000, within four standard deviations.
    assert 10 < sum(product.instruction is not None for product in products) < 40
    files = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b", "c")
    }
    assert files["a"] == files["b"] != files["c"]
    real = {
        token for p in load_products(webshop_data_dir, num_products=1000) for token in tokens(p.index_text())
    }
    new = [token for product in products for token in tokens(product.index_text()) if token not in real]
    # 1.5 in 100 words are new.
    assert 0.005 < len(new) / sum(len(tokens(product.index_text())) for product in products) < 0.03


def test_codes_differ() -> None:
    codes = {code(place) for place in range(20_000)}
    assert len(codes) == 20_000
    assert {len(each) for each in codes} == {10}
