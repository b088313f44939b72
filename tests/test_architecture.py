"""The pages that lead into the project: complete, and true to the code and to pyproject.toml."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS, PACKAGE = ROOT / "docs", ROOT / "src" / "pipegrad"
PAGE = (DOCS / "architecture.md").read_text("utf-8")
LAYERS = re.findall(
    r'^  "(.+)",$',
    (ROOT / "pyproject.toml").read_text("utf-8").partition("\nlayers = [\n")[2].partition("\n]")[0],
    re.MULTILINE,
)


def parts() -> list[str]:
    """The folders and files of the package as the page names them: ``graph/``, ``host.py``."""
    folders = [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]
    return sorted([*folders, *(path.name for path in PACKAGE.glob("[!_]*.py")), "__main__.py"])


def described() -> dict[str, str]:
    """Each part of the package, which the page prints in bold, with its paragraph."""
    found = {}
    for paragraph in PAGE.split("\n\n"):
        for bold in re.findall(r"\*\*(`.+?)\*\*", paragraph):
            found.update(dict.fromkeys(re.findall(r"`(.+?)`", bold), paragraph))
    return found


def links(page: Path) -> set[Path]:
    """The Markdown files that a page links to."""
    targets = re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text("utf-8"))
    return {(page.parent / target).resolve() for target in targets}


def test_the_page_describes_every_part_of_the_package_and_no_other():
    assert sorted(described()) == parts()


@pytest.mark.parametrize("part", parts())
def test_the_files_that_a_paragraph_names_exist(part):
    folder = PACKAGE / part if part.endswith("/") else PACKAGE
    files = {path.name for path in [*folder.rglob("*.py"), *PACKAGE.glob("*.py")]}
    assert set(re.findall(r"`(\w+\.py)`", described()[part])) <= files


def test_the_page_lists_the_layers_that_import_linter_checks():
    blocks = re.findall(r"```\n(.*?)\n```", PAGE, re.DOTALL)
    assert blocks == ["\n".join(LAYERS)]
    on_a_layer = {name for layer in LAYERS for name in layer.split(" | ")}
    assert on_a_layer == {re.sub(r"(\.py|/)$", "", part) for part in parts()}


def test_the_picture_is_up_to_date():
    script = DOCS / "make_architecture.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    assert drawing.layers() == [layer.split(" | ") for layer in LAYERS]
    assert set(drawing.PARTS) == {name for layer in drawing.layers() for name in layer}
    assert drawing.picture() == drawing.PICTURE.read_text("utf-8"), "make docs"


def test_every_page_can_be_reached_from_the_index():
    reached, waiting = set(), [(DOCS / "index.md").resolve()]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.parent == DOCS.resolve():
            reached.add(page)
            waiting.extend(links(page))
    assert {path.name for path in DOCS.glob("*.md")} == {path.name for path in reached}


def test_the_index_itself_lists_every_page():
    listed = {page.name for page in links(DOCS / "index.md") if page.parent == DOCS.resolve()}
    assert listed == {path.name for path in DOCS.glob("*.md")} - {"index.md"}
