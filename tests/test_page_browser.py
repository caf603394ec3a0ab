"""The page in a real browser: it loads without a complaint, sorts, shows its pictures and can be read on any screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.content.outcomes import absent
from bench.report.content.sections import Section, split
from bench.report.page import page
from bench.report.page.page import Chapter
from bench.report.plots import bars, style
from bench.report.plots import learning as curves
from bench.report.plots import sheets as pictures
from bench.report.tables.model import Cell, Table
from bench.results.cell_folder import read_all
from tests import fabricate
from tests.browser import chromium, show, skip_without

skip_without()

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

WIDTHS, SCHEMES = (400, 1400), ("light", "dark")
ATTACK = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
VALUES = ["9", "10", "1,000", "–", "-2.5", "10"]
CELLS = [Cell(text, None if text == "–" else float(text.replace(",", ""))) for text in VALUES]
NUMBERS = Table.of_rows("Numbers", ("name", "value"), tuple(zip("abcdef", CELLS, strict=True)))
# Every element with text of its own: its size, its contrast with what is behind it (WCAG 2.1), its first words.
TEXTS = """
const light = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const parts = text => text.match(/[\\d.]+/g).map(Number);
const behind = one => {
  for (; one; one = one.parentElement) {
    const colour = parts(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
return Array.from(document.body.querySelectorAll("*"))
  .filter(one => !["SCRIPT", "STYLE"].includes(one.tagName))
  .filter(one => Array.from(one.childNodes).some(node => node.nodeType === 3 && node.textContent.trim()))
  .map(one => {
    const look = getComputedStyle(one);
    const pair = [light(parts(look.color).slice(0, 3)), light(behind(one).slice(0, 3))];
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    return [parseFloat(look.fontSize), contrast, one.textContent.slice(0, 40)];
  });
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """A page with everything on it: several data sets, failures, missing cells, hostile names, plots."""
    root = fabricate.comparison(tmp_path_factory.mktemp("results"))
    fabricate.cell(root, fabricate.record("digits", "dcgan", 3, out_of_memory=True))
    fabricate.cell(root, fabricate.record("digits", "a-model-with-quite-a-long-name" * 3, 0), pictures=False)
    fabricate.cell(root, fabricate.record(ATTACK, ATTACK, 0) | {"command": ATTACK * 9, "message": ATTACK})
    records = read_all(root)
    sections = split(records, absent(root, records))
    assert [one.dataset for one in sections] == [ATTACK, "digits", "folder:my/birds"]
    drawn = _plots(root, sections[1])
    block = Chapter("Numbers", table=NUMBERS, pictures=(drawn[0],))
    return page.write(root, sections, [block], plots=drawn)[0]


def _plots(root: Path, section: Section) -> list[Path]:
    """Images, bars and lines; all plots would take longer and show no more of the page."""
    looks, folder = style.Looks(row.label for row in section.rows), root / section.folder
    with style.style():
        return [
            *pictures.sheet(section, folder / "samples.png"),
            *curves.learning_curves(section, folder / "learning_curves.png", looks),
            *bars.scores(section, folder, looks),
        ]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_can_be_read_on_every_screen(driver, index, width, scheme):
    show(driver, index, width, scheme)
    for opened in (False, True):
        driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = arguments[0]", opened)
        seen, shown = driver.execute_script(
            "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
        )
        assert shown == width
        assert seen <= shown, "the page itself scrolls sideways"
        outside = driver.execute_script(
            "return Array.from(document.querySelectorAll('body *:not(.skip)')).filter(one => !one.closest('.scroll *'))"
            ".filter(one => one.getBoundingClientRect().right > arguments[0] + 1).map(one => one.outerHTML)",
            width,
        )
        assert outside == []
    texts = driver.execute_script(TEXTS)
    assert len(texts) > 500
    assert min(texts)[0] >= 12, min(texts)
    weakest = min(texts, key=lambda one: one[1])
    assert weakest[1] >= 4.5, weakest
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.strip("rgb()").split(","))) > 3 * 128) == (scheme == "light")
    assert driver.get_log("browser") == []


def test_every_picture_loads_and_is_described(driver, index):
    show(driver, index, 1400)
    found = driver.execute_async_script(
        "const done = arguments[0], all = Array.from(document.images);"
        "Promise.allSettled(all.map(one => one.decode()))"
        ".then(() => done(all.map(one => [one.naturalWidth, one.naturalHeight, one.alt])))"
    )
    assert len(found) == 7
    assert all(wide > 100 and high > 100 and alt for wide, high, alt in found)
    assert driver.get_log("browser") == []


