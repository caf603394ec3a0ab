"""What a fabricated record says was measured: scores, references and curves as functions of a KID and an MSE."""

from __future__ import annotations

from typing import Any

NAME = "efficientnet-lite0"
FEATURES = {"extractor": NAME, "resize": 224, "weights_hash": "0123456789abcdef"}
BOOTSTRAP = "bootstrap, 100 resamples"


def metric(
    name: str, label: str, group: str, value: float, better: str, seeds: int = 1, lead: bool = False, **extra: Any
) -> dict[str, Any]:
    """One entry: per-seed values around the value, an interval of a tenth of it."""
    width = abs(value) / 10
    return {
        "name": name,
        "label": label,
        "group": group,
        "value": value,
        "per_seed": [value + 0.02 * width * (2 * i - seeds + 1) for i in range(seeds)],
        "interval": [value - width, value + width],
        "interval_of": BOOTSTRAP,
        "spread": width,
        "spread_of": "100 subsets of 500" if name == "KID" else "",
        "better": better,
        "lead": lead,
        "note": "",
        **extra,
    }


def metrics(model: str, kid: float, mse: float, n_generated: int, seeds: int) -> list[dict[str, Any]]:
    """All scores of a cell; an EBM has diagnostics too."""
    entries = [*_features(kid, n_generated, seeds), *_reconstruction(model, mse, seeds), *_paths(kid, seeds)]
    return entries + (_diagnostics(seeds) if model == "ebm" else [])


def _features(kid: float, n_generated: int, seeds: int, n_real: int = 1498) -> list[dict[str, Any]]:
    against = FEATURES | {"n_real": n_real, "n_generated": n_generated}

    def entry(name: str, value: float, better: str, lead: bool = False) -> dict[str, Any]:
        table = "variety" if name in ("precision", "recall", "density", "coverage", "memorization") else "samples"
        return metric(name, f"{name}({NAME})", "samples", value, better, seeds, lead, table=table, **against)

    good = 1 / (1 + 20 * max(kid, 0))
    return [
        entry("FD", 5000 * max(kid, 0) + 1, "lower"),
        entry("FD infinity", 4500 * max(kid, 0) + 0.1, "lower"),
        entry("KID", kid, "lower", lead=True),
        entry("IS", 2 + 10 * kid, "higher"),
        entry("precision", 0.9 * good, "higher"),
        entry("recall", 0.7 * good, "higher"),
        entry("density", 1.1 * good, "higher"),
        entry("coverage", 0.8 * good, "higher"),
        entry("memorization", 0.5 + kid, "none"),
    ]


def _reconstruction(model: str, mse: float, seeds: int) -> list[dict[str, Any]]:
    of = {"n": 299, "budget": 1 if model == "vae" else 100, "budget_unit": "decodes per image"}
    entries = [
        metric("MSE", "reconstruction MSE", "reconstruction", mse, "lower", seeds, **of),
        metric("PSNR", "PSNR", "reconstruction", 20 + 0.1 / mse, "higher", seeds, **of),
        metric("SSIM", "SSIM", "reconstruction", 1 / (1 + 5 * mse), "higher", seeds, **of),
    ]
    return [entry | {"spread_of": "299 images"} for entry in entries]


def _paths(kid: float, seeds: int) -> list[dict[str, Any]]:
    values = {
        "length ratio": 1.3 + kid,
        "largest step": 1.2 + kid,
        "second difference": 0.4 + kid,
        "feature length ratio": 1.6 + kid,
        "midpoint realism": 1.1 + kid,
    }
    shapes = [
        metric(name + kind, f"interpolation {name}{kind}", "interpolation", value + 0.1 * i, "none", seeds, **of)
        for i, kind in enumerate(["", ", real ends", ", paper path", ", paper path, real ends"])
        for name, value in values.items()
        for of in [{"n": 64, "points": 9, "spread_of": "64 paths"}]
    ]
    ranked = {"perceptual path length": 20 + 100 * kid, "midpoint KID, real ends": 0.02 + kid}
    return shapes + [
        metric(name, f"interpolation {name}", "interpolation", value, "lower", seeds, n=256, spread_of="256 paths")
        for name, value in ranked.items()
    ]


def _diagnostics(seeds: int) -> list[dict[str, Any]]:
    return [
        metric("energy gap", "energy gap", "diagnostics", 0.04, "none", seeds),
        metric("gradient norm", "gradient norm", "diagnostics", 0.41, "none", seeds),
        metric("OOD AUROC (uniform noise)", "OOD AUROC (uniform noise)", "diagnostics", 0.98, "higher", seeds),
    ]


def references() -> dict[str, Any]:
    """Held-out images (299, not the models' 1,000) and uniform noise, as the evaluator scores them."""
    floor, noise = _features(-0.0002, 299, 1), _features(0.4, 1000, 1)
    return {
        "real": {"title": "real, held out", "metrics": floor},
        "noise": {"title": "uniform noise", "metrics": noise},
    }


def curves(model: str, kid: float, mse: float) -> list[dict[str, Any]]:
    """Every model's MSE by decodes; an EBM's score by chain length and its chain's gradient norm and energy."""

    def curve(name: str, group: str, x_label: str, y_label: str, **rest: Any) -> dict[str, Any]:
        labels = {"name": name, "title": name, "group": group, "x_label": x_label, "y_label": y_label}
        return {"figures": {}} | labels | rest

    decodes = [1] if model == "vae" else [1, 2, 5, 10, 20, 50, 100]
    result = [
        curve(
            "MSE by decodes",
            "reconstruction",
            "decodes per image",
            "MSE, best so far",
            x=decodes,
            y=[mse * (1 + 8 / k) for k in decodes],
            log_x=True,
            mark=decodes[-1],
        )
    ]
    if model != "ebm":
        return result
    lengths, steps = [2, 5, 10, 20, 50, 100, 200], list(range(21))
    return [
        *result,
        curve(
            "KID by chain length",
            "samples",
            "Langevin steps",
            f"KID({NAME})",
            x=lengths,
            y=[kid * (20 / k if k < 20 else (k / 20) ** 0.8) for k in lengths],
            log_x=True,
            mark=20,
        ),
        *(
            curve(
                f"{what} by step",
                "diagnostics",
                "Langevin step",
                what,
                x=steps,
                y=[(1 + 30 * kid) * (0.3 + 2 / (1 + k)) - (what == "energy") for k in steps],
                log_x=False,
                mark=None,
                figures={"gradient-norm": "within the K steps"} if what == "gradient norm" else {},
            )
            for what in ("gradient norm", "energy")
        ),
    ]
