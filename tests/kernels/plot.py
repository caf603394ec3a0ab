"""Steps per second against n_f: the engine among its contestants."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from tests.kernels.results import Kernel, device
from tests.kernels.table import is_plotted

# contestant -> (label, colour, marker, dashes); Okabe and Ito's palette
LOOKS = {
    "bf16": ("engine in bf16 (another precision)", "#56B4E9", "P", (0, (4, 2))),
    "engine": ("engine, float32", "#0072B2", "o", "-"),
    "unfused": ("engine, its steps not fused", "#888888", "x", (0, (4, 2))),
    "floor": ("floor: bare convolutions", "#222222", "_", (0, (1, 1))),
    "reference": ("readable reference", "#009E73", "s", "-"),
    "published": ("published algorithm", "#D55E00", "^", "-"),
    "torchebm": ("torchebm", "#CC79A7", "D", "-"),
    "ebmkit": ("ebmkit", "#E69F00", "v", "-"),
}
TICKS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)


def draw(kernels: list[Kernel], path: Path) -> bool:
    """Write the plot; False where the run has none of its chains."""
    chains = sorted((k.facts for k in kernels if is_plotted(k)), key=lambda facts: facts["n_f"])
    if not chains:
        return False
    figure = Figure(figsize=(7, 4.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (label, colour, marker, dashes) in LOOKS.items():
        points = [(c["n_f"], c["steps"] / seconds) for c in chains if (seconds := seconds_of(c, name))]
        if points:
            width, order = (2.4, 5) if name == "engine" else (1.4, 3)
            look = {"color": colour, "marker": marker, "ls": dashes, "lw": width, "ms": 6, "zorder": order}
            axes.plot(*zip(*points, strict=True), label=label, **look)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([c["n_f"] for c in chains])
    axes.set_yticks(TICKS)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
    every = [c["steps"] / s for c in chains for name in LOOKS if (s := seconds_of(c, name))]
    axes.set_ylim(min(every) / 1.3, max(every) * 1.3)
    axes.set_xlabel("n_f, channels of the first layer")
    axes.set_ylabel("Langevin steps per second")
    facts = chains[0]
    axes.set_title(
        f"Plain net, {facts['channels']}x{facts['side']}x{facts['side']}, batch {facts['batch']}, K={facts['steps']}; "
        f"{facts['threads']} threads, {device(kernels)}",
        fontsize=9,
    )
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path)
    return True


def seconds_of(facts: dict, name: str) -> float | None:
    """Median seconds of one contestant's chain."""
    return facts["seconds"] if name == "engine" else facts.get("seconds_of", {}).get(name)
