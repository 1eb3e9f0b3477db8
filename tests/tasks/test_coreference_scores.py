"""MUC, B-cubed and CEAF of entities, against cases that are worked by hand."""

import pytest

from efficient_attn.tasks.coreference_scores import coreference_scores

pytestmark = pytest.mark.fast

A, B, C, D, E, F, G, H, I = [(n, n + 1) for n in range(9)]  # noqa: E741
KEY = [[(A, B, C), (D, E, F, G)]]


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall)


def of(found, right=KEY):
    """Precision and recall of the three measures."""
    scores = coreference_scores(found, right)
    return {name: (scores[f"{name}_precision"], scores[f"{name}_recall"]) for name in ("muc", "b_cubed", "ceaf_e")}


def test_the_example_of_the_reference_implementation():
    """{abc} {defg} against {ab} {cd} {fghi}: 0.40, 0.46 (of rounded recall) and 0.52 in Pradhan et al. 2014.

    MUC: abc falls into ab and c, defg into d, e, and fg: (3 - 2) + (4 - 3) of 2 + 3 links; the other way fghi falls into fg, h, i
    and cd into c and d: 1 + 0 + 1 of 1 + 1 + 3. B-cubed: (4 + 1)/3 + (1 + 4)/4 of 7 mentions; 4/2 + (1 + 1)/2 + 4/4 of 8. CEAF:
    abc with ab, 4/5, and defg with fghi, 4/8, of two clusters and of three.
    """
    found = [[(A, B), (C, D), (F, G, H, I)]]
    measured = of(found)
    assert measured["muc"] == pytest.approx((2 / 5, 2 / 5))
    assert measured["b_cubed"] == pytest.approx((4 / 8, (5 / 3 + 5 / 4) / 7))
    assert measured["ceaf_e"] == pytest.approx((1.3 / 3, 1.3 / 2))
    scores = coreference_scores(found, KEY)
    assert [round(scores[f"{name}_f1"], 2) for name in ("muc", "b_cubed", "ceaf_e")] == [0.40, 0.45, 0.52]
    mean = (0.4 + f1(0.5, 35 / 84) + f1(1.3 / 3, 1.3 / 2)) / 3
    assert scores["conll_f1"] == pytest.approx(mean)


def test_all_in_one_and_all_right():
    """{abcdefg}: every link of the key and one more, 5 of 6; B-cubed (9 + 16)/7 of 7; CEAF 8/11 of one cluster, of two."""
    measured = of([[(A, B, C, D, E, F, G)]])
    assert measured["muc"] == pytest.approx((5 / 6, 1.0))
    assert measured["b_cubed"] == pytest.approx((25 / 49, 1.0))
    assert measured["ceaf_e"] == pytest.approx((8 / 11, 4 / 11))
    assert set(coreference_scores([[(G, F, E, D), (C, B, A)]], KEY).values()) == {1.0}


def test_clusters_are_paired_so_that_the_sum_is_greatest():
    """{abcd} {ef} against {abef} {cd}: the likest pair, abcd and abef, 4/8, shuts out two that are 4/6 each."""
    found, right = [[(A, B, E, F), (C, D)]], [[(A, B, C, D), (E, F)]]
    assert of(found, right)["ceaf_e"] == pytest.approx((4 / 6, 4 / 6))


def test_documents_are_summed_before_they_are_divided():
    """One right of two mentions, and nothing found of three: the same spans of two documents are different mentions."""
    measured = of([[(A, B)], []], [[(A, B)], [(A, B, C)]])
    assert measured["muc"] == pytest.approx((1.0, 1 / 3))
    assert measured["b_cubed"] == pytest.approx((1.0, 2 / 5))
    assert measured["ceaf_e"] == pytest.approx((1.0, 1 / 2))


def test_nothing_found():
    assert set(coreference_scores([[]], KEY).values()) == {0.0}
