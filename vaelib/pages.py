"""The course as a folder of HTML pages and slides, whose sliders need no kernel.

    python -m vaelib.pages [FOLDER] [NOTEBOOK ...]

runs the notebooks and writes the folder, with all that its pages load: nothing comes
from another address, so that they work from any web server, and straight from disk.
"""

import argparse
import copy
import re
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import anywidget

try:
    import nbformat
    from bs4 import BeautifulSoup
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter, SlidesExporter
    from nbconvert.preprocessors import ExecutePreprocessor
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: the pages need what `pip install -r requirements.txt` installs"
    ) from error

COURSE = "The variational autoencoder, hands on"
INTRODUCTION = """\
Each page is a notebook with its outputs, whose sliders move without Python, and each
slide show is that notebook for a lecture: there, the space bar goes on, O shows all
slides, F fills the screen, and S opens the lecturer's own window."""
PARTS = Path(__file__).parent / "static" / "pages"
OURS = 'content="vaelib.pages"'  # in the index of each folder that was made here
NEW_SLIDE = r"\n+(?=##+ |\*\*You (?:will be able to|need)\*\*)"  # amid a cell of text
OUTSIDE = re.compile(r"(?!data:)([a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


def build(folder, notebooks):
    """Run notebooks and write them into a folder, as pages and as slides.

    folder: made anew; one that an earlier run made is replaced, once all is well.
    notebooks: paths, in the order of the course; the files stay as they are. Those
        saved with the state of their widgets are not run, but taken as they are.

    Raises FileNotFoundError for a notebook or a picture that is not there; ValueError
    for a file that is no notebook, two of one name, or one that loads something from
    another address; FileExistsError for a folder that holds something else; and
    RuntimeError, naming the cell, if a notebook fails.
    """
    folder, paths = Path(folder).resolve(), [Path(path) for path in notebooks]
    loaded = {path.stem: _read(path) for path in paths}
    if not paths:
        raise ValueError("there are no notebooks to make pages of")
    if len(loaded) < len(paths):
        raise ValueError("two notebooks have one name, and would be one page")
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pages-") as temporary:
        new = Path(temporary) / "new"
        _write_static(new / "static")
        for path, notebook in zip(paths, loaded.values(), strict=True):
            if "widgets" not in notebook.metadata:  # else it was saved with their state
                print(f"running {path}", flush=True)
                _run(notebook, path)
            _write_notebook(new, path, notebook, loaded)
        _write(new / "index.html", _contents(loaded), COURSE, source=new)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)


def title(notebook):
    """Return the text of a notebook's first heading of level one; "" if none."""
    headings = re.findall(r"^# (.+)", _prose(notebook), re.MULTILINE)
    return headings[0].strip() if headings else ""


def question(notebook):
    """Return a notebook's first paragraph all in italics, with its stars, or ""."""
    paragraphs = re.findall(r"(?:^|\n\n)(\*[^*]+\*)(?=\n\n|$)", _prose(notebook))
    return " ".join(paragraphs[0].split()) if paragraphs else ""


def slides(notebook):
    """Return a notebook with the metadata that make slides of its cells.

    What is stored in a cell wins. Otherwise headings of levels one and two begin a
    slide, all other headings and prose a slide below it, to which the code that
    follows belongs. "**You will be able to**" and "**You need**" begin one too. The
    solutions of exercises, in words or code, are left out.
    """
    cells = []
    for cell in notebook.cells:
        parts = [cell.source]
        if cell.cell_type == "markdown" and not _stored_type(cell):
            parts = re.split(NEW_SLIDE, cell.source)
        for number, part in enumerate(parts):
            piece = copy.deepcopy(cell)
            piece.source = part
            piece.id = f"{cell.get('id', '')}{number}"  # each has to have its own
            piece.metadata["slideshow"] = {"slide_type": _slide_type(piece)}
            cells.append(piece)
    return nbformat.NotebookNode({**notebook, "cells": cells})


def _slide_type(cell):
    if _stored_type(cell):
        return _stored_type(cell)
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    if hidden or cell.source.startswith("*Solution"):
        return "skip"
    if cell.cell_type == "markdown":
        return "slide" if re.match(r"##? ", cell.source) else "subslide"
    return "-"


