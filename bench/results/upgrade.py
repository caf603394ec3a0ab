"""Records of earlier schemas, read as if this version had written them."""

from __future__ import annotations

from typing import Any

# Schema 3 did not say which curves are drawn side by side.
_FIGURES = {
    "gradient norm by step": {"gradient-norm": "within the K steps"},
    "gradient norm over a long run": {"long-chain": "gradient norm", "gradient-norm": "run on past K (dotted)"},
    "energy over a long run": {"long-chain": "energy"},
    "displacement by layer": {"residual-view": "displacement"},
    "cosine by layer": {"residual-view": "cosine with the whole way"},
    "noise share by layer": {"residual-view": "noise's share of the path"},
}


_VARIETY = ("precision", "recall", "density", "coverage", "copying")  # scores whose table schema 3 did not name


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 3 or 4 in the form of schema 4. Fields of a wrong type stay as they are, for the check."""
    if record["schema"] != 3:
        return record
    curves = record.get("curves")
    if isinstance(curves, list) and all(isinstance(one, dict) for one in curves):
        curves = [_curve(one) for one in curves]
    stepwise = isinstance(curves, list) and any("Langevin" in str(one) for one in curves)
    step = "Langevin step" if stepwise else "network evaluation"
    metrics = record.get("metrics")
    if isinstance(metrics, list) and all(isinstance(one, dict) for one in metrics):
        metrics = [_score(one) for one in metrics]
    return record | {"schema": 4, "sampler_step": step, "curves": curves, "metrics": metrics}


def _score(score: dict[str, Any]) -> dict[str, Any]:
    if score.get("group") != "samples":
        return score
    return {"table": "variety" if score.get("name") in _VARIETY else "samples"} | score


def _curve(curve: dict[str, Any]) -> dict[str, Any]:
    return {"figures": _FIGURES.get(str(curve.get("name")), {})} | curve