def column(driver, index: int) -> list[str]:
    rows = driver.find_elements(By.CSS_SELECTOR, "#part-1 tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[index].text for row in rows]


def heads(driver) -> tuple[list, list[str]]:
    found = driver.find_elements(By.CSS_SELECTOR, "#part-1 thead th")
    return [one.find_element(By.TAG_NAME, "button") for one in found], [one.get_attribute("aria-sort") for one in found]


def test_a_click_sorts_by_number_and_back(driver, index):
    show(driver, index, 1400)
    buttons, states = heads(driver)
    assert states == ["none", "none"]
    assert [button.text for button in buttons] == ["name", "value"]
    assert column(driver, 1) == VALUES
    for state, expected in [
        (
            "ascending",
            ["-2.5", "9", "10", "10", "1,000", "–"],
        ),  # as text, 1,000 would come before 9; what is missing is last
        ("descending", ["1,000", "10", "10", "9", "-2.5", "–"]),
        ("none", VALUES),
    ]:
        buttons[1].click()
        assert heads(driver)[1] == ["none", state]
        assert column(driver, 1) == expected
        if state == "descending":
            assert column(driver, 0) == ["c", "b", "f", "a", "e", "d"]  # rows stay whole, equal ones in their order
    buttons[1].click()
    buttons[0].click()
    assert heads(driver)[1] == ["ascending", "none"]
    assert column(driver, 0) == list("abcdef")


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE], ids=["enter", "space"])
def test_the_keyboard_sorts(driver, index, key):
    show(driver, index, 1400)
    box = driver.find_element(By.CSS_SELECTOR, "#part-1 .scroll")
    driver.execute_script("arguments[0].focus()", box)
    for _ in range(2):  # from the table's box over the first head to the second
        driver.switch_to.active_element.send_keys(Keys.TAB)
    focused = driver.switch_to.active_element
    assert (focused.tag_name, focused.text) == ("button", "value")
    outline = driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", focused)
    assert outline != "none"
    focused.send_keys(key)
    assert column(driver, 1)[0] == "-2.5"
    assert heads(driver)[1] == ["none", "ascending"]


def test_references_stay_below(driver, index):
    show(driver, index, 1400)
    table = driver.find_element(By.CSS_SELECTOR, "#section-2 table")
    before = table.find_element(By.CSS_SELECTOR, "tbody.below").text
    for _ in range(2):
        table.find_elements(By.CSS_SELECTOR, "thead button")[1].click()
    models = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody:not(.below) th")]
    assert models == ["dcgan", "vae", "ebm", "a-model-with-quite-a-long-name" * 3]  # by KID, the largest first
    assert table.find_element(By.CSS_SELECTOR, "tbody.below").text == before


def test_a_cell_in_the_list_leads_to_its_details(driver, index):
    show(driver, index, 400)
    link = driver.find_element(By.CSS_SELECTOR, "#cells tbody a")
    target = driver.find_element(By.CSS_SELECTOR, link.get_attribute("href").partition("#")[2].join(["#", ""]))
    assert target.get_attribute("open") is None
    driver.execute_script("arguments[0].click()", link)
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert target.get_attribute("open") == "true"
    assert target.find_element(By.TAG_NAME, "dl").is_displayed()


def test_names_run_no_code_and_the_policy_stops_what_is_put_in(driver, index):
    show(driver, index, 1400)
    assert driver.execute_script("return window.hacked") is None
    assert ATTACK in driver.find_element(By.TAG_NAME, "main").text
    assert driver.get_log("browser") == []
    stopped = driver.execute_async_script(
        """
        const done = arguments[0], stopped = [];
        document.addEventListener("securitypolicyviolation", event => {
          stopped.push(event.effectiveDirective);
          if (stopped.length === 3) done(stopped.sort());
        });
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        const picture = document.createElement("img");
        picture.src = "https://example.invalid/x.png";
        const style = document.createElement("style");
        style.textContent = "body { color: red }";
        document.body.append(script, picture, style);
        """
    )
    assert stopped == ["img-src", "script-src-elem", "style-src-elem"]
    assert driver.execute_script("return window.hacked") is None
    assert len(driver.get_log("browser")) == 3  # a complaint would be seen in the other tests too
