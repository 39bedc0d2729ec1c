"""A real JupyterLab in headless Chromium, for whatever only a browser can show."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing
import urllib.request

import nbformat
import pytest
from playwright import sync_api as playwright

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
STARTUP = 60  # seconds that JupyterLab may take on a busy machine

# ipywidgets cannot tell a dead kernel that a slider moved, which is what we test.
HARMLESS = ("Could not send widget sync message",)


class Lab(typing.NamedTuple):
    """A running JupyterLab: its address, and the folder that it shows."""

    url: str
    root: pathlib.Path

    def request(self, method, path):
        """Return what the server answers to an API call, None if nothing."""
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def shut_down_kernels(self):
        """Shut down every kernel, and return when none is left."""
        for kernel in self.request("GET", "kernels"):
            self.request("DELETE", f"kernels/{kernel['id']}")
        assert self.request("GET", "kernels") == []

    def write_notebook(self, name, *cells):
        """Write code cells as a notebook, and return the address that opens it."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.root / name)
        return f"{self.url}/lab/workspaces/test/tree/{name}?reset"


@pytest.fixture(scope="session")
def chromium():
    """The path of an installed Chromium; without one, skip (in CI, fail)."""
    names = "chromium", "chromium-browser", "google-chrome"
    named = os.environ.get("CHROMIUM_PATH")  # where none of these is on the PATH
    paths = [path for path in map(shutil.which, (named or "", *names)) if path]
    if not paths:
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain(f"no browser: none of {', '.join(names)} is on the PATH")
    return paths[0]


@pytest.fixture(scope="session")
def jupyterlab(chromium, tmp_path_factory):
    """A JupyterLab of this environment with settings and folder of its own."""
    home = tmp_path_factory.mktemp("jupyterlab")
    lab = Lab(f"http://127.0.0.1:{_free_port()}", home / "root")
    lab.root.mkdir()
    log = home / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            _server_command(lab),
            env=_server_environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_up(lab, server, log)
        yield lab
    finally:
        server.terminate()  # its kernels with it
        server.wait(timeout=20)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _server_command(lab):
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": lab.url.rpartition(":")[2],
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": lab.root,
        "ServerApp.password": "",
        "ServerApp.disable_check_xsrf": True,  # for the plain API calls of the tests
        "IdentityProvider.token": "",
    }
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        *(f"--{name}={value}" for name, value in options.items()),
    ]  # fmt: skip


def _server_environment(home):
    """Return the environment, its Jupyter folders moved below `home`."""
    page_config = home / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    news = "@jupyterlab/apputils-extension:announcements"  # asks, and goes online
    page_config.write_text(json.dumps({"disabledExtensions": {news: True}}))
    return os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _wait_until_up(lab, server, log):
    deadline = time.monotonic() + STARTUP
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return lab.request("GET", "status")
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def browser(chromium):
    """One headless Chromium for all tests."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request, tmp_path):
    """A fresh page; errors on its console fail the test, and failures leave a picture.

    The picture is tmp_path / "failure.png", which pytest keeps.
    """
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    errors = []
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    failed = getattr(request.node, "failed", True)
    errors = [error for error in errors if not error.startswith(HARMLESS)]
    if failed or errors:
        page.screenshot(path=tmp_path / "failure.png")
    context.close()
    assert not errors, f"errors on the browser's console: {errors}"


@pytest.fixture
def run_notebook(jupyterlab, page, request):
    """A function that opens code cells as a notebook in the page, and runs them all."""

    def run(*cells):
        page.goto(jupyterlab.write_notebook(f"{request.node.name}.ipynb", *cells))
        idle = page.get_by_text("Python 3 (ipykernel) | Idle")
        playwright.expect(idle).to_be_visible(timeout=1000 * STARTUP)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    yield run
    jupyterlab.shut_down_kernels()


@pytest.fixture(scope="session")
def build_pages(chromium, tmp_path_factory):
    """A function that makes pages of notebooks and returns their folder."""

    def build(notebooks):
        folder = tmp_path_factory.mktemp("course") / "pages"
        command = [sys.executable, "-m", "vaelib.pages", folder, *notebooks]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder

    return build


@pytest.fixture(params=["from disk", "from a server"])
def visit(request, page):
    """A function that opens a file of a folder in the page, in each of two ways.

    The test fails if anything is asked for outside of that folder, or is not there.
    """
    roots, asked, missing = [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda r: "ABORTED" in r.failure or missing.append(r.url))
    page.on("response", lambda r: r.status >= 400 and missing.append(r.url))
    with contextlib.ExitStack() as stack:

        def visit(folder, name):
            if not roots and request.param == "from disk":
                roots.append(folder.as_uri())
            elif not roots:
                roots.append(stack.enter_context(_served(folder)))
            page.goto(f"{roots[0]}/{name}")

        yield visit
    here = tuple(f"{root}/" for root in roots)
    asked = [url for url in asked if not url.startswith(("data:", "blob:", *here))]
    assert not asked, f"asked for outside of the folder: {asked}"
    assert not missing, f"missing from the folder: {missing}"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def _served(folder):
    """Serve a folder below the server's root, as GitHub does, and yield its address."""
    handler = functools.partial(_Quiet, directory=folder.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{folder.name}"
        finally:
            server.shutdown()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Let fixtures know whether their test failed."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
