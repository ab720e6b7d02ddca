"""Two slides: the system and the results, of hostile text too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from analysis.tables import Table

pptx = pytest.importorskip("pptx")


@pytest.mark.parametrize("text", ["test/score", "<script>&\x0b\u202e" + "x" * 4000])
def test_two_pages_open_again_with_headline_table_and_cautions(tmp_path: Path, text: str) -> None:
    from analysis.slides import MAX_CAUTIONS, MAX_ROWS, write_slides

    columns = ["arm", "seeds", "test/success", "test/score", "against the leader", "hours"]
    table = Table("Arms", columns, [[text, "3", "0.5", "0.6", "leads", "1"]] * 20)
    path = tmp_path / "slides.pptx"
    write_slides(
        path,
        title="study",
        headline=f"a is best: {text}",
        settings=[("Shop", text)],
        table=table,
        pictures=[],
        cautions=[text] * 9,
    )
    system, results = pptx.Presentation(str(path)).slides
    assert "V*" in " ".join(s.text_frame.text for s in system.shapes if s.has_text_frame)
    assert results.shapes.title.text_frame.text.startswith("a is best: ")
    (grid,) = (shape.table for shape in results.shapes if shape.has_table)
    assert (len(grid.rows), len(grid.columns)) == (1 + MAX_ROWS, 5)
    assert grid.cell(0, 4).text == "against the leader"
    said = [s.text_frame.text for s in results.shapes if s.has_text_frame]
    assert sum(line.startswith("Caution: ") for block in said for line in block.splitlines()) == MAX_CAUTIONS
    width, height = (pptx.Presentation(str(path)).slide_width, pptx.Presentation(str(path)).slide_height)
    for slide in (system, results):
        for shape in slide.shapes:
            assert shape.left + shape.width <= width
            assert shape.top <= height


def test_without_the_library_the_report_says_so_and_goes_on(tmp_path: Path, monkeypatch, capsys) -> None:
    from analysis.building import slides
    from analysis.page import Report

    monkeypatch.delitem(sys.modules, "analysis.slides", raising=False)
    monkeypatch.setitem(sys.modules, "pptx", None)
    report = Report(title="t", headline="h", verdict="v", first=[], cautions=[])
    slides(report, [], tmp_path / "slides.pptx")
    assert capsys.readouterr().err.startswith(
        "slides.pptx is not written: pptx is not installed (pip install"
    )
    assert list(tmp_path.iterdir()) == []
