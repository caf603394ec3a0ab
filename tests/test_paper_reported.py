"""The reported numbers, spelled a second time."""

from __future__ import annotations

from decimal import Decimal

from bench.paper.reported import reported

# The paper's numbers once more, by hand (Nijkamp et al. 2019, tables 1 to 3).
TABLE_1A = {
    "vae": ("4.28", "79.09", "183.18"),
    "dcgan": ("6.16", "32.71", "54.17"),
    "ebm": ("6.21", "23.02", "44.16"),
}
TABLE_1B = {
    "vae": ("0.0421", "0.0341", "0.0440"),
    "dcgan": ("0.0407", "0.0359", "0.0592"),
    "ebm": ("0.0387", "0.0271", "0.0272"),
}
TABLE_2 = {  # K -> sigma, FID, IS, gradient norm
    5: (0.15, "213.08", "2.06", "7.78"),
    10: (0.1, "182.5", "2.27", "3.85"),
    25: (0.05, "92.13", "4.06", "1.76"),
    50: (0.04, "68.28", "4.82", "0.97"),
    75: (0.03, "65.37", "4.88", "0.65"),
    100: (0.03, "63.81", "4.92", "0.49"),
}
TABLE_3A = {
    0.10: ("132.51", "4.05"),
    0.08: ("117.36", "4.20"),
    0.06: ("94.72", "4.63"),
    0.05: ("83.15", "4.78"),
    0.04: ("65.71", "4.83"),
    0.03: ("63.81", "4.92"),
}
TABLE_3B = {32: ("63.81", "4.92"), 64: ("46.61", "5.49"), 128: ("44.50", "6.21")}
CONFIRMED = {
    ("1a", "ebm", "cifar10", "IS", Decimal("6.21")),
    ("1a", "ebm", "celeba", "FID", Decimal("23.02")),
    ("3b", "ebm", "cifar10", "FID", Decimal("44.50")),
    ("3b", "ebm", "cifar10", "IS", Decimal("6.21")),
}


def test_every_reported_number():
    found = {}
    for v in reported().values:
        place = {"2": v.steps, "3a": v.sigma, "3b": v.n_f}.get(v.table, v.model)
        assert found.setdefault((v.table, place, v.dataset, v.score), str(v.value)) == str(v.value)
    wanted = {}
    datasets = ("cifar10", "celeba", "lsun-bedroom")
    for model in TABLE_1A:
        for dataset, quality, error in zip(datasets, TABLE_1A[model], TABLE_1B[model], strict=True):
            wanted["1a", model, dataset, "IS" if dataset == "cifar10" else "FID"] = quality
            wanted["1b", model, dataset, "MSE"] = error
    for steps, (_, *scores) in TABLE_2.items():
        for score, value in zip(("FID", "IS", "gradient norm"), scores, strict=True):
            wanted["2", steps, "cifar10", score] = value
    for table, rows in (("3a", TABLE_3A), ("3b", TABLE_3B)):
        for place, scores in rows.items():
            for score, value in zip(("FID", "IS"), scores, strict=True):
                wanted[table, place, "cifar10", score] = value
    assert found == wanted
    assert {v.steps: v.sigma for v in reported().of("2")} == {k: row[0] for k, row in TABLE_2.items()}
    assert {(v.steps, v.n_f) for v in reported().of("2")} == {(k, 32) for k in TABLE_2}
    assert {(v.steps, v.n_f) for v in reported().of("3a")} == {(100, 32)}
    assert {(v.steps, v.sigma) for v in reported().of("3b")} == {(100, 0.03)}


def test_only_what_was_confirmed_says_so():
    confirmed = {(v.table, v.model, v.dataset, v.score, v.value) for v in reported().values if v.confirmed}
    assert confirmed == CONFIRMED
    assert {v.text.endswith("†") for v in reported().values if v.confirmed} == {False}
    assert {v.text.endswith("†") for v in reported().values if not v.confirmed} == {True}
