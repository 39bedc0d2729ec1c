"""The style that all notebooks share, checked without running them.

Each check takes a notebook as a dictionary and returns what it finds wrong. Every check
must also find something in a notebook that was made bad for it: see SPOILT below.
"""

import ast
import itertools
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MAX_BYTES, MAX_LINES, MAX_COLUMNS, MAX_BARE = 3_000_000, 25, 88, 0.1
WIDGET = "application/vnd.jupyter.widget-view+json"
PATH = re.compile(r"(?<![\w.:/<>])/(?:[\w.+-]+/)+[\w.+-]+|\b[A-Za-z]:\\+\w")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
DEFINITIONS = ast.FunctionDef, ast.ClassDef
NETWORK = re.compile(r"download=True|https?:|urlopen|\brequests\b|[!%](pip|wget|curl)")


def load(path):
    """Return a notebook with its sources and text outputs joined, no empty cells."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    notebook["cells"] = [c for c in notebook["cells"] if c["source"].strip()]
    return notebook


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook):
    return [(cell, output) for cell in code(notebook) for output in cell["outputs"]]


def is_prose(cell):
    return cell is not None and cell["cell_type"] == "markdown"


def neighbours(notebook):
    """Yield the cell before, the cell and the cell after, for every code cell."""
    cells = [None, *notebook["cells"], None]
    for before, cell, after in zip(cells, cells[1:], cells[2:], strict=False):
        if cell and cell["cell_type"] == "code":
            yield before, cell, after


def printed(output):
    """Return all text that an output shows."""
    texts = [output.get("text", "")]
    texts += [d for mime, d in output.get("data", {}).items() if mime[:5] == "text/"]
    return "\n".join("".join(text) for text in texts)


def has_picture(output):
    return any(mime.startswith("image/") for mime in output.get("data", {}))


def is_hidden(cell):
    return cell["metadata"].get("jupyter", {}).get("source_hidden", False)


def title(notebook):
    first = notebook["cells"][0]
    if not (is_prose(first) and first["source"].startswith("# ")):
        yield "does not open with a title"


def kernel(notebook):
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "is not for the kernel python3"


def one_run(notebook):
    counts = [cell["execution_count"] for cell in code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"not stored as one run from top to bottom: {counts}"


def widget_state(notebook):
    if "widgets" in notebook["metadata"]:
        yield "stores the state of widgets"


def size(notebook):
    stored = len(json.dumps(notebook, indent=1, ensure_ascii=False).encode())
    if stored > MAX_BYTES:
        yield f"{stored} bytes"


def stderr(notebook):
    for cell, output in outputs(notebook):
        if output.get("name") == "stderr":
            yield f"stderr from {cell['source']!r}"


def errors(notebook):
    for cell, output in outputs(notebook):
        wanted = "raises-exception" in cell["metadata"].get("tags", [])
        if output["output_type"] == "error" and not wanted:
            yield f"{output['ename']} from {cell['source']!r}"


def short_cells(notebook):
    for cell in code(notebook):
        lines = [line for line in cell["source"].splitlines() if line.strip()]
        if len(lines) > MAX_LINES:
            yield f"{len(lines)} lines of code: {lines[0]} ..."


def narrow_lines(notebook):
    for cell in code(notebook):
        for line in cell["source"].splitlines():
            if len(line) > MAX_COLUMNS:
                yield f"{len(line)} columns: {line}"


def prose_before_code(notebook):
    bare = [cell for before, cell, _ in neighbours(notebook) if not is_prose(before)]
    if len(bare) > MAX_BARE * len(code(notebook)):
        yield f"{len(bare)} code cells follow no prose: {[c['source'] for c in bare]}"


def prose_by_pictures(notebook):
    for before, cell, after in neighbours(notebook):
        alone = not (is_prose(before) or is_prose(after))
        if alone and any(map(has_picture, cell["outputs"])):
            yield f"no prose beside the picture of {cell['source']!r}"


def pictures_by_widgets(notebook):
    for cell, output in outputs(notebook):
        data = output.get("data", {})
        if WIDGET in data and "image/png" not in data:
            yield f"no picture for readers without a kernel from {cell['source']!r}"


def one_machine(notebook):
    for cell, output in outputs(notebook):
        for found in (PATH.search(printed(output)), ADDRESS.search(printed(output))):
            if found:
                yield f"{found.group()} from {cell['source']!r}"


def no_network(notebook):
    for cell in code(notebook):
        if NETWORK.search(cell["source"]):
            yield f"goes online: {cell['source']!r}"


def whole_formulas(notebook):
    """No line of a formula looks like a list's item, which would break it in two."""
    for cell in filter(is_prose, notebook["cells"]):
        inline = re.sub(r"\$\$.*?\$\$", "", cell["source"], flags=re.DOTALL)
        for formula in re.findall(r"(?<![\\$])\$([^$]+)\$", inline):
            if re.search(r"\n\s*([+*-]|\d+[.)])\s", formula):
                yield f"a line begins with a list's mark: {formula!r}"


def exercises_solved(notebook):
    """Each heading "Exercise 1", ... comes with its solution in a collapsed cell."""
    solved = {}
    exercise = None
    for cell in notebook["cells"]:
        if is_prose(cell):
            for line in re.findall(r"^#+ .*", cell["source"], re.MULTILINE):
                exercise = line if re.search(r"\bExercise \d", line) else None
                solved.setdefault(exercise, False)
        elif is_hidden(cell):
            solved[exercise] = True
    solved.pop(None, None)
    if not solved:
        yield "has no exercises"
    for heading, done in solved.items():
        if not done:
            yield f"no collapsed cell with a solution after {heading!r}"


