"""What the README tells a newcomer to type exists."""

import pathlib
import re

import pytest

from efficient_attn.__main__ import COMMANDS

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


def mentioned(pattern: str) -> list[str]:
    found = sorted(set(re.findall(pattern, TEXT)))
    assert found
    return found


@pytest.mark.parametrize("target", mentioned(r"\bmake ([a-z-]+)(?=[`\s])"))
def test_make_targets(target):
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", mentioned(r"python -m efficient_attn ([a-z]+)"))
def test_commands(command):
    assert command in COMMANDS


@pytest.mark.parametrize("path", mentioned(r"\bconfigs/\w+\.py"))
def test_configurations(path):
    # The register's command line speaks of configs/x.py in general.
    assert (ROOT / path).is_file() or path == "configs/x.py"


@pytest.mark.parametrize("program", mentioned(r"python (\w+\.py)"))
def test_programs(program):
    assert (ROOT / program).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[\w-]+)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} points to {link}"


def test_layout_names_existing_folders():
    block = re.search(r"## Layout\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    folders = re.findall(r"(?:^|(?<= ))(\w+)/", block.partition("configs/")[0], re.MULTILINE)
    assert set(folders) >= {"patterns", "kernels", "data", "training"}
    for folder in folders:
        assert (ROOT / "efficient_attn" / folder).is_dir() or folder == "efficient_attn"
