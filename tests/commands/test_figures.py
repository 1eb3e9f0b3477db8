"""The figures of the documentation are what the code draws."""

import pathlib
import re

import pytest

from efficient_attn.__main__ import main
from efficient_attn.commands.figures import figures

pytestmark = pytest.mark.fast

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "figures"


def test_figures_are_up_to_date(tmp_path, capsys):
    main(["figures", "--directory", str(tmp_path)])
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in tmp_path.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_text() == (FOLDER / path.name).read_text(), f"{path.name}: run `make figures`"
    assert capsys.readouterr().out.count("wrote") == len(figures())


def test_captions_fit_their_panels():
    for drawing in figures().values():
        # 6.6 units a character at size 11, under a panel 240 wide with a gap of 32 beside it.
        assert all(len(label.text) * 6.6 <= 256 for label in drawing.labels if label.family == "monospace")


def test_every_figure_that_the_documents_show_exists():
    root = FOLDER.parents[1]
    for page in [root / "README.md", *(root / "docs").glob("*.md")]:
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name} shows {link}"
