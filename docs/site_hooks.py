"""What MkDocs is told beside mkdocs.yml: the README as the first page, files outside docs/ that pages link to, and the
reference, written from docstrings.

Links in the Markdown are those that work on GitHub; here they are turned into the site's, and MkDocs checks them.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")  # of the root, beside the README
FOLDERS = {"examples": "docs/extending.md"}  # linked folders, and the page that describes each
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
REFERENCE = {  # page -> title, modules
    "contract": (
        "The contract of models",
        """
        bench.contract.model bench.contract.config bench.contract.priors bench.contract.inversion bench.contract.scores
        bench.contract.seeds bench.contract.images bench.contract.plugins
        """,
    ),
    "library": (
        "The library",
        """
        bench.zoo bench.data bench.data.source bench.data.arrays bench.metrics bench.metrics.base
        bench.features.extraction bench.features.network bench.evaluation.evaluator bench.evaluation.config
        bench.scoring.setup bench.scoring.subjects bench.scoring.elsewhere bench.results.record
        bench.results.cell_folder bench.tracking bench.errors
        """,
    ),
    "ebm": ("The short-run model", "ebm.training ebm.short_run ebm.langevin ebm.energy ebm.published"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, the reference, and what pages link to outside docs/."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text(encoding="utf-8")))
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, (title, modules) in REFERENCE.items():
        text = "\n\n".join([f"# {title}", *(f"::: {module}" for module in modules.split())])
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    sources = [ROOT / "README.md", *(ROOT / name for name in PAGES), *sorted((ROOT / "docs").glob("*.md"))]
    known = {file.src_uri for file in files}
    for source in sources:
        for path, _ in LINK.findall(source.read_text(encoding="utf-8")):
            target = _target(source.relative_to(ROOT).as_posix(), path)
            outside = target not in known and not target.startswith("docs/") and (ROOT / target).is_file()
            if outside and target != "README.md":
                files.append(File.generated(config, target, abs_src_path=str(ROOT / target)))
                known.add(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between files of the site."""
    own = page.file.src_uri
    if own.startswith("reference/"):
        return markdown
    source = "README.md" if own == "index.md" else own if _in_root(own) else f"docs/{own}"

    def link(found: re.Match[str]) -> str:
        target = _target(source, found[1])
        place = FOLDERS.get(target, target)
        place = "index.md" if place == "README.md" else place.removeprefix("docs/")
        return posixpath.relpath(place, posixpath.dirname(own) or ".") + (found[2] or "")

    return LINK.sub(link, markdown)


def _target(source: str, path: str) -> str:
    """The path in the repository that a link in the file `source` leads to."""
    return posixpath.normpath(posixpath.join(os.path.dirname(source), path))


def _in_root(name: str) -> bool:
    return not (ROOT / "docs" / name).is_file() and (ROOT / name).is_file()
