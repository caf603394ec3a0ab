"""Which modules the coverage-guided engine watches for a reader: known before any of them is imported."""

MODULES = {
    "record": ("bench.results.record", "bench.results.schema"),
    "profile": ("bench.config.settings",),
    "cache": ("bench.storage.sealed", "bench.features.cache"),
    "checkpoint": ("bench.storage.sealed", "bench.storage.checkpoint"),
    "image": ("bench.data.decoding", "PIL"),
    "archive": ("bench.data.archives", "zipfile"),
    "array": ("bench.data.arrays", "numpy.lib", "zipfile"),
    "status": ("bench.results.status",),
    "toy": ("bench.paper.toy",),
}
