"""What the README tells a newcomer to type exists."""

import pathlib
import re
from typing import get_args, get_type_hints

import pytest

from efficient_attn.__main__ import COMMANDS
from efficient_attn.data import CopyFirst, Copying, Denoising, StandardLibrary
from efficient_attn.experiment import Source, load_config
from efficient_attn.sequence_experiment import SequenceExperiment

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


PAGE_OF_DATA = (ROOT / "docs" / "data.md").read_text()


@pytest.mark.parametrize("source", get_args(Source) + get_args(get_type_hints(SequenceExperiment)["source"]))
def test_every_source_is_on_the_page_of_data(source):
    assert f"`{source.__name__}(" in PAGE_OF_DATA


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.stem)
def test_every_configuration_that_reads_a_file_says_there_where_it_comes_from(path):
    source = load_config(str(path)).source
    made = isinstance(source, StandardLibrary | Copying | CopyFirst | Denoising)
    named = re.findall(r"`(configs/[\w*]+\.py)`", PAGE_OF_DATA)
    assert made != any(path.match(name) for name in named)
