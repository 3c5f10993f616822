"""The leaderboard page as a reader meets it, in headless Chromium with WebGL in software."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from posebench.benchmark.records.store import cell_path, write_record
from posebench.benchmark.reports import result_page
from posebench.benchmark.reports.build import write_tables
from posebench.benchmark.reports.defences import Point
from posebench.benchmark.reports.page import page_text
from posebench.benchmark.retarget.trust import Trust
from tests.made_records import made
from tests.test_trust import facts_of, shown

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect, sync_playwright

BOARDS = Path(__file__).resolve().parent.parent / "leaderboards"
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
COLUMN = "#cells-table tbody tr:not(.detail) td:nth-child({})"
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium: the one in CHROMIUM, or the first on the path."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield opened
        opened.close()


class Visit:
    """A page that was opened from disk, and everything it complained about or asked for."""

    def __init__(self, browser: Browser, path: Path, fragment: str = "", **settings: Any) -> None:
        self.context = browser.new_context(offline=True, **settings)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
        self.page.wait_for_selector("html[data-ready]")

    def texts(self, selector: str) -> list[str]:
        """What a reader sees in all elements that match."""
        return self.page.locator(selector).all_inner_texts()

    def rows(self, column: int) -> list[str]:
        """A column of all results, after asking for more until there are none."""
        more = self.page.locator("#cells-more")
        while more.is_visible():
            more.click()
        return self.texts(COLUMN.format(column))

    def leave(self) -> None:
        """Close; nothing may have gone wrong, and nothing but the file been asked for."""
        self.context.close()
        assert self.troubles == []
        assert [url for url in self.requests if not url.startswith("data:")] == self.requests[:1]


@pytest.fixture(scope="module")
def visit(browser: Browser) -> Iterator[Visit]:
    """The committed page on a desk."""
    opened = Visit(browser, BOARDS / "index.html", viewport={"width": 1400, "height": 900})
    yield opened
    opened.leave()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if text != "-"]


def test_the_first_screen_answers(visit: Visit) -> None:
    cards = visit.texts("#answers .big")
    assert len(cards) == 3
    first = visit.page.locator("#ranking-table tbody tr").first.inner_text()
    victim, training = first.split("\t")[1:3]
    assert cards[0] == f"{victim.strip()}, {training.strip()} training"
    box = visit.page.locator("#answers").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900, "without scrolling"
    worst = numbers(visit.texts("#ranking-table tbody td:nth-child(5)"))
    assert worst == sorted(worst)
    assert len(worst) >= 10
    far = numbers(visit.texts("#ranking-table tbody td:nth-child(8)"))
    marks = visit.page.locator("#forest svg path:not(.domain)").count()
    assert marks == 3 * len(worst) + len(far), "clean, noise and the worst cases that there are"


def test_sorting_by_number_and_by_word(visit: Visit) -> None:
    total = len(visit.rows(1))
    for heading, column in (("PMD", 6), ("noise", 12)):
        button = visit.page.locator("#cells-table thead button").get_by_text(heading, exact=True)
        for state in ("ascending", "descending"):
            if button.locator("..").get_attribute("aria-sort") != state:
                button.click()
            assert button.locator("..").get_attribute("aria-sort") == state
            shown = visit.rows(column)
            values = numbers(shown)
            assert values == sorted(values, reverse=state == "descending")
            assert len(set(values)) > 20
            assert shown[: len(values)].count("-") == 0, "undefined last"
            assert len(shown) == total
    visit.page.locator("#cells-table thead button").get_by_text("victim", exact=True).click()
    names = visit.rows(2)
    assert names[0] < names[-1]
    assert len(set(names)) > 8


def test_filters_search_and_the_row_that_opens(visit: Visit) -> None:
    page = visit.page
    total = len(visit.rows(1))
    page.locator("#cells-form select[name=attack]").select_option("pgd")
    page.locator("#cells-form select[name=training]").select_option("adversarial")
    assert set(visit.rows(4)) == {"pgd"}
    assert set(visit.rows(3)) == {"adversarial"}
    assert page.locator("#cells-count").inner_text().startswith(f"{len(visit.rows(1))} of {total} ")
    page.locator("#cells-search").fill("npt-compact-adversarial.safetensors")
    assert visit.rows(2) == ["npt"]
    opener = page.locator("#cells-table .row-button")
    opener.focus()
    page.keyboard.press("Enter")
    command = page.locator("#cells-table tr.detail pre").inner_text()
    assert command == (
        "posebench run --victim npt --weights victims/weights/npt-compact-adversarial"
        ".safetensors --attack pgd --eps 0.08 --task anny/seen --samples 32"
    )
    opener.click()
    assert page.locator("#cells-table tr.detail").count() == 0
    page.locator("#cells-search").fill("no such thing")
    assert visit.rows(1) == []
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#cells-count")).to_contain_text(f"{total} of {total} results")


def settled(page: Page) -> tuple[str, bytes]:
    """The viewer's camera and picture once it has stopped drawing."""
    box = page.locator("#look-box")
    drawn = None
    while drawn != (drawn := box.get_attribute("data-drawn")):
        page.evaluate(TWO_FRAMES)  # a busy machine may not have begun to draw yet
        page.wait_for_timeout(150)
    return str(box.get_attribute("data-camera")), box.screenshot()


