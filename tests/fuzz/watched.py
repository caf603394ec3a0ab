"""Which modules the coverage-guided engine watches for a reader: known before any of them is imported."""

MODULES = {
    "record": ("bench.records", "bench.records_schema"),
    "profile": ("bench.settings",),
    "cache": ("bench.tensors", "bench.features.cache"),
    "checkpoint": ("bench.tensors", "bench.checkpoint"),
    "image": ("bench.data.decoding", "PIL"),
    "archive": ("bench.data.archives", "zipfile"),
    "status": ("bench.status",),
    "attempts": ("bench.attempts",),
    "toy": ("bench.paper.toy",),
}
