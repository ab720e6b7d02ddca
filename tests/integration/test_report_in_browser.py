"""The report's page in a real Chromium: widths, light and dark, and all that works by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.arm_figures import reached_figure
from analysis.arms import arms_of
from analysis.cautions import Caution
from analysis.comparison import compare
from analysis.drawing import Wanted
from analysis.page import Report
from analysis.survey import survey
from analysis.tables import Table
from tests.support.analysis_runs import make_run
from tests.support.browser import Browser, browser

HOSTILE = (
    "<script>window.hit = 1</script>\"><img src=x onerror='window.hit = 2'> \u202egnol\u05d0 " + "x" * 4000
)
COLOURS = ("red", "green", "yellow", "blue")
RUN = "b163d3df0115"
WIDTHS = (320, 640, 1024, 1920)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report of two arms with all that a page can have; the names are as bad as names get."""
    folder = tmp_path_factory.mktemp("page")
    runs = [make_run(algo, seed, 0.5 + 0.1 * seed) for algo in ("ppo", "apo_pg") for seed in range(3)]
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    made = Wanted(lambda width: reached_figure(comparison, width), HOSTILE, folder / "figure").picture()
    rows = [["a", "0.5", "1,200"], ["b", "0.125", "-"], ["c", "0.75", "80"]]
    table = Table("Arms", ["arm", "test/score", "env steps"], rows, HOSTILE)
    states = [RUN, *["no significant difference"] * 12]
    runs_table = Table("Runs", ["run", *map(str, range(12))], [states], links={RUN: "../../runs/x/log.txt"})
    report = Report(
        title=HOSTILE,
        headline="apo_pg leads.",
        verdict=HOSTILE,
        first=[table],
        cautions=[Caution(HOSTILE, "Mend it.")],
        commands=[HOSTILE],
        tables=[table, runs_table],
        folded=[table],
        first_pictures=[made] if made else [],
        learning=[(name, made) for name in ("update", HOSTILE)] if made else [],
        played=survey(arms_of(runs), lambda run: [episode(n) for n in range(4)]),
    )
    path = folder / "report.html"
    path.write_text(report.html(), encoding="utf-8")
    return path


def episode(number: int) -> dict[str, Any]:
    """The first is a success; the others loop, each on a goal of its own."""
    turn = {"page": f"{HOSTILE} [SEP] Buy Now", "reply": HOSTILE, "action": "click[lamp]", "reward": 0.0}
    turn |= {"valid": True, "parts": {}, "kind": "open", "page_kind": "results", "asins": [], "chosen": {}}
    whole = {"goal": f"g{number}", "asin": "A", "instruction": f"{COLOURS[number]} lamp {HOSTILE}"}
    whole |= {"score": float(number == 0), "success": number == 0, "end": "max_steps", "bought": ""}
    return whole | {"turns": [turn] * 2}


