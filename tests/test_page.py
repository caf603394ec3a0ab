"""The page as text: nothing of a record becomes code, the policy fits the content, the words say what tests found."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.records import Record, read_all
from bench.report import embed, figures, page
from bench.report.outcomes import absent
from bench.report.parts import Block, Entry, Table, leading_number
from bench.report.sections import Section, split
from bench.report.summary import verdict
from tests import fabricate

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


def section_of(*records: dict) -> Section:
    (section,) = split([Record(Path(f"cells/{i}"), data) for i, data in enumerate(records)])
    return section


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
    data["references"]["floor"]["title"] = style
    data["curves"][0]["title"] = script
    data["attempts"] = [{"message": link, "updates": 3, "config": {script: attribute}}]
    return data


# --- nothing becomes code ---


def test_no_text_of_a_record_becomes_an_element_an_attribute_or_code(tmp_path):
    section = section_of(hostile(), hostile() | {"training_seed": 1, "status": "diverged", "message": HOSTILE[0]})
    block = Block(
        HOSTILE[0], "\n\n".join(HOSTILE), Table(HOSTILE[1], ("a", HOSTILE[2]), ((HOSTILE[0], Entry(HOSTILE[1])),))
    )
    plot(tmp_path, section)
    found = Parsed(text_of(tmp_path, section, extra=[block], title=HOSTILE[0], intro=HOSTILE[1]))
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
        fabricate.record(seed=1, retried_after=90),
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
        "digits, ebm (lr=0.0005), training seed 1: finished after 1 retry",
        "digits, vae, training seed 0: out of memory",
        "digits, vae, training seed 1: diverged at update 812",
        "digits, dcgan, training seed 0: not run",
        "digits, dcgan, training seed 1: not run",
        "Earlier attempt 1, where its settings differed",
        "energy gap became nan at update 90",
    ):
        assert stated in words, stated
    assert text.count("<pre><code>python -m bench.compare --datasets digits</code></pre>") == 4
    for name, value in (("n_f", "32"), ("torch", "2.14.1"), ("git_commit", "abc1234"), ("content_hash", "5f0c" * 16)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    assert "<dt>lr</dt><dd>0.0005</dd>" in text


def test_the_tables_are_those_of_the_report_with_references_below_and_exact_keys(tmp_path):
    section = section_of(*(fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])))
    text = text_of(tmp_path, section)
    mean = (0.010 + 0.012 + 0.017) / 3
    key, shown = re.search(r'<td data-key="([^"]*)" class="n">(0\.0130 ± 0\.0090)</td>', text).groups()
    assert (float(key), shown) == (pytest.approx(mean, rel=1e-12), "0.0130 ± 0.0090")
    below = text.split('<tbody class="below">')[1].split("</tbody>")[0]
    assert "real, held out" in below
    assert "uniform noise" in below
    assert "KID(efficientnet-lite0)\u00a0↓</th>" in text


def test_extra_blocks_stand_between_summary_and_sections_and_further_cells_are_listed(tmp_path):
    picture = plot(tmp_path, section_of(fabricate.record()), "mine.png")
    block = Block("Table 2", "One.\n\nTwo.", Table("", ("K", "FID"), (("5", "213.08"),), notes=("n",)), (picture,))
    other = section_of(fabricate.record("cifar10", "ebm", 7))
    text = text_of(tmp_path, section_of(fabricate.record()), extra=[block], further=[other], plots=[])
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
    names = ("score_against_seconds", "odd-one", "curve_kid_by_chain_length", "scores", "samples")
    found = figures.figures(section, [Path("elsewhere") / section.folder / f"{name}.png" for name in names])
    assert [one.path.stem for one in found] == [names[i] for i in (4, 3, 2, 1, 0)]
    assert [one.title for one in found][2:4] == ["KID by chain length", "odd one"]
    assert all(one.alt.startswith("Plot for digits: ") and one.title in one.alt for one in found)
    assert figures.figures(section, [Path("plots/digits/protocol-2/samples.png")]) == []


# --- numbers and pictures ---


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234 ± 5", 1234.0),
        ("-0.0012 [-0.0028, 0.0005]", -0.0012),
        ("\u22122.5", -2.5),
        ("3.20e-07 ± 4.0e-08", 3.2e-7),
        ("47 %", 47.0),
        ("34,177 (34,177)", 34177.0),
        ("63.81*", 63.81),
        ("0.0130 ± 0.0090 (n = 2)", 0.013),
        ("2 finished", None),
        ("50 decodes per image", None),
        ("2026-01-01", None),
        ("1,23", None),
        ("not run", None),
        ("–", None),
        ("", None),
    ],
)
def test_the_number_that_a_text_is(text, number):
    assert leading_number(text) == number


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 1 entries, but 2 columns"):
        Table("t", ("a", "b"), (("1",),))


def decoded(source: str) -> np.ndarray:
    kind, content = source.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_picture_is_embedded_without_loss_and_a_huge_one_smaller(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = embed.picture(tmp_path / "a.png")
    assert (found.width, found.height) == (30, 20)
    assert np.array_equal(decoded(found.source), pixels)
    Image.new("L", (4800, 300), 200).save(tmp_path / "wide.png")
    found = embed.picture(tmp_path / "wide.png")
    assert (found.width, found.height) == (3200, 200)
    assert decoded(found.source).shape == (150, 2400, 3)


def test_noise_that_does_not_compress_is_embedded_with_loss(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    assert len(embed.picture(tmp_path / "noise.png").source) < 0.6 * (tmp_path / "noise.png").stat().st_size


def test_what_is_no_picture_is_none(tmp_path):
    assert embed.picture(tmp_path / "absent.png") is None
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    assert embed.picture(tmp_path / "bad.png") is None
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert embed.picture(tmp_path / "bomb.png") is None
    Image.new("L", (64, 64)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert embed.picture(tmp_path / "cut.png") is None


# --- in plain words ---

KID = "KID(efficientnet-lite0)"


def words_of(*records: dict) -> tuple[str, str]:
    found = verdict(section_of(*records))
    return found.headline, "\n".join(found.points)


def decided(*models: str) -> list[dict]:
    return [one for model in models for one in fabricate.decided(model)]


def test_a_winner_is_named_with_test_and_certainty():
    headline, points = words_of(*decided("ebm", "vae", "dcgan"))
    assert headline == f"ebm is better than every other model in the lead score, {KID}."
    assert f"{KID} (lower is better): ebm 0.010010 ± 0.000025; vae 0.030030 ± 0.000075; dcgan 0.05005" in points
    assert re.search(
        r"chance hardly explains its lead over vae \(p [<=] 0\.00\d+\) and dcgan \(p [<=] 0\.00\d+\)", points
    )
    assert "For scale, real, held out (299 images): " in points
    assert "dcgan is better than every other model in IS" in points
    assert "Welch's t-test, Holm-corrected over 42 comparisons" in points
    assert "at most 5 %" in points
    assert "Not tested, as there are fewer than two rows: OOD AUROC (uniform noise)." in points
    assert "network evaluations per sample (dcgan 1, ebm 20, vae 1)" in points
    assert "100 decodes per image" in points
    assert "1 decode per image" in points
    assert "Cells: 9 of 9 finished, in 3 rows of the tables; training seeds 0, 1, 2." in points


def test_where_nothing_is_significant_no_winner_is_named():
    near = [fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])]
    other = [fabricate.record(model="dcgan", seed=seed, kid=kid) for seed, kid in enumerate([0.011, 0.013, 0.018])]
    headline, points = words_of(*near, *other)
    assert headline == f"No winner can be named in the lead score, {KID}."
    assert "ebm has the best mean, but chance alone could explain its lead over dcgan (p = 1)" in points
    assert "No winner in KID, FD, " in points
    assert "That does not show them to be equal" in points
    assert "is better than every other model" not in points


def test_the_p_values_are_those_of_the_tests():
    from bench import statistics
    from bench.report.ranking import rank

    section = section_of(*decided("ebm", "vae"))
    ranking = rank(section)
    columns = {
        one["name"]: (
            one["better"],
            {row.label: [r.metric(one["name"])["value"] for r in row.records] for row in section.rows},
        )
        for one in section.tabulated
        if one["better"] != "none" and all(record.metric(one["name"]) for record in section.records)
    }
    expected = statistics.winners(columns).p_values
    assert {name: ranking.p_values[name] for name in expected} == expected
    assert ranking.order["KID"] == ["ebm", "vae"]
    assert ranking.order["IS"] == ["vae", "ebm"]  # higher is better


def test_too_few_seeds_a_lost_winner_and_no_scores_are_said():
    headline, points = words_of(fabricate.record(), fabricate.record(model="vae", kid=0.5))
    assert headline == f"No winner can be named in the lead score, {KID}: fewer than three seeds."
    assert "one training seed, 0, which says nothing of how another would do" in points
    assert "Certainty" not in points
    headline, points = words_of(*decided("ebm", "vae"), fabricate.record(seed=3, diverged_at=5))
    assert "ebm is ahead, but not all of its runs finished" in headline
    assert "ebm: 3 finished, 1 diverged at update 5" in points
    lost = [fabricate.record(model="dcgan", seed=seed, diverged_at=5) for seed in range(3)]
    assert (
        words_of(*decided("ebm", "vae"), *lost)[0]
        == f"ebm is better than every other model that has the lead score, {KID}."
    )
    headline, points = words_of(fabricate.record(diverged_at=5))
    assert headline == "No run finished: there are no scores."
    assert "0 of 1 finished" in points
    assert words_of(*decided("ebm"))[0].startswith("Only one model has the lead score")
