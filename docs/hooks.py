"""For mkdocs: a page for each package, with what the docstrings of its modules say."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("translator", "training", "service")


def modules(package: str) -> list[str]:
    """Dotted names of a package's modules, sub-packages included; what can only be run is left out."""
    paths = sorted((REPOSITORY / package).rglob("*.py"))
    parts = [path.relative_to(REPOSITORY).with_suffix("").parts for path in paths]
    return [
        ".".join(part for part in names if part != "__init__")
        for names in parts
        if names[-1] != "__main__" and "native" not in names
    ]


def page(package: str) -> str:
    """The page's Markdown, which mkdocstrings fills."""
    blocks = [f"## `{module}`\n\n::: {module}\n" for module in modules(package)]
    return f"# {package}\n\n" + "\n".join(blocks)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for package in PACKAGES:
        files.append(File.generated(config, f"reference/{package}.md", content=page(package)))
    return files
