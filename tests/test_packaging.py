"""What the README, the pins and the continuous integration say of one another is so."""

import fnmatch
import os
import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def pins(path):
    """Return the pinned version of each package in a requirements file."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def commands(ending):
    """Return the lines of the README that end so, in its blocks of commands."""
    return [line for line in README.splitlines() if line.endswith(ending)]


def committed_files():
    """Return what git tracks; without git, all files that .gitignore lets through."""
    try:
        git = ["git", "-C", ROOT, "ls-files", "-z"]
        names = subprocess.run(git, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        names = ""
    return [PurePosixPath(name) for name in names.split("\0") if name] or all_files()


def all_files():
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [".git", *(line for line in lines if line and line[0] != "#")]
    found = []
    for folder, folders, files in os.walk(ROOT):
        here = PurePosixPath(Path(folder).relative_to(ROOT).as_posix())
        for names in folders, files:
            names[:] = [n for n in names if not is_ignored(here / n, ignored)]
        found += [here / name for name in files]
    return found


def is_ignored(path, patterns):
    return any(
        fnmatch.fnmatch(path.name, pattern) or fnmatch.fnmatch(str(path), pattern)
        for pattern in patterns
    )


def children(paths, folder):
    """Return the names right below a folder, those of folders ending in a slash."""
    depth = len(folder.parts)
    below = [p.parts[depth:] for p in paths if p.parts[:depth] == folder.parts]
    return {parts[0] + "/" * (len(parts) > 1) for parts in below if parts}


def readme_tree():
    """Return the names that the README's tree lists in each folder it opens."""
    block = re.search(r"```text\n(README\.md .*?)```", README, re.DOTALL).group(1)
    tree = {}
    folder = PurePosixPath()
    for line in block.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = PurePosixPath(name)
            tree.setdefault(PurePosixPath(), []).append(name)
        else:
            tree.setdefault(folder, []).append(name)
    return tree


@pytest.mark.parametrize("folder", readme_tree(), ids=str)
def test_readme_tree_lists_what_is_there(folder):
    assert sorted(readme_tree()[folder]) == sorted(children(committed_files(), folder))


def test_both_ways_to_list_files_read_a_tree():
    paths = [PurePosixPath(p) for p in ("a.py", "b/c.py", "b/d/e.py")]
    assert children(paths, PurePosixPath()) == {"a.py", "b/"}
    assert children(paths, PurePosixPath("b")) == {"c.py", "d/"}
    assert PurePosixPath("tests/test_packaging.py") in all_files()
    assert not is_ignored(PurePosixPath("vaelib/data.py"), ["notebooks/*.html"])
    assert is_ignored(PurePosixPath("notebooks/a.html"), ["notebooks/*.html"])


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", README))
def test_readme_link_leads_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()


def test_readme_maps_each_notebook():
    notebooks = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
    table = re.findall(r"^\| \[.*\]\(notebooks/(.*?)\)", README, re.MULTILINE)
    assert table == sorted(notebooks)


@pytest.mark.parametrize("ending", ["jupyter lab notebooks", "pytest"])
def test_readme_has_each_command_once_for_each_system(ending):
    posix, windows = commands(f"/{ending}") + commands(f"\\{ending}")
    assert windows == posix.replace("python3", "py").replace("/bin/", "\\Scripts\\")


def test_windows_job_runs_the_command_of_the_readme():
    workflow = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    (command,) = commands("\\pytest")
    assert f"run: {re.sub('^py ', 'python ', command)}\n" in workflow


def test_everything_is_pinned_but_vaelib():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    plain = [line for line in lines if line and line[0] != "#"]
    assert plain[-1] == "-e ."
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in plain[:-1])


def test_binder_has_the_pins_of_the_learners():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    learn = re.findall(r"^([\w-]+)==(.*)$", text.split("# To test")[0], re.MULTILINE)
    binder = pins(".binder/requirements.txt")
    assert {name: pin.removesuffix("+cpu") for name, pin in binder.items()} == dict(
        learn
    )


def test_readme_names_the_pins_of_torch():
    wanted = pins("requirements.txt")
    for name in "torch", "torchvision":
        assert set(re.findall(rf"\b{name}==([\d.]+)", README)) == {wanted[name]}
