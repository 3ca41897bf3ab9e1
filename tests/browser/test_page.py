"""The leaderboard page in Chromium, by a reader's clicks and keys."""

from __future__ import annotations

import os
import shutil

import pytest

from harness.board.standings import standings
from harness.report import page
from tests.report.boards import HOSTILE, small

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
FIGURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
)


@pytest.fixture(scope="module")
def browser():
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    figure = folder / "capacity.svg"
    figure.write_text(FIGURE)
    board = small(folder)
    texts = {f"q{i}": f"text of {i} {HOSTILE}" for i in range(12)}
    page.write(
        board,
        standings(board),
        folder / "page.html",
        figures=[figure],
        texts=lambda task: texts if task == "birds" else {},
    )
    return (folder / "page.html").as_uri()


@pytest.fixture
def tab(browser, address):
    """The page, opened; what it asks of the network, logs or throws fails the test."""
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    odd = []
    opened.on(
        "request",
        lambda r: None if r.url == address or r.url.startswith("data:") else odd.append(r.url),
    )
    opened.on("console", lambda message: odd.append(message.text))
    opened.on("pageerror", lambda error: odd.append(str(error)))
    opened.on("dialog", lambda dialog: odd.append(dialog.message))
    opened.goto(address)
    yield opened
    opened.close()
    assert odd == []


def names(tab):
    return tab.locator("#standings-table tbody th button").all_inner_texts()


def test_the_standings_open_sorted_and_the_incomplete_one_is_marked_and_last(tab):
    assert names(tab) == ["beta", "alpha", "gamma"]
    assert tab.locator("tr.partial").inner_text().split()[:5] == [
        "gamma",
        *["2", "of", "3", "tasks"],
    ]
    assert tab.locator("#ranked").inner_text().startswith("One that lacks a task has no rank")
    assert tab.title() == "Leaderboard"


def test_a_click_on_a_column_sorts_and_another_turns_it_round(tab):
    head = tab.locator("#standings-table thead th").nth(3)
    head.get_by_role("button", name="Mean").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert names(tab) == ["beta", "alpha", "gamma"]
    tab.keyboard.press("Enter")  # the focus has stayed on it
    assert head.get_attribute("aria-sort") == "ascending"
    assert names(tab) == ["alpha", "beta", "gamma"]


def test_what_is_missing_stays_last_whichever_way_it_is_sorted(tab):
    head = tab.locator("#heat thead th button", has_text="trees")
    head.click()
    assert names(tab) == ["beta", "alpha", "gamma"]
    head.click()
    assert names(tab) == ["alpha", "beta", "gamma"]


def test_families_tasks_models_and_size_filter(tab):
    tab.get_by_label("odd").uncheck()
    assert tab.locator("#shown").inner_text() == "3 systems, 2 tasks"
    tab.get_by_role("button", name="Shown tasks").click()
    # means of birds and trees: alpha 0.7, beta 0.7; gamma lacks trees
    assert tab.locator("#standings-table tbody tr td:nth-child(2)").all_inner_texts() == [
        "0.700",
        "0.700",
        "–",
    ]
    tab.get_by_label("only tasks that all shown systems have").check()
    assert tab.locator("#shown").inner_text() == "3 systems, 1 task"
    assert names(tab) == ["alpha", "gamma", "beta"]
    tab.get_by_role("searchbox", name="Systems").fill("ETA")
    assert names(tab) == ["beta"]
    tab.get_by_role("button", name="Clear").click()
    assert tab.locator("#shown").inner_text() == "3 systems, 3 tasks"
    tab.get_by_label("Size").select_option(label="100 M to 1 B")
    assert names(tab) == ["beta"]
    tab.get_by_role("searchbox", name="Systems").fill("nobody")
    assert tab.locator("#shown").inner_text() == "0 systems, 3 tasks"


def test_a_score_opens_its_record_by_keys_alone_and_leads_to_its_queries(tab):
    tab.locator("#heat td[tabindex='0']").focus()
    tab.keyboard.press("ArrowRight")  # beta on birds
    tab.keyboard.press("ArrowDown")  # alpha on birds
    tab.keyboard.press("Enter")
    dialog = tab.locator("#record")
    assert dialog.locator("h2").inner_text() == "alpha on birds"
    assert "nDCG@10 0.9000 [0.8500, 0.9500], place 1 of 3" in dialog.inner_text()
    assert dialog.locator("a").get_attribute("href") == "alpha.json"
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert tab.evaluate("document.activeElement.dataset.key") == "cell 1 1"
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Query by query").click()
    assert tab.evaluate("document.activeElement.id") == "one"


