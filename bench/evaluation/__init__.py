"""One evaluation for every model: samples, reconstruction, interpolation, diagnostics, throughput, pictures."""

from bench.evaluation.config import EvaluationConfig
from bench.evaluation.evaluator import Evaluation, Evaluator
from bench.evaluation.pictures import COLUMNS, ROWS, Picture
from bench.evaluation.yardstick import Yardstick

__all__ = ["COLUMNS", "ROWS", "Evaluation", "EvaluationConfig", "Evaluator", "Picture", "Yardstick"]