CHECKS = [
    title, kernel, one_run, widget_state, size, stderr, errors, short_cells,
    narrow_lines, prose_before_code, prose_by_pictures, pictures_by_widgets,
    one_machine, no_network, whole_formulas, exercises_solved,
]  # fmt: skip


def functions(notebook):
    """Return the names of the functions and classes that the code cells define."""
    names = set()
    for cell in code(notebook):
        source = re.sub(r"^\s*[%!].*", "", cell["source"], flags=re.MULTILINE)
        body = ast.parse(source).body
        names |= {node.name for node in body if isinstance(node, DEFINITIONS)}
    return names


def defined_twice(notebooks):
    """Yield what more than one of the notebooks defines; they are keyed by name."""
    owners = {}
    for name, notebook in notebooks.items():
        for function in sorted(functions(notebook)):
            owners.setdefault(function, []).append(name)
    for function, names in owners.items():
        if len(names) > 1:
            yield f"{function} is defined in {names}"


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_style(path, check):
    assert list(check(load(path))) == []


def test_no_function_is_defined_in_two_notebooks():
    assert list(defined_twice({path.name: load(path) for path in NOTEBOOKS})) == []


def links(notebook):
    """Return the addresses that its text leads to or shows."""
    prose = [cell["source"] for cell in notebook["cells"] if is_prose(cell)]
    return re.findall(r"\]\(([^)#\s]+)", "\n".join(prose))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    local = [link for link in links(load(path)) if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("path", "following"),
    list(itertools.pairwise(NOTEBOOKS)),
    ids=lambda path: path.stem,
)
def test_each_notebook_ends_with_a_link_to_the_next(path, following):
    ends = [c["source"] for c in load(path)["cells"] if "**Next:**" in c["source"]]
    assert len(ends) == 1
    assert f"({following.name})" in ends[0].split("**Next:**")[1]


@pytest.mark.parametrize(
    ("before", "path"),
    list(itertools.pairwise(NOTEBOOKS)),
    ids=lambda path: path.stem,
)
def test_each_notebook_begins_with_a_link_to_the_one_it_needs(before, path):
    opening = load(path)["cells"][0]["source"]
    assert f"({before.name})" in opening.split("**You need**")[1]


# The checks checked: a good notebook, and for each check that notebook spoilt.


def good_notebook():
    said = {"output_type": "stream", "name": "stdout"}
    said["text"] = ["0.3 nats/example, 1/2/3; ", "see https://example.org/a/b"]
    shown = {"output_type": "display_data", "metadata": {}}
    shown["data"] = {"text/plain": "slider", "image/png": "iVBO", WIDGET: {}}
    cells = [
        {"cell_type": "markdown", "source": "# Title", "metadata": {}},
        {"cell_type": "code", "source": "def f(): 1", "metadata": {}},
        {"cell_type": "markdown", "source": "## Exercise 1\nTry.", "metadata": {}},
        {"cell_type": "code", "source": "g = f()", "metadata": {}},
    ]
    cells[1] |= {"execution_count": 1, "outputs": [said]}
    cells[3] |= {"execution_count": 2, "outputs": [shown]}
    cells[3]["metadata"] = {"jupyter": {"source_hidden": True}}
    return {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}}


def spoil_source(source):
    return lambda notebook: notebook["cells"][1].update(source=source)


def spoil_output(**changes):
    return lambda notebook: notebook["cells"][1]["outputs"][0].update(changes)


def remove(number):
    return lambda notebook: notebook["cells"].pop(number)


SPOILT = [
    (title, remove(0)),
    (kernel, lambda notebook: notebook["metadata"].pop("kernelspec")),
    (one_run, lambda notebook: notebook["cells"][1].update(execution_count=3)),
    (widget_state, lambda notebook: notebook["metadata"].update(widgets={})),
    (size, spoil_source("x" * MAX_BYTES)),
    (stderr, spoil_output(name="stderr")),
    (errors, spoil_output(output_type="error", ename="ValueError")),
    (short_cells, spoil_source("x\n" * (MAX_LINES + 1))),
    (narrow_lines, spoil_source("x" * (MAX_COLUMNS + 1))),
    (prose_before_code, remove(2)),
    (prose_by_pictures, remove(2)),
    (
        pictures_by_widgets,
        lambda notebook: notebook["cells"][3]["outputs"][0]["data"].pop("image/png"),
    ),
    (one_machine, spoil_output(text="found in /home/me/here.txt")),
    (one_machine, spoil_output(text="found in C:\\Users")),
    (one_machine, spoil_output(data={"text/html": "<b>f at 0x7f2a3b4c5d</b>"})),
    (no_network, spoil_source("MNIST('.', download=True)")),
    (no_network, spoil_source("%pip install vaelib")),
    (
        whole_formulas,
        lambda notebook: notebook["cells"][2].update(source="so $a\n+ b$ is"),
    ),
    (exercises_solved, remove(3)),
    (exercises_solved, remove(2)),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_good_notebook_passes(check):
    assert list(check(good_notebook())) == []


@pytest.mark.parametrize(("check", "spoil"), SPOILT)
def test_a_spoilt_notebook_is_found(check, spoil):
    notebook = good_notebook()
    spoil(notebook)
    assert list(check(notebook))


def test_each_check_is_checked():
    assert {check for check, _ in SPOILT} == set(CHECKS)


def test_an_error_on_purpose_passes():
    notebook = good_notebook()
    spoil_output(output_type="error", ename="ValueError")(notebook)
    notebook["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    assert list(errors(notebook)) == []


def test_a_copied_function_is_found():
    other = good_notebook()
    assert len(list(defined_twice({"a": good_notebook(), "b": other}))) == 1
    spoil_source("%time f()\ndef other_f(): 1")(other)
    assert list(defined_twice({"a": good_notebook(), "b": other})) == []