def test_two_models_show_the_ten_queries_where_each_beats_the_other_most(tab):
    tab.locator("#one").select_option(label="alpha")
    tab.locator("#other").select_option(label="beta")
    said = tab.locator("#differences p").first.inner_text()
    # alpha's sum is 1 + (11 + ... + 2) / 12 = 6.4167, beta's is 1
    assert (
        said
        == "nDCG@10 of 12 queries: A is better in 11, B in 1, equal in 0; mean difference 0.4514."
    )
    tables = tab.locator("#differences table")
    first = tables.nth(0).locator("tbody tr")
    assert first.count() == 10
    assert first.nth(0).locator("td").all_inner_texts()[1:] == ["1.000", "0.000", "+1.000"]
    assert first.nth(0).inner_text().startswith(f"text of 0 {HOSTILE} q0")
    assert tables.nth(1).locator("tbody tr").count() == 1


def test_the_pareto_front_is_drawn_and_said(tab):
    tab.locator("#quality-choice").select_option(label="birds")
    points = tab.locator("#scatter g[role=button]")
    assert points.count() == 3
    front = tab.locator("#front tbody tr")
    # alpha: 0.9 with 5 dimensions; gamma as many with 0.7; beta 384 with 0.6
    assert [row.locator("td").all_inner_texts() for row in front.all()] == [
        ["alpha", "5", "0.9000", "on it"],
        ["gamma", "5", "0.7000", "0.2000"],
        ["beta", "384", "0.6000", "0.3000"],
    ]
    points.last.press("Enter")  # the front is drawn over the others
    assert tab.locator("#record h2").inner_text() == "alpha"


def test_bars_have_intervals_and_follow_the_task(tab):
    tab.locator("#task-choice").select_option(label="birds")
    assert tab.locator("#bars .name").all_inner_texts() == ["alpha", "gamma", "beta"]
    assert tab.locator("#bars .value").first.inner_text() == "0.9000 [0.8500, 0.9500]"
    assert tab.locator("#bars .whisker").count() == 3


def test_hostile_names_are_text_and_figures_are_images(tab):
    assert HOSTILE in tab.locator("#task-choice").inner_text()
    assert tab.locator("main img").count() == 1
    assert tab.locator("figure img").evaluate("image => image.complete && image.naturalWidth") == 9
    assert tab.locator("script").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_on_paper_and_on_the_hottest_cell(browser, address, scheme):
    tab = browser.new_page(color_scheme=scheme)
    tab.goto(address)
    measured = tab.evaluate(
        """() => {
          const dot = document.createElement("canvas").getContext("2d");
          const light = (name) => {
            const probe = document.body.appendChild(document.createElement("i"));
            probe.style.color = `var(--${name})`;
            dot.fillStyle = getComputedStyle(probe).color;
            dot.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...dot.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          return ["ink paper", "ink hot", "ink cold", "quiet raised", "accent paper"]
            .map((pair) => ratio(...pair.split(" ").map(light)));
        }"""
    )
    tab.close()
    assert min(measured) >= 4.5  # WCAG 2.2, level AA


def test_a_narrow_screen_scrolls_tables_and_not_the_page(browser, address):
    tab = browser.new_page(viewport={"width": 360, "height": 700})
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    tab.close()


def test_it_prints_on_paper_without_controls(browser, address):
    tab = browser.new_page(color_scheme="dark")
    tab.goto(address)
    tab.emulate_media(media="print")
    assert not tab.locator("#filters").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 252)"
    assert tab.pdf().startswith(b"%PDF")
    tab.close()


def test_the_theme_can_be_chosen(tab):
    tab.get_by_role("button", name="Theme: system").click()
    tab.get_by_role("button", name="Theme: light").click()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_every_control_has_a_name(tab):
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, select, input")]
          .filter((node) => !(node.tagName === "BUTTON" ? node.textContent : node.labels.length))
          .map((node) => node.outerHTML)"""
    )
    assert nameless == []
