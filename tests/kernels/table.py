"""The readable table of a run, rebuilt from its JSON alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.kernels.results import Kernel, larger_is_better

N_F = (16, 32, 64)
NOT_MEASURED = "–"
UNFUSED = "times_as_fast_as_unfused"  # of a GPU alone


class Target(NamedTuple):
    """What a ratio is wanted to be; None: it is only reported."""

    title: str
    key: str  # in `extra_info`
    wanted: tuple[float | None, ...]


CHAIN = [  # the plain net's chain at 32 x 32, for each of N_F
    Target("times as fast as the published algorithm", "times_as_fast_as_published", (2.0, 1.5, 1.2)),
    Target("times as fast as torchebm", "times_as_fast_as_torchebm", (2.0, 1.5, 1.2)),
    Target("times as fast as ebmkit", "times_as_fast_as_ebmkit", (None, None, None)),
    Target("times as fast as the readable reference", "times_as_fast_as_reference", (None, None, None)),
    Target("time over the bare convolutions", "time_over_floor", (1.05, 1.02, 0.95)),
    Target("share of the machine's sgemm peak", "share_of_sgemm_peak", (None, None, 0.70)),
    Target("bf16, another precision: its time over float32", "bf16_time_over_float32", (None, None, None)),
]
SINGLE = {  # kernel -> its target
    "inversion iteration": [
        Target("times as fast as double backward", "times_as_fast_as_double_backward", (3.0,)),
        Target("peak memory at K=100 over that at K=10", "memory_over_k_10", (1.05,)),
    ],
    "training update": [Target("time over the chain inside it", "time_over_chain", (1.10,))],
}
COLUMNS = [  # of the chains: (title, key, format)
    ("ms", "seconds", lambda v: f"{1000 * v:.1f}"),
    ("steps/s", "steps_per_second", lambda v: f"{v:.1f}"),
    ("samples/s", "samples_per_second", lambda v: f"{v:.1f}"),
    ("GFLOP/s", "gflop_per_second", lambda v: f"{v:.0f}"),
    ("of sgemm peak", "share_of_sgemm_peak", lambda v: f"{v:.2f}"),
    ("time / floor", "time_over_floor", lambda v: f"{v:.2f}"),
    ("x reference", "times_as_fast_as_reference", lambda v: f"{v:.2f}"),
    ("x published", "times_as_fast_as_published", lambda v: f"{v:.2f}"),
    ("x torchebm", "times_as_fast_as_torchebm", lambda v: f"{v:.2f}"),
    ("x ebmkit", "times_as_fast_as_ebmkit", lambda v: f"{v:.2f}"),
    ("x unfused", UNFUSED, lambda v: f"{v:.2f}"),
    ("bf16 time / float32", "bf16_time_over_float32", lambda v: f"{v:.2f}"),
    ("peak MiB", "peak_memory_mib", lambda v: f"{v:.0f}"),
    ("pairs", "pairs", str),
]


def render(kernels: list[Kernel], content: dict[str, Any]) -> str:
    """Markdown."""
    sections = [heading(kernels, content), chain_targets(kernels), single_targets(kernels), chains(kernels)]
    return "\n\n".join(section for section in [*sections, others(kernels)] if section) + "\n"


def heading(kernels: list[Kernel], content: dict[str, Any]) -> str:
    facts = next((k.facts for k in kernels if "dtype" in k.facts), {})
    return (
        f"# Langevin kernels\n\n{facts.get('device', 'unknown device')}, {facts.get('threads', '?')} threads, "
        f"{facts.get('dtype', '?')}, {str(content.get('datetime', ''))[:16]}. "
        "Ratios are medians of paired runs, A B A B; absolute times are this machine's."
    )


def chain_targets(kernels: list[Kernel]) -> str:
    """The plain net's chain, a column for each n_f, beside what is wanted."""
    chains = {k.facts.get("n_f"): k.facts for k in kernels if is_plotted(k)}
    if not chains:
        return ""
    steps = {facts["steps"] for facts in chains.values()}
    title = f"plain net, 32x32, batch 64, K={', '.join(map(str, sorted(steps)))}: measured (wanted)"
    rows = [
        [target.title]
        + [cell(chains.get(n_f, {}), target.key, wanted) for n_f, wanted in zip(N_F, target.wanted, strict=True)]
        for target in CHAIN
    ]
    versions = next(iter(chains.values())).get("peers", {})
    peers = "; ".join(f"{name}: {'' if name != 'published' else 'torch '}{v}" for name, v in versions.items())
    return "## Targets\n\n" + markdown([title, *(f"n_f={n_f}" for n_f in N_F)], rows) + f"\n\nPeers: {peers}."