def unlike(one: bytes, other: bytes) -> float:
    """How far two pictures of one size are apart: the mean over their pixels, white on black 1."""
    drawn = [imread(io.BytesIO(picture)).astype(float) for picture in (one, other)]
    return float(abs(drawn[0] - drawn[1]).mean())


def test_dragging_one_body_turns_all(visit: Visit) -> None:
    page = visit.page
    page.locator("#look-box").scroll_into_view_if_needed()
    before, picture = settled(page)
    views = page.locator("#views .view")
    assert views.count() == 6
    pictures = [views.nth(number).screenshot() for number in range(6)]
    assert len(set(pictures)) == 6, "six different bodies"
    middle = views.nth(1).bounding_box()
    assert middle is not None
    x, y = middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 10, steps=4)
    page.mouse.up()
    turned, other = settled(page)
    assert turned != before
    assert other != picture
    for number in range(6):
        assert views.nth(number).screenshot() != pictures[number]
    page.locator("#views").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#look-box")).not_to_have_attribute("data-camera", turned)
    page.get_by_role("button", name="Reset view").click()
    again, drawn = settled(page)
    assert again == before
    assert unlike(drawn, picture) < unlike(other, picture) / 20, "edges may be drawn otherwise"
    page.locator("#look-form select").nth(2).select_option("adversarial")
    assert settled(page)[1] != picture
    assert "adversarial training" in page.locator("#look-text").inner_text()


def test_curves_follow_the_choice(visit: Visit) -> None:
    page, choices = visit.page, visit.page.locator("#curves-form select")
    networks = page.locator("#pmd-curve path.series").count()
    assert networks == page.locator("#success-curve path.series").count() >= 15
    before = page.locator("#success-curve path.series").first.get_attribute("d")
    choices.nth(2).select_option("0.02")
    assert page.locator("#success-curve path.series").first.get_attribute("d") != before
    choices.nth(1).select_option("adversarial")
    assert 6 <= page.locator("#pmd-curve path.series").count() < networks / 2


def test_defences_are_marks_as_large_as_they_cost(browser: Browser, tmp_path: Path) -> None:
    clean, worst = (10.0, 9.0, 11.0), (40.0, 30.0, 50.0)
    near = Point("npt", "clean", "none", "point-2cm", clean, worst, "oblivious", 1.0, 8)
    points = [
        near,
        replace(near, defense="<b>sor</b>", worst=(35.0, 30.0, 45.0), access="adaptive", times=4.0),
        replace(near, victim="npt-mp", training="robust", worst=(20.0, 15.0, 25.0), times=None),
        replace(near, threat="sparse", worst=(400.0, 300.0, 500.0)),
    ]
    (tmp_path / "page.html").write_text(page_text([made()], [], "", "", points), encoding="utf-8")
    visit = Visit(browser, tmp_path / "page.html")
    page, marks = visit.page, visit.page.locator("#defences-chart path.mark")
    assert marks.count() == 3
    scales = [str(marks.nth(i).get_attribute("transform")).split("scale(")[1] for i in range(3)]
    assert sorted(scales) == ["1)", "1)", "2)"], "area, so twice as wide"
    assert "<b>sor</b>" in visit.texts("#defences-key")[0]
    page.locator("#defences-form select").nth(0).select_option("sparse")
    assert marks.count() == 1
    page.locator("#defences-form select").nth(1).select_option("npt-mp")
    assert marks.count() == 0
    visit.leave()
    visit = Visit(browser, BOARDS / "index.html")
    drawn = json.loads(str(visit.page.locator("#data").text_content()))["defences"]
    assert visit.page.locator("#defences").is_visible() == bool(drawn)
    visit.leave()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1400, "dark")])
def test_phone_and_dark_mode(browser: Browser, width: int, scheme: str) -> None:
    visit = Visit(
        browser, BOARDS / "index.html", viewport={"width": width, "height": 844},
        color_scheme=scheme, has_touch=width < 500,
    )  # fmt: skip
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = [
        page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)")
        for name in ("backgroundColor", "color")
    ]
    paper, ink = (sum(colour) / 3 for colour in colours)
    assert (paper < 60 and ink > 200) if scheme == "dark" else (paper > 230 and ink < 60)
    assert page.evaluate(
        "getComputedStyle(document.querySelector('#forest text tspan:not(.label)')).fill"
    ) == page.evaluate("getComputedStyle(document.body).color"), "charts take the scheme's colours"
    settled(page)
    visit.leave()


