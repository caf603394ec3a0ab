"""A leaderboard over several results folders: places, distances and cost on a page for each protocol."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from bench import leaderboard
from bench.report.content.sections import split
from bench.report.tables.standings import protocols, standings
from bench.results.record import Record, write_record
from tests import fabricate


def run(*arguments):
    return leaderboard.main([str(one) for one in arguments])


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture
def folders(tmp_path):
    """EBM in one results folder, VAE in another, both at one protocol; in the second also one at other counts."""
    one, two = tmp_path / "one", tmp_path / "two"
    for data in fabricate.decided("ebm"):
        fabricate.cell(one, data, pictures=False)
    for data in fabricate.decided("vae"):
        fabricate.cell(two, data, pictures=False)
    fabricate.cell(two, fabricate.record("digits", "dcgan", 0, n_generated=500), pictures=False)
    return one, two


def test_places_and_distances_are_those_of_the_records(folders):
    records = leaderboard.gather(folders)
    origin = {record.path: folder.name for folder, own in records.items() for record in own}
    section, other = split([record for own in records.values() for record in own])
    table = standings(section, origin)
    assert [row[:2] for row in texts(table)] == [["1", "ebm"], ["2", "vae"]]
    column = {one.header: one for one in table.columns}
    (score,) = [one for header, one in column.items() if header.startswith("KID")]
    assert [cell.bold for cell in score.cells] == [True, False]
    values = [[record.metric("KID")["value"] for record in row.records] for row in section.rows]
    ebm, vae = map(np.mean, values)
    first, second = column["behind the leader"].cells
    assert first.text == "–"
    assert second.value == pytest.approx(vae - ebm)
    low, high = (float(end) for end in second.text.partition("[")[2].rstrip("]").split(", "))
    assert 0 < low < vae - ebm < high
    assert [row[-1] for row in texts(table)] == ["one", "two"]
    assert [row[:2] for row in texts(standings(other, origin))] == [["1", "dcgan"]]


def test_a_score_that_is_better_when_higher_is_ranked_so():
    records = []
    for i, (model, value) in enumerate([("ebm", 0.7), ("vae", 0.9)]):
        data = fabricate.record("digits", model, 0, evaluation_seeds=(0,))
        data["metrics"] = [one for one in data["metrics"] if one["name"] == "precision"]
        data["metrics"][0] |= {"value": value, "per_seed": [value], "interval": None, "lead": True}
        records.append(Record(leaderboard.Path(f"cells/{i}/record.json"), data))
    (section,) = split(records)
    rows = texts(standings(section, {record.path: "here" for record in records}))
    assert [row[:2] for row in rows] == [["1", "vae"], ["2", "ebm"]]
    assert float(rows[1][3]) == pytest.approx(0.2)


def test_what_was_made_elsewhere_has_no_place(folders):
    data = fabricate.record("digits", "theirs", 0, kid=1e-5)
    data |= dict.fromkeys(("parameters", "parameters_trained", "network_evaluations_per_sample", "throughput"))
    data |= {"origin": "elsewhere", "profile": "", "training": dict.fromkeys(data["training"])}
    scored = folders[0].with_name("scored")
    write_record(scored / "record.json", data)
    records = leaderboard.gather([*folders, scored])
    section, _ = split([record for own in records.values() for record in own])
    table = standings(section, {record.path: "" for own in records.values() for record in own})
    assert [row[:2] for row in texts(table)] == [["1", "ebm"], ["2", "vae"], ["–", "theirs, made elsewhere"]]
    assert "no test includes them" in table.notes[-1]


def test_a_page_for_each_protocol_and_one_that_lists_them(folders, tmp_path, capsys):
    copy = tmp_path / "copy"  # of a folder: its records are there already
    shutil.copytree(folders[0], copy)
    out = tmp_path / "out"
    assert run(*folders, copy, "--out", out) == 0
    pages = capsys.readouterr().out.split()
    names = ["index.html", "digits-1-of-2/index.html", "digits-2-of-2/index.html"]
    assert pages == [str(out / name) for name in names]
    first, *others = ((out / name).read_text(encoding="utf-8") for name in names)
    for name in names[1:]:
        assert f'href="{name}"' in first
    assert "copy: 0 records" in first
    for word in ("Standings: digits", "ebm", "vae", "behind the leader"):
        assert word in others[0]
    assert "dcgan" not in others[0]
    assert "vae" not in others[1].split("<main>")[1].split("<script>")[0]
    before = [(out / name).read_bytes() for name in names]
    assert run(*folders, copy, "--out", out) == 0
    assert [(out / name).read_bytes() for name in names] == before


def test_the_list_says_what_tells_protocols_apart(folders):
    records = leaderboard.gather(folders)
    parts = split([record for own in records.values() for record in own])
    rows = texts(protocols(parts, ["a", "b"]))
    assert [row[0] for row in rows] == ["digits (protocol 1 of 2)", "digits (protocol 2 of 2)"]
    assert [row[2].split()[0] for row in rows] == ["1,000", "500"]
    assert "ebm is better than every other model" in rows[0][5]


def test_mistakes_are_one_line(folders, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    again = tmp_path / "again"
    data = fabricate.decided("ebm")[0]
    fabricate.cell(again, data | {"created": "2020-01-01T00:00:00+00:00"}, pictures=False)
    (tmp_path / "file").write_text("")
    for arguments, said in (
        ([empty], "no records in"),
        ([tmp_path / "none"], "no records in"),
        ([folders[0], again], "both hold digits, ebm, training seed 0"),
        ([folders[0], "--out", folders[1]], "is a results folder"),
        ([folders[0], "--out", tmp_path / "file"], "is a file"),
    ):
        assert run(*["--out", tmp_path / "out"] if "--out" not in arguments else [], *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("bench.leaderboard: ")
        assert said in line