def single_targets(kernels: list[Kernel]) -> str:
    rows = [
        [f"{name}, {setting(k.facts)}", target.title, cell(k.facts, target.key, target.wanted[0]) + arithmetic(k.facts)]
        for name, of_kernel in SINGLE.items()
        for k in kernels
        if k.facts.get("kernel") == name
        for target in of_kernel
    ]
    return markdown(["kernel", "ratio", "measured (wanted)"], rows) if rows else ""


def arithmetic(facts: dict[str, Any]) -> str:
    least = facts.get("arithmetic_over_chain")
    return f"; its products alone {least:.2f}" if least else ""


def chains(kernels: list[Kernel]) -> str:
    """A row for every step and chain."""
    found = [k for k in kernels if k.facts.get("kernel") in ("step", "chain")]
    columns = [column for column in COLUMNS if column[1] != UNFUSED or any(UNFUSED in k.facts for k in found)]
    rows = [[described(k)] + [shown(k.facts, key, form) for _, key, form in columns] for k in found]
    titles = ["step or chain, batch 64", *(title for title, _, _ in columns)]
    return "## Steps and chains\n\n" + markdown(titles, rows) if rows else ""


def others(kernels: list[Kernel]) -> str:
    """All other kernels with their rates and every ratio that they carry."""
    rows = []
    for k in kernels:
        if k.facts.get("kernel") in ("step", "chain"):
            continue
        rates = [f"{v:.4g} {key.replace('_per_second', '/s')}" for key, v in k.facts.items() if is_rate(key, v)]
        ratios = [f"{key.replace('_', ' ')} {value:.2f}" for key, value in k.ratios.items()]
        memory = f"{k.facts['peak_memory_mib']:.1f}" if "peak_memory_mib" in k.facts else NOT_MEASURED
        rows.append([described(k), ", ".join(rates), "; ".join(ratios), memory, str(k.facts.get("pairs", "3"))])
    return "## Other kernels\n\n" + markdown(["kernel", "rate", "ratios", "peak MiB", "pairs"], rows) if rows else ""


def is_plotted(kernel: Kernel) -> bool:
    """Whether it is one of the plain net's chains at 32 x 32."""
    wanted = {"kernel": "chain", "net": "plain", "side": 32, "channels": 3}
    return all(kernel.facts.get(key) == value for key, value in wanted.items())


def is_rate(key: str, value: Any) -> bool:
    return key.endswith("_per_second") and isinstance(value, int | float)


def described(kernel: Kernel) -> str:
    if "kernel" not in kernel.facts:
        return kernel.key
    return f"{kernel.facts['kernel']}, {setting(kernel.facts)}"


def setting(facts: dict[str, Any]) -> str:
    parts = [facts.get("net"), f"n_f={facts['n_f']}" if "n_f" in facts else None]
    parts += [f"{facts.get('channels')}x{facts.get('side')}x{facts.get('side')}"]
    parts += [f"K={facts['steps']}" if "steps" in facts else None]
    return ", ".join(part for part in parts if part)


def cell(facts: dict[str, Any], key: str, wanted: float | None) -> str:
    """The measured value, what was wanted, and whether it is met."""
    if key not in facts or wanted is None:
        return shown(facts, key, lambda v: f"{v:.2f}")
    value = facts[key]
    met = value >= wanted if larger_is_better(key) else value <= wanted
    return f"{value:.2f} ({wanted:.2f}, {'met' if met else 'MISSED'})"


def shown(facts: dict[str, Any], key: str, form: Any) -> str:
    if key in facts:
        return form(facts[key])
    return facts.get("peers", {}).get(key.removeprefix("times_as_fast_as_"), NOT_MEASURED)


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """A table with aligned columns: read in a terminal as well."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(titles), line(["-" * width for width in widths]), *map(line, rows)])
