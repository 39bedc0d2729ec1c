"""The folder of pages: complete, with no address outside, and never half written."""

import base64
import glob
import hashlib
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from vaelib import pages

ROOT = Path(__file__).parents[1]
VENDORED = pages.PARTS / "vendored"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n, as far as a page can tell").decode()
SHOW_PNG = f"""\
from IPython.display import display

display({{"image/png": "{PNG}"}}, raw=True)"""
FIRST = [
    "# First *things* & $x$\n\nNot this, *but*:\n\n*What comes\nfirst?*",
    "![a box](../imgs/box%201.svg) and the [second](02_second.ipynb#end), *not\n"
    "the [third *one*](03_third.ipynb) or [fourth](04_fourth.ipynb#end)*",
    "One paragraph.\n\nThe `figure` *shows* a [box](https://example.org).",
    ("code", SHOW_PNG),
    "### Exercise 1\n\nAdd.\n\n## The end",
    "*Solution:* the sum.",
    ("hidden", "print('6' * 7)"),
]
SECOND = ["# Second\n\n*What next?*", ("code", "print(40 + 2)")]


def write_notebook(path, sources):
    """Write a notebook of texts, and of pairs of a kind of code cell and its code."""
    cells = []
    for source in sources:
        if isinstance(source, str):
            cells.append(nbformat.v4.new_markdown_cell(source))
            continue
        kind, code = source
        hidden = {"jupyter": {"source_hidden": True}} if kind == "hidden" else {}
        cells.append(nbformat.v4.new_code_cell(code, metadata=hidden))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def write_course(folder):
    """Write a course of two notebooks, and return their paths."""
    (folder / "imgs").mkdir()
    (folder / "imgs" / "box 1.svg").write_text("<svg/>")
    notebooks = folder / "notebooks"
    first = write_notebook(notebooks / "01_first.ipynb", FIRST)
    return [first, write_notebook(notebooks / "02_second.ipynb", SECOND)]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The folder of the pages of a course, made in a folder with nothing else."""
    folder = tmp_path_factory.mktemp("course")
    notebooks = write_course(folder)
    before = [path.read_bytes() for path in notebooks]
    pages.build(folder / "pages", notebooks)
    assert [path.read_bytes() for path in notebooks] == before
    assert sorted(path.name for path in folder.iterdir()) == [
        "imgs", "notebooks", "pages",
    ]  # fmt: skip
    return folder / "pages"


def parsed(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def outside_or_missing(folder):
    """Return what pages load, or lead to within the folder, that is not in it."""
    found = []
    for page in folder.rglob("*.html"):
        for tag in parsed(page).find_all(True):
            for address in filter(None, (tag.get("src"), tag.get("href"))):
                parts = urlsplit(address)
                if parts.scheme == "data" or (tag.name == "a" and parts.netloc):
                    continue
                target = (page.parent / unquote(parts.path)).resolve()
                here = target.is_file() and folder.resolve() in target.parents
                if parts.scheme or parts.netloc or not here:
                    found.append((page.name, address))
    for style in [*folder.rglob("*.css"), *folder.rglob("*.html")]:
        loads = r"@import[^;]*|url\((?![\"']?data:)[^)]*\)"
        found += re.findall(loads, style.read_text(encoding="utf-8"))
    return found


def test_nothing_is_missing_or_from_outside(course):
    assert outside_or_missing(course) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="//example.org/a.css">',
        '<img src="missing.png">',
        '<img src="/index.html">',
        '<a href="notebooks/missing.html">gone</a>',
        "<style>@import 'a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
    ],
)
def test_what_is_missing_or_from_outside_would_be_found(tmp_path, spoilt):
    (tmp_path / "index.html").write_text(f'<a href="index.html">here</a>{spoilt}')
    assert len(outside_or_missing(tmp_path)) == 1


def test_contents_list_title_and_question_of_each_notebook(course):
    items = [
        " ".join(li.get_text().split()) for li in parsed(course / "index.html")("li")
    ]
    assert items == [
        "01 First things & $x$ · slides What comes first?",
        "02 Second · slides What next?",
    ]


def test_each_page_has_language_title_and_its_neighbours(course):
    for name, title, links in (
        (
            "notebooks/01_first",
            "First things & x",
            ["Contents", "Slides", "02 Second →"],
        ),
        (
            "notebooks/02_second",
            "Second",
            ["Contents", "Slides", "← 01 First things & x"],
        ),
        ("slides/02_second", "Second", ["Contents", "Page"]),
    ):
        page = parsed(course / f"{name}.html")
        assert page.html["lang"] == "en"
        assert page.title.get_text() == title
        assert page.find("meta", {"name": "viewport"})
        assert [a.get_text() for a in page.nav("a")] == links


def test_links_between_notebooks_lead_to_their_pages(course):
    for folder in "notebooks", "slides":
        page = parsed(course / folder / "01_first.html")
        assert page.find("a", string="second")["href"] == "02_second.html#end"
        paragraph = page.find("a", string="second").parent
        assert [a.get_text() for a in paragraph("a", href=True)] == ["second"]
        words = " ".join(paragraph.get_text().split())
        assert words.endswith("not the third one or fourth")  # which have no pages


def test_pictures_have_their_words(course):
    page = parsed(course / "notebooks" / "01_first.html")
    assert [picture["alt"] for picture in page("img")] == [
        "a box",
        "The figure shows a box.",
    ]


def test_solutions_are_folded_on_pages_and_not_on_slides(course):
    page = parsed(course / "notebooks" / "01_first.html")
    (solution,) = page("details")
    assert "6666666" in solution.get_text() and not solution.has_attr("open")
    assert page.get_text().count("6666666") == 1
    slides = parsed(course / "slides" / "01_first.html").get_text()
    assert "Exercise 1" in slides and "6666666" not in slides
    assert "Solution" in page.get_text() and "Solution" not in slides


def test_slides_follow_the_headings(course):
    """Each heading begins a slide, those of level three one below the last."""
    slides = parsed(course / "slides" / "01_first.html").find(class_="slides")
    columns = [
        [" ".join(leaf.get_text().split())[:10] for leaf in column("section")]
        for column in slides.find_all("section", recursive=False)
    ]
    assert columns == [
        ["First thin", "and the se", "One paragr", "Exercise 1"],
        ["The end"],
    ]


def test_what_one_will_be_able_to_do_and_needs_begin_slides():
    parts = [
        "# Title\n\n*What?*",
        "**You will be able to**\n- draw;\n- see.",
        "**You need** a pen.\n\nAbout a minute.",
    ]
    cell = nbformat.v4.new_markdown_cell("\n\n".join(parts))
    shown = pages.slides(nbformat.v4.new_notebook(cells=[cell])).cells
    assert [cell.source for cell in shown] == parts
    types = [cell.metadata.slideshow.slide_type for cell in shown]
    assert types == ["slide", "subslide", "subslide"]


def test_stored_slideshow_metadata_win():
    kinds = ["skip", "fragment", "notes", "subslide", "slide", "-"]
    cell = nbformat.v4.new_markdown_cell("## Heading\n\n### Another")
    cells = [
        nbformat.v4.new_markdown_cell(
            cell.source, metadata={"slideshow": {"slide_type": kind}}
        )
        for kind in kinds
    ]
    shown = pages.slides(nbformat.v4.new_notebook(cells=[*cells, cell])).cells
    types = [cell.metadata.slideshow.slide_type for cell in shown]
    assert types == [*kinds, "slide", "subslide"]
    assert "slideshow" not in cell.metadata


def test_vendored_files_are_those_that_their_readme_names():
    readme = (VENDORED / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| (\S+) (\S+) \|.*`([0-9a-f]{64})`", readme, re.M)
    licences = (VENDORED / "LICENSES.txt").read_text(encoding="utf-8")
    ours = {"README.md", "LICENSES.txt", ".gitattributes"}
    names = {path.name for path in VENDORED.iterdir()} - ours
    assert {name for name, *_ in rows} == names
    for name, package, version, digest in rows:
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest, (
            name
        )
        assert f"{package} {version}" in licences


def test_a_wheel_holds_all_that_pages_need():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["vaelib"]
    library = ROOT / "vaelib"
    packed = {
        library / name
        for pattern in patterns  # read as setuptools does
        for name in glob.glob(pattern, root_dir=library, recursive=True)
    }
    for path in pages.PARTS.rglob("*"):
        if path.is_file() and path.name[0] != ".":
            assert path in packed


def test_a_failing_notebook_is_named_and_the_old_pages_stay(tmp_path, capsys):
    good = write_notebook(tmp_path / "good.ipynb", ["# Good"])
    bad = write_notebook(tmp_path / "bad.ipynb", ["# Bad", ("code", "1 / 0")])
    folder = tmp_path / "pages"
    pages.main([str(folder), str(good)])
    with pytest.raises(
        SystemExit, match=r"(?s)bad\.ipynb, cell 2, .*ZeroDivisionError.*1 / 0"
    ):
        pages.main([str(folder), str(good), str(bad)])
    assert {path.stem for path in folder.glob("notebooks/*")} == {"good"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "pages", "good.ipynb", "bad.ipynb",
    }  # fmt: skip
    better = write_notebook(tmp_path / "better.ipynb", ["# Better"])
    pages.main([str(folder), str(better)])
    assert {path.stem for path in folder.glob("notebooks/*")} == {"better"}
    assert str(folder / "index.html") in capsys.readouterr().out


def spoil(path, kind):
    """Make one thing wrong with a course of one notebook; return what to build."""
    text = {
        "picture from outside": "![](https://example.org/a.png)",
        "picture of any scheme": "![](//example.org/a.png)",
        "script from outside": '<script src="http://example.org/a.js"></script>',
        "no such picture": "![](../imgs/none.svg)",
        "picture of the machine": "![](../../none.svg)",
    }.get(kind, "text")
    notebook = write_notebook(path / "notebooks" / "one.ipynb", ["# One", text])
    if kind == "no JSON":
        notebook.write_text("{")
    if kind == "other JSON":
        notebook.write_text('{"cells": 3}')
    if kind == "folder of others":
        (path / "pages").mkdir()
        (path / "pages" / "index.html").write_text("<p>mine</p>")
    if kind == "file":
        (path / "pages").write_text("mine")
    other = write_notebook(path / "other" / "one.ipynb", ["# One"])
    return {
        "nothing": [],
        "same names": [notebook, other],
        "no such notebook": [path / "none.ipynb"],
        "no notebook": [path / "notebooks"],
    }.get(kind, [notebook])


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("nothing", ValueError, "no notebooks"),
        ("same names", ValueError, "one name"),
        ("no such notebook", FileNotFoundError, r"none\.ipynb"),
        ("no notebook", ValueError, r"\.ipynb"),
        ("no JSON", ValueError, r"one\.ipynb is no notebook"),
        ("other JSON", ValueError, r"one\.ipynb is no notebook"),
        ("folder of others", FileExistsError, "another folder"),
        ("file", FileExistsError, "another folder"),
        ("picture from outside", ValueError, "one loads https://example.org"),
        ("picture of any scheme", ValueError, "one loads //example.org"),
        ("script from outside", ValueError, "one loads http://example.org"),
        ("no such picture", FileNotFoundError, "one loads ../imgs/none.svg"),
        ("picture of the machine", ValueError, "one loads ../../none.svg"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(tmp_path, kind, error, said):
    notebooks = spoil(tmp_path, kind)
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    with pytest.raises(error, match=said):
        pages.build(tmp_path / "pages", notebooks)
    after = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    assert after == before


def test_the_command_ends_with_a_reason_where_there_is_no_course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit, match="no pages were written: there are no notebooks"
    ):
        pages.main([])


def test_without_nbconvert_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    again = importlib.util.spec_from_file_location("pages_again", pages.__file__)
    with pytest.raises(ModuleNotFoundError, match=r"requirements\.txt"):
        again.loader.exec_module(importlib.util.module_from_spec(again))


def test_the_workflow_runs_the_command_of_the_readme():
    command = ".venv/bin/python -m vaelib.pages"
    workflow = (ROOT / ".github/workflows/pages.yml").read_text(encoding="utf-8")
    assert f"run: {command}\n" in workflow and "path: pages\n" in workflow
    assert f"\n{command}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_folder_is_never_committed():
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "pages/*" in patterns
    assert "pages" not in patterns  # which would be vaelib/static/pages too