@pytest.fixture(scope="module")
def chrome(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_it_loads_without_error_or_request_at_four_widths_in_light_and_dark(chrome, page) -> None:
    papers = set()
    for dark in (False, True):
        for width in WIDTHS:
            chrome.open(page, width=width, dark=dark)
            assert chrome.errors == []
            assert [url for url in chrome.requests if not url.startswith("data:")] == [page.as_uri()]
            assert chrome.run("document.documentElement.scrollWidth") <= width  # no scrolling sideways
            assert chrome.run("[...document.images].every((image) => image.naturalWidth > 0)")
            assert chrome.run("document.images.length") == 3
            assert chrome.run("window.hit") is None  # names are inert
        papers.add(chrome.run("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


def test_words_of_a_table_are_whole_and_a_run_leads_to_its_log(chrome, page) -> None:
    for width in (360, 800):
        chrome.open(page, width=width)
        cell = f"[...document.querySelectorAll('#more td bdi')].find((each) => each.textContent === '{RUN}')"
        assert chrome.run(f"{cell}.getBoundingClientRect().height") < 30  # one line
        assert chrome.run(f"{cell}.firstChild.getAttribute('href')") == "../../runs/x/log.txt"
        words = (
            "[...document.querySelectorAll('#more td bdi')].find((each) => /signif/.test(each.textContent))"
        )
        assert chrome.run(f"{words}.scrollWidth <= {words}.clientWidth")
        assert chrome.run(f"{words}.getBoundingClientRect().height") < 75  # a line a word


def test_headings_sort_by_keyboard_and_what_is_missing_comes_last(chrome, page) -> None:
    chrome.open(page)

    def column(place: int) -> list[str]:
        rows = "[...document.querySelector('table.sortable').tBodies[0].rows]"
        found: list[str] = chrome.run(f"{rows}.map((row) => row.cells[{place - 1}].textContent)")
        return found

    def press(place: int) -> str:
        chrome.run(f"document.querySelector('table.sortable th:nth-child({place}) button').focus()")
        chrome.press("Enter")
        order = f"document.querySelector('table.sortable th:nth-child({place})').getAttribute('aria-sort')"
        return str(chrome.run(order))

    assert column(2) == ["0.5", "0.125", "0.75"]
    assert press(2) == "descending"
    assert column(2) == ["0.75", "0.5", "0.125"]
    assert press(2) == "ascending"
    assert column(2) == ["0.125", "0.5", "0.75"]
    # "1,200" is a number, "-" is none.
    assert press(3) == "descending"
    assert column(3) == ["1,200", "80", "-"]
    assert press(3) == "ascending"
    assert column(3) == ["80", "1,200", "-"]
    assert chrome.errors == []


def test_episodes_are_searched_and_filtered_by_keyboard(chrome, page) -> None:
    chrome.open(page)
    shown = "document.getElementById('shown').textContent"
    visible = "[...document.querySelectorAll('.episode')].filter((each) => !each.hidden).length"
    assert chrome.run(shown) == "24 of 24 episodes"
    chrome.press("/")
    assert chrome.run("document.activeElement.id") == "search"
    chrome.type("Lamp blue")
    assert chrome.run("document.getElementById('search').value") == "Lamp blue"
    assert (chrome.run(shown), chrome.run(visible)) == ("6 of 24 episodes", 6)
    chrome.press("Escape")
    assert chrome.run(shown) == "24 of 24 episodes"
    # The first entry of each list is "all".
    for control, num in (("by-arm", 12), ("by-reason", 3)):
        chrome.run(f"document.getElementById('{control}').focus()")
        chrome.press("ArrowDown")
        assert chrome.run(visible) == num, control
    assert chrome.run("document.getElementById('by-reason').value") == "success"
    assert chrome.errors == []


def test_an_episode_opens_by_keyboard(chrome, page) -> None:
    chrome.open(page)
    first = "document.querySelector('details.episode')"
    pages = f"{first}.querySelectorAll('.page').length"
    assert chrome.run(f"{first}.open") is False
    chrome.run(f"{first}.querySelector('summary').focus()")
    chrome.press("Enter")
    assert chrome.run(f"{first}.open") is True
    assert chrome.run(pages) == 2  # a page a turn
    assert chrome.run(f"{first}.querySelector('.page').getBoundingClientRect().height") > 0
    chrome.press("Enter")
    assert chrome.run(f"{first}.open") is False


def test_the_axis_of_the_learning_curves_is_chosen_by_keyboard(chrome, page) -> None:
    chrome.open(page)
    figures = "[...document.querySelectorAll('#learning figure')]"
    shown = f"{figures}.map((each) => each.getBoundingClientRect().height > 0)"
    assert chrome.run(shown) == [True, False]
    chrome.run("document.querySelector('#learning input').focus()")
    chrome.press("ArrowDown")
    assert chrome.run(shown) == [False, True]
    chrome.press("ArrowDown")  # round to the first
    assert chrome.run(shown) == [True, False]
    assert chrome.errors == []
