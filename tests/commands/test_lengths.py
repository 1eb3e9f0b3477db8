"""How long labelled texts are, as the command counts."""

import json

import pytest
from fine_tuned import write_config, write_lines

from efficient_attn.__main__ import main

pytest.importorskip("tokenizers")

MODEL = "attention=Sparse(patterns=('Full()',)), head='classification', labels=('a',),"


def test_pieces_of_pairs(tmp_path, capsys):
    # 3, 3 and so on, and 20 words.
    rows = [{"text": "ab cd", "pair": "ef", "label": "a"}] * 19 + [
        {"text": "ab " * 15, "pair": "cd " * 5, "label": "a"}
    ]
    write_lines(tmp_path, rows)
    config = write_config(tmp_path, f"LabelledLines(path={str(tmp_path)!r}, pair='pair')", MODEL)
    main(["lengths", config])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["average"] == pytest.approx((19 * 3 + 20) / 20)
    # Between the 19th and the 20th, where 3 becomes 20: a twentieth of the way.
    assert report["percentile_95"] == pytest.approx(3 + 17 * 0.05)
    # 16 tokens, 4 of them special.
    assert (report["longest"], report["over_context"], report["examples"]) == (20, 0.05, 20)


def test_only_of_labelled_texts(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["lengths", "configs/quickstart.py"])
    assert stopped.value.code == 2
    assert "lengths are counted of labelled texts, and Experiment has none" in capsys.readouterr().err
