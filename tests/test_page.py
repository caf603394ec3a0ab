"""The page as text: nothing of a record becomes code, the policy fits the content, every cell and table is there."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.report.content.outcomes import absent
from bench.report.content.sections import Section, split
from bench.report.page import page
from bench.report.page.page import Chapter
from bench.report.tables.model import Cell, Table
from bench.results.cell_folder import read_all
from tests import fabricate
from tests.fabricate import section_of

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "'; window.hacked=1; '</style><!--",
    "{{ 7 * 7 }}{% raw %} &lt;b&gt; <b>",
    "data:text/html,<script>window.hacked=1</script>",
    "größe ☃ \U0001f600 שלום",
]


class Parsed(HTMLParser):
    """Every element's name and attributes, and the text outside of code."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        self.code.get(self._open, self.words).append(data)

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, found in self.elements for key, value in found.items() if key == name]


def plot(root: Path, section: Section, name: str = "samples.png") -> Path:
    """A small picture where the section's plots stand."""
    path = root / section.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)).save(path)
    return path


def text_of(root: Path, *sections: Section, **more: Any) -> str:
    (path,) = page.write(root, sections, **more)
    assert path == root / "index.html"
    return path.read_text(encoding="utf-8")


def hostile() -> dict[str, Any]:
    """A record whose every text that is a user's or comes from a file tries to break out."""
    script, attribute, style, template, link, letters = HOSTILE
    data = fabricate.record(f"folder:{script}", f"module:{attribute}")
    data["command"], data["profile"] = f"python -m bench.compare --datasets '{style}'", template
    data["data"]["notes"] = [link, letters]
    data["config"]["model"] = {attribute: script, "nested": [style]}
    data["environment"]["packages"] = {script: attribute}
    data["environment"]["device"] = data["throughput"]["device"] = template
    data["metrics"][0]["note"] = script
    data["metrics"][0]["label"] = attribute
    data["references"]["real"]["title"] = style
    data["curves"][0]["title"] = script
    return data


# --- nothing becomes code ---


def test_no_text_of_a_record_becomes_an_element_an_attribute_or_code(tmp_path):
    section = section_of(hostile(), hostile() | {"training_seed": 1, "status": "diverged", "message": HOSTILE[0]})
    block = Chapter(
        HOSTILE[0],
        "\n\n".join(HOSTILE),
        Table.of_rows(HOSTILE[1], ("a", HOSTILE[2]), ((HOSTILE[0], Cell(HOSTILE[1])),)),
    )
    plot(tmp_path, section)
    found = Parsed(text_of(tmp_path, section, chapters=[block], title=HOSTILE[0], intro=HOSTILE[1]))
    tags = [tag for tag, _ in found.elements]
    assert tags.count("script") == tags.count("style") == tags.count("img") == tags.count("html") == 1
    assert not {"iframe", "object", "embed", "form", "base", "video", "svg"} & set(tags)
    names = {name for _, attributes in found.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("style", "srcset", "srcdoc")]
    assert all(link.startswith("#") or link == "data:," for link in found.attributes("href"))
    assert all(re.fullmatch(r"data:image/webp;base64,[A-Za-z0-9+/=]+", source) for source in found.attributes("src"))
    assert "hacked" not in "".join(found.code["script"] + found.code["style"])
    words = " ".join("".join(found.words).split())
    for text in HOSTILE:  # and a reader sees them as they are
        assert text in words, text
    assert "49" not in words.split()


def test_characters_that_no_reader_should_meet_are_replaced(tmp_path):
    data = fabricate.record(model="a\x00b\u202ec\ud800d\x1be")
    text = text_of(tmp_path, section_of(data))
    assert "a\ufffdb\ufffdc\ufffdd\ufffde" in text
    assert not set("\x00\u202e\x1b") & set(text)


