"""What axe-core, which knows the rules for pages that everybody can use, finds on the pages: nothing serious."""

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, expect

from simulator.realtime import OfflineModel
from simulator.server_process import ServerProcess
from tests.browser.browser import PATIENCE_MS, browsing, microphone
from tests.browser.conftest import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AXE = "axe-core@4.10.3"
WIDTHS = (1280, 390)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its script, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", AXE]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    if fetched.returncode:
        pytest.skip(f"npm did not fetch axe-core: {fetched.stderr.strip()[-300:]}")
    return Path(folder, "node_modules", "axe-core", "axe.min.js").read_text()


def check(page: Page, axe: str) -> None:
    """Fails for what is serious or critical on the page, as it is now, in both themes and on a small screen too."""
    page.evaluate(axe)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            results = page.evaluate("axe.run()")
            assert len(results["passes"]) > 10
            found = [
                f"{each['impact']}: {each['help']}: {[node['html'] for node in each['nodes']]}"
                for each in results["violations"]
            ]
            assert found == [], (scheme, width)


def test_the_sign_in_page(playwright: Playwright, model: OfflineModel, tmp_path: Path, axe: str) -> None:
    with serving(model, tmp_path, CONSOLE_TOKEN="0123456789abcdef") as server, browsing(playwright) as page:
        page.goto(server.url)
        page.get_by_role("button", name="Sign in").click()
        check(page, axe)
        page.get_by_label("Console token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).not_to_be_empty()
        check(page, axe)


def test_the_softphone_before_a_call_and_in_it(
    playwright: Playwright, server: ServerProcess, tmp_path: Path, axe: str
) -> None:
    heard = microphone(tmp_path / "caller.wav", 5.0, "question", 5.0, "question", 60.0)
    with browsing(playwright, heard) as page:
        page.goto(server.url)
        check(page, axe)
        page.get_by_role("button", name="Call").click()
        expect(page.locator(".cut")).to_be_visible(timeout=2 * PATIENCE_MS)
        check(page, axe)
        page.get_by_role("button", name="Hang up").click()
        expect(page.get_by_role("button", name="Call")).to_be_visible()
        check(page, axe)


def test_a_problem_of_the_softphone(playwright: Playwright, server: ServerProcess, axe: str) -> None:
    with browsing(playwright) as page:
        page.goto(server.url)
        page.get_by_role("button", name="Call").click()
        expect(page.get_by_role("alert")).to_be_visible()
        check(page, axe)