def _stored_type(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type")


def _read(path):
    if path.suffix != ".ipynb":
        raise ValueError(f"{path} is no notebook: its name does not end in .ipynb")
    if not path.is_file():
        raise FileNotFoundError(f"there is no notebook {path}")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # of many kinds: nbformat meets whatever is in the file
        raise ValueError(f"{path} is no notebook: {error}") from error
    return notebook


def _check_replaceable(folder):
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    index = folder / "index.html"
    if not index.is_file() or OURS not in index.read_text(encoding="utf-8"):
        raise FileExistsError(f"{folder} holds something else: name another folder")


def _run(notebook, path):
    """Run a notebook in its own folder, and keep the state of its widgets in it."""
    runner = ExecutePreprocessor(record_timing=False, store_widget_state=True)
    try:
        runner.preprocess(notebook, {"metadata": {"path": str(path.parent)}})
    except CellExecutionError as error:
        outputs = [cell.get("outputs", []) for cell in notebook.cells]
        failed = [any(o.output_type == "error" for o in output) for output in outputs]
        number = max(n for n, bad in enumerate(failed, start=1) if bad)
        raise RuntimeError(
            f"{path}, cell {number}, failed: {error.ename}: {error.evalue}\n\n"
            f"{notebook.cells[number - 1].source}"
        ) from error


def _write_static(static):
    """Write all that pages load: what is stored here, and what Python packages hold."""
    static.mkdir(parents=True)
    for file in [*PARTS.iterdir(), *(PARTS / "vendored").iterdir()]:
        if file.suffix in {".js", ".css", ".txt"}:
            shutil.copyfile(file, static / file.name)
    module = Path(anywidget.__file__).parent / "nbextension" / "index.js"
    shutil.copyfile(module, static / "anywidget.js")
    environment = HTMLExporter().environment
    names = "static/index.css", "static/theme-light.css"
    style = [environment.loader.get_source(environment, name)[0] for name in names]
    (static / "jupyterlab.css").write_text("\n".join(style), encoding="utf-8")


def _write_notebook(folder, path, notebook, course):
    """Write the page and the slides of a notebook that was run."""
    name = path.stem
    for cell, alt in zip(notebook.cells, _alternative_texts(notebook), strict=True):
        cell.metadata["alt"] = alt
    contents = "../index.html", "Contents"
    links = [contents, (f"../slides/{name}.html", "Slides"), *_neighbours(name, course)]
    heading = _plain(title(notebook)) or name
    page = folder / "notebooks" / f"{name}.html"
    whole = {"source": path.parent, "course": course}
    _write(page, notebook, heading, "../", links, **whole)
    links = [contents, (f"../notebooks/{name}.html", "Page")]
    page = folder / "slides" / f"{name}.html"
    _write(page, slides(notebook), heading, "../", links, True, **whole)


def _write(
    page, notebook, heading, root="", links=(), as_slides=False, *, source, course=()
):
    """Write one page, and beside it the pictures it shows from the folder `source`."""
    exporter = (SlidesExporter if as_slides else HTMLExporter)(
        template_file=str(PARTS / "page.html.j2"), exclude_anchor_links=True
    )
    around = {"title": heading, "root": root, "links": links, "slides": as_slides}
    html, _ = exporter.from_notebook_node(notebook, resources={"course": around})
    html = _lead_to_pages(html, course)
    page.parent.mkdir(exist_ok=True)
    page.write_text(html, encoding="utf-8")
    for tag in BeautifulSoup(html, "html.parser").find_all(["img", "script", "link"]):
        address = tag.get("src") or tag.get("href") or "data:"
        _bring(address, page, (page.parent / root).resolve(), source)


def _lead_to_pages(html, course):
    """Turn links to notebooks into links to their pages; without one, into words."""

    def lead(link):
        path, end, words = link.groups(default="")
        name = Path(unquote(path)).name
        return f'<a href="{name}.html{end}">{words}</a>' if name in course else words

    link = r'<a href="([^":]+)\.ipynb(#[^"]*)?"[^>]*>(.*?)</a>'
    return re.sub(link, lead, html, flags=re.DOTALL)


def _bring(address, page, folder, source):
    """See to it that what a page loads is in the folder, by copying it there."""
    if address.startswith("data:"):
        return
    if OUTSIDE.match(address):
        raise ValueError(f"{page.stem} loads {address}: bring it into the repository")
    target = (page.parent / unquote(address)).resolve()
    if folder not in target.parents:
        raise ValueError(f"{page.stem} loads {address}, from outside of the course")
    if not target.exists():
        if not (source / unquote(address)).is_file():
            raise FileNotFoundError(f"{page.stem} loads {address}, which is not there")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / unquote(address), target)


def _prose(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    return "\n\n".join(cell.source for cell in cells)


def _plain(markdown):
    """Return text without its marks: what it links to, emphasis, dollars."""
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"^#+ |^> |[*`$]", "", text, flags=re.MULTILINE).split())


def _alternative_texts(notebook):
    """Return for each cell the paragraph before it: what a figure of it shows."""
    texts, text = [], ""
    for cell in notebook.cells:
        texts.append(text)
        if cell.cell_type == "markdown":
            text = _plain(cell.source.strip().split("\n\n")[-1])
    return texts


def _neighbours(name, course):
    """Return links to the pages before and after one, as far as there are such."""
    names = list(course)
    here = names.index(name)
    near = (names[:here][-1:], "← {}"), (names[here + 1 :][:1], "{} →")
    return [
        (f"{other}.html", text.format(_plain(_label(other, course[other]))))
        for others, text in near
        for other in others
    ]


def _label(name, notebook):
    """Return a notebook's number, which begins its file's name, and its title."""
    number = re.match(r"\d*", name).group()
    return f"{number} {title(notebook) or name}".strip()


def _contents(course):
    """Return the first page, as a notebook of one cell."""
    lines = [f"# {COURSE}", "", INTRODUCTION, ""]
    for name, notebook in course.items():
        page = f"[{_label(name, notebook)}](notebooks/{name}.html)"
        lines += [
            f"- **{page}** · [slides](slides/{name}.html)  ",
            f"  {question(notebook)}",
        ]
    cell = nbformat.v4.new_markdown_cell("\n".join(lines))
    return nbformat.v4.new_notebook(cells=[cell])


def main(arguments=None):
    """Build what the command line asks for; end with a reason if that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m vaelib.pages",
        description="Run notebooks and write them as HTML pages and slides.",
    )
    parser.add_argument("folder", nargs="?", default="pages", help="made anew (pages)")
    parser.add_argument(
        "notebook", nargs="*", help="all in notebooks/ if none is named"
    )
    given = parser.parse_args(arguments)
    notebooks = given.notebook or sorted(Path("notebooks").glob("*.ipynb"))
    try:
        build(given.folder, notebooks)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"no pages were written: {error}")
    print(f"open {Path(given.folder) / 'index.html'} in a browser")


if __name__ == "__main__":
    main()