def test_the_policy_allows_the_pages_own_code_and_nothing_else(tmp_path):
    found = Parsed(text_of(tmp_path, section_of(fabricate.record())))
    (policy,) = [one["content"] for tag, one in found.elements if one.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == "data:"
    for kind in ("script", "style"):
        (code,) = found.code[kind]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
    assert rules == {}
    assert "url(" not in found.code["style"][0]
    assert "http" not in "".join(found.attributes("src") + found.attributes("href"))
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML", found.code["script"][0])


def test_the_same_records_give_the_same_bytes_wherever_they_lie(tmp_path):
    texts = []
    for name in ("here", "there"):
        root = tmp_path / name
        fabricate.cell(root, fabricate.record(), pictures=False)
        sections = split(read_all(root))
        plot(root, sections[0])
        texts.append(text_of(root, *sections))
    assert texts[0] == texts[1]
    assert "cells/digits/ebm/seed-0" in texts[0]
    assert str(tmp_path) not in texts[0]


# --- what is on it ---


def test_every_cell_has_its_status_and_those_with_a_record_settings_machine_and_command(tmp_path):
    for data in (
        fabricate.record(seed=0),
        fabricate.record(seed=1),
        fabricate.record(model="vae", seed=0, out_of_memory=True),
        fabricate.record(model="vae", seed=1, diverged_at=812),
    ):
        fabricate.cell(tmp_path, data, pictures=False)
    (tmp_path / "cells/digits/dcgan/seed-0").mkdir(parents=True)
    records = read_all(tmp_path)
    sections = split(records, absent(tmp_path, records))
    text = text_of(tmp_path, *sections)
    words = " ".join("".join(Parsed(text).words).split())
    assert "2 of 6 cells finished" in words
    for stated in (
        "digits, ebm, training seed 1: finished",
        "digits, vae, training seed 0: out of memory",
        "digits, vae, training seed 1: diverged at update 812",
        "digits, dcgan, training seed 0: not run",
        "digits, dcgan, training seed 1: not run",
    ):
        assert stated in words, stated
    assert text.count("<pre><code>python -m bench.compare --datasets digits</code></pre>") == 4
    for name, value in (("n_f", "32"), ("torch", "2.14.1"), ("git_commit", "abc1234"), ("content_hash", "5f0c" * 16)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text


def test_the_tables_are_those_of_the_report_with_references_below_and_exact_keys(tmp_path):
    section = section_of(*(fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])))
    text = text_of(tmp_path, section)
    mean = (0.010 + 0.012 + 0.017) / 3
    key, shown = re.search(r'<td data-key="([^"]*)" class="n">(0\.0130 ± 0\.0090)</td>', text).groups()
    assert (float(key), shown) == (pytest.approx(mean, rel=1e-12), "0.0130 ± 0.0090")
    below = text.split('<tbody class="below">')[1].split("</tbody>")[0]
    assert "real, held out" in below
    assert "uniform noise" in below
    assert 'KID(efficientnet-lite0)\u00a0↓<span class="role">ranked, lead score</span></th>' in text
    assert '<span class="role">describes</span>' in text
    assert "barred: " not in text


def test_the_head_of_a_column_says_what_bars_it(tmp_path):
    section = section_of(*(one for model in ("ebm", "vae") for one in fabricate.decided(model)))
    for record in section.records:
        noise = next(one for one in record.data["references"]["noise"]["metrics"] if one["name"] == "recall")
        real = next(one for one in record.data["references"]["real"]["metrics"] if one["name"] == "recall")
        noise |= {"n_generated": real["n_generated"], "n_real": real["n_real"], "value": 1.0, "per_seed": [1.0]}
    text = text_of(tmp_path, section)
    assert 'recall\u00a0↑<span class="role barred">barred: images of noise win</span></th>' in text
    assert text.count("barred: images") == 1


def test_extra_blocks_stand_between_summary_and_sections_and_further_cells_are_listed(tmp_path):
    picture = plot(tmp_path, section_of(fabricate.record()), "mine.png")
    block = Chapter(
        "Table 2", "One.\n\nTwo.", Table.of_rows("", ("K", "FID"), (("5", "213.08"),), notes=("n",)), (picture,)
    )
    other = section_of(fabricate.record("cifar10", "ebm", 7))
    text = text_of(tmp_path, section_of(fabricate.record()), chapters=[block], further=[other], plots=[])
    order = [text.index(part) for part in ('id="short"', 'id="part-1"', "One.", "Two.", 'id="section-1"', 'id="cells"')]
    assert order == sorted(order)
    assert 'alt="Table 2: mine"' in text
    assert "cifar10, ebm, training seed 7" in text
    assert 'id="section-2"' not in text


def test_pictures_are_found_beside_the_records_or_taken_as_given(tmp_path):
    section = section_of(fabricate.record())
    kept = plot(tmp_path, section)
    plot(tmp_path, section, "of_others.png")
    (tmp_path / section.folder / "scores.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    assert text_of(tmp_path, section).count("<img") == 2
    assert text_of(tmp_path, section, plots=[kept]).count("<img") == 1
    text = text_of(tmp_path, section, plots=[kept.with_name("scores.png")])
    assert "The picture scores.png is missing, damaged or too large to show." in text


def test_figures_are_ordered_titled_and_described():
    section = section_of(fabricate.record())
    names = ("odd-one", "learning_curves", "curve_kid_by_chain_length", "scores", "samples")
    found = page.figures(section, [Path("elsewhere") / section.folder / f"{name}.png" for name in names])
    assert [one.path.stem for one in found] == [names[i] for i in (4, 3, 1, 2, 0)]
    assert [one.title for one in found][3:] == ["KID by chain length", "odd one"]
    assert all(one.alt.startswith("Plot for digits: ") and one.title in one.alt for one in found)
    assert page.figures(section, [Path("plots/digits/protocol-2/samples.png")]) == []


# --- numbers and pictures ---


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 1 entries, but 2 columns"):
        Table.of_rows("t", ("a", "b"), (("1",),))
