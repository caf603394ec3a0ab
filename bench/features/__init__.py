"""Feature extractors: a table of names, the small protocol they keep, and the one pass that feeds every metric.

A new extractor is one file with a function `build(device, weights)` and one line in `EXTRACTORS`, or any
`package.module:Class` on the command line. docs/extractors.md names what there is, and what a class must have.
"""

from bench.features.choice import EXTRACTORS, resolve
from bench.features.extraction import FeatureExtractor, Features, check_images, extract, require_finite

__all__ = ["EXTRACTORS", "FeatureExtractor", "Features", "check_images", "extract", "require_finite", "resolve"]
