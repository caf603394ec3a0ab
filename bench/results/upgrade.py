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


_VARIETY = ("precision", "recall", "density", "coverage", "memorization")  # scores whose table schema 3 did not name
_RENAMED = {"copying": "memorization"}  # scores
_KINDS = {"floor": "real", "ceiling": "noise"}  # references


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 3 or 4 in the form of schema 4. Fields of a wrong type stay as they are, for the check."""
    if record["schema"] != 3:
        return record
    curves = record.get("curves")
    if isinstance(curves, list) and all(isinstance(one, dict) for one in curves):
        curves = [_curve(one) for one in curves]
    stepwise = isinstance(curves, list) and any("Langevin" in str(one) for one in curves)
    step = "Langevin step" if stepwise else "network evaluation"
    new = {"schema": 4, "sampler_step": step, "curves": curves, "metrics": _scores(record.get("metrics"))}
    references = record.get("references")
    if isinstance(references, dict):
        new["references"] = {_KINDS.get(kind, kind): _reference(one) for kind, one in references.items()}
    return record | new


def _reference(reference: Any) -> Any:
    if not isinstance(reference, dict):
        return reference
    return reference | {"metrics": _scores(reference.get("metrics"))}


def _scores(scores: Any) -> Any:
    if isinstance(scores, list) and all(isinstance(one, dict) for one in scores):
        return [_score(one) for one in scores]
    return scores


def _score(score: dict[str, Any]) -> dict[str, Any]:
    if score.get("group") != "samples":
        return score
    old = str(score.get("name"))
    name = _RENAMED.get(old, old)
    new = {"name": name, "label": str(score.get("label")).replace(old, name)} if name != old else {}
    return {"table": "variety" if name in _VARIETY else "samples"} | score | new


def _curve(curve: dict[str, Any]) -> dict[str, Any]:
    return {"figures": _FIGURES.get(str(curve.get("name")), {})} | curve
