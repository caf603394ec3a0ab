"""The page's words: a winner is named only where a test says so, and what was not tested is said."""

from __future__ import annotations

import re

from bench.report.content.summary import verdict
from tests import fabricate
from tests.fabricate import section_of

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
    assert re.search(r"Its mean differs by -0\.0200\d* \[-0\.02\d+, -0\.01\d+\] from vae and -0\.0400", points)
    assert "For scale, real, held out (299 images): " in points
    assert "dcgan is better than every other model in IS" in points
    assert "the lead score first, then the others, Holm-corrected over 13 columns" in points
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
    assert "ebm has the best mean, but chance alone could explain its lead over dcgan (p = 0.75)" in points
    assert "Without a winner in the lead score no other score can have one" in points
    assert "No winner in KID, FD, " in points
    assert "That does not show them to be equal" in points
    assert "is better than every other model" not in points


def test_the_p_values_are_those_of_the_tests():
    from bench.report.content import statistics
    from bench.report.content.ranking import rank

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