def test_hostile_names_are_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    write_record(tmp_path / "records", made(victim=name, flags=(name,), pmd=(float("nan"), 1.0)))
    write_tables(tmp_path / "records", tmp_path / "out")
    visit = Visit(browser, tmp_path / "out" / "index.html")
    assert visit.rows(2) == [name]
    assert visit.rows(6) == ["-"]
    assert visit.page.locator("img").count() == 0
    visit.leave()


def test_some_rows_at_once_are_drawn_and_all_are_searched(browser: Browser, tmp_path: Path) -> None:
    """Twenty thousand would make every keystroke wait."""
    record = made()
    cells = [replace(record.cell, seed=number, task=f"t{number}") for number in range(403)]
    path = tmp_path / "index.html"
    path.write_text(page_text([replace(record, cell=cell) for cell in cells], [], ""), "utf-8")
    visit = Visit(browser, path)
    rows, count = visit.page.locator("#cells-table tbody tr"), visit.page.locator("#cells-count")
    more = visit.page.locator("#cells-more")
    expect(rows).to_have_count(200)
    expect(count).to_have_text("403 of 403 results, the first 200 shown")
    expect(more).to_have_text("Show 200 more")
    more.click()
    expect(count).to_have_text("403 of 403 results, the first 400 shown")
    expect(more).to_have_text("Show 3 more")
    more.click()
    expect(rows).to_have_count(403)
    expect(count).to_have_text("403 of 403 results")
    expect(more).to_be_hidden()
    visit.page.locator("#cells-search").fill("t402")
    assert visit.rows(1) == ["t402"]
    visit.page.locator("#cells-search").fill("")
    expect(rows).to_have_count(200)
    visit.leave()


def test_a_permalink_shows_its_row_and_results_can_be_taken_along(
    browser: Browser, tmp_path: Path
) -> None:
    """Also one far below, or hidden by a search; text stays text in a spreadsheet."""
    record = made()
    cells = [replace(record.cell, seed=number, task=f"t{number}") for number in range(403)]
    cells[402] = replace(cells[402], task="=HYPERLINK(1)", victim='a "b", c')
    path = tmp_path / "index.html"
    path.write_text(page_text([replace(record, cell=cell) for cell in cells], [], "", "7"), "utf-8")
    visit = Visit(browser, path)
    anchor = "cell-" + cell_path(Path(), cells[402]).stem[-10:]
    visit.page.locator("#cells-search").fill("t3")
    visit.page.evaluate("anchor => { location.hash = anchor }", anchor)
    row = visit.page.locator(f"#{anchor}")
    expect(row).to_have_class("open")
    expect(row).to_be_in_viewport()
    expect(visit.page.locator("tr.detail a")).to_have_attribute("href", f"#{anchor}")
    expect(visit.page.locator("#origin")).to_contain_text("Version 7")
    visit.page.locator("#cells-search").fill("hyperlink")
    found = {}
    for kind in ("csv", "json"):
        with visit.page.expect_download() as download:
            visit.page.locator(f"#cells-{kind}").click()
        assert download.value.suggested_filename == f"posebench.{kind}"
        found[kind] = Path(download.value.path()).read_text(encoding="utf-8")
    (line,) = csv.DictReader(io.StringIO(found["csv"]))
    assert (line["task"], line["victim"]) == ("'=HYPERLINK(1)", 'a "b", c')
    taken = json.loads(found["json"])
    assert taken["version"] == "7"
    (one,) = taken["rows"]
    assert one["task"] == "=HYPERLINK(1)"
    assert float(line["pmd_high"]) == one["pmd"][2] == record.metrics.pmd.ci95[1] * 1e4
    assert visit.troubles == []
    visit.context.close()
    again = Visit(browser, path, fragment=anchor)
    expect(again.page.locator(f"#{anchor}")).to_have_class("open")
    again.leave()


def test_a_transfers_page_shows_doubts_and_bodies(browser: Browser, tmp_path: Path) -> None:
    """A cloud, a mesh and a coloured one, in a file with a hostile name."""
    facts = facts_of(Trust(("worse than doing nothing",), None), "<b>bold.obj")
    (tmp_path / "result.html").write_text(result_page.page_text(shown(None), facts), "utf-8")
    visit = Visit(browser, tmp_path / "result.html", viewport={"width": 1300, "height": 900})
    assert visit.texts("h1") == ["person.obj in the pose of <b>bold.obj"]
    assert visit.texts("#doubts .notice") == ["Do not trust this result: worse than doing nothing"]
    assert visit.texts(".view b") == ["pose source", "result", "result, coloured"]
    assert visit.texts("#facts tbody td")[:4] == ["4.0", "4.0", "4.0", "-"]
    visit.page.wait_for_selector("#look-box[data-drawn]")
    before = visit.page.locator("#look-box").get_attribute("data-camera")
    visit.page.get_by_label("Zoom in").click()
    expect(visit.page.locator("#look-box")).not_to_have_attribute("data-camera", str(before))
    visit.leave()
