"""GLUE and SuperGLUE as text: every form by hand, from published files and from TFDS alike."""

import numpy as np
import pytest
from text_to_text_examples import EXAMPLES
from text_to_text_files import write_released

from efficient_attn.data.text_to_text import EN_MIX, TEXT_TASKS, PreparedBenchmarks, ReleasedBenchmarks, TaskExamples

# What is read and what is to be written, of an example of each task.
BY_HAND = {
    "glue_cola": ({"sentence": "It rains.", "label": 1}, "cola sentence: It rains.", ("acceptable",)),
    "glue_sst2": ({"sentence": "a bore", "label": 0}, "sst2 sentence: a bore", ("negative",)),
    "glue_mrpc": (
        {"sentence1": "He left.", "sentence2": "He went.", "label": 1},
        "mrpc sentence1: He left. sentence2: He went.",
        ("equivalent",),
    ),
    "glue_stsb": (
        {"sentence1": "A cat.", "sentence2": "A dog.", "label": np.float32(1.875).item()},
        "stsb sentence1: A cat. sentence2: A dog.",
        ("1.8",),
    ),
    "glue_qqp": (
        {"question1": "Why?", "question2": "How?", "label": 0},
        "qqp question1: Why? question2: How?",
        ("not_duplicate",),
    ),
    "glue_mnli": (
        {"premise": "He runs.", "hypothesis": "He rests.", "label": 2},
        "mnli hypothesis: He rests. premise: He runs.",
        ("contradiction",),
    ),
    "glue_mnli_mismatched": (
        {"premise": "He runs.", "hypothesis": "He moves.", "label": 0},
        "mnli hypothesis: He moves. premise: He runs.",
        ("entailment",),
    ),
    "glue_qnli": (
        {"question": "Who?", "sentence": "Ann did.", "label": 0},
        "qnli question: Who? sentence: Ann did.",
        ("entailment",),
    ),
    "glue_rte": (
        {"sentence1": "A and B.", "sentence2": "C.", "label": 1},
        "rte sentence1: A and B. sentence2: C.",
        ("not_entailment",),
    ),
    "super_glue_boolq": (
        {"question": "is it so", "passage": "So -- It is.", "label": 1},
        "boolq passage: So -- It is. question: is it so",
        ("True",),
    ),
    "super_glue_cb": (
        {"premise": "A: Well. B: Yes.", "hypothesis": "well", "label": 1},
        "cb hypothesis: well premise: A: Well. B: Yes.",
        ("contradiction",),
    ),
    "super_glue_copa": (
        {"premise": "It fell.", "choice1": "It broke.", "choice2": "It grew.", "question": "effect", "label": 0},
        "copa choice1: It broke. choice2: It grew. premise: It fell. question: effect",
        ("choice1",),
    ),
    "super_glue_multirc": (
        {
            "paragraph": "<b>Sent 1: </b>Ann ran.<br><b>Sent 2: </b>Bob sat.",
            "question": "Who sat?",
            "answer": "Bob",
            "label": 1,
        },
        "multirc question: Who sat? answer: Bob paragraph: Sent 1: Ann ran. Sent 2: Bob sat.",
        ("True",),
    ),
    "super_glue_record": (
        {
            "passage": 'He said "no."\n@highlight\nHe left\n@highlight\nIt ended',
            "query": "@placeholder left.",
            "entities": ["Al", "Al Fox", "Bo"],
            "answers": ["Al", "Al Fox"],
        },
        'record query: @placeholder left. entities: Al, Al Fox, Bo passage: He said "no." He left. It ended',
        ("Al", "Al Fox"),
    ),
    "super_glue_rte": (
        {"premise": "A and B.", "hypothesis": "A.", "label": 0},
        "rte hypothesis: A. premise: A and B.",
        ("entailment",),
    ),
    "super_glue_wic": (
        {"word": "bank", "sentence1": "A bank.", "sentence2": "The bank.", "start1": 2, "label": 0},
        "wic sentence1: A bank. sentence2: The bank. word: bank",
        ("False",),
    ),
    "super_glue_wsc": (
        {"text": "Tom asked Bob if he paid .", "span1_text": "Bob", "span2_text": "he", "span2_index": 4, "label": 1},
        "wsc: Tom asked Bob if *he* paid .",
        ("Bob",),
    ),
}


def test_every_task_by_hand():
    assert set(BY_HAND) == set(TEXT_TASKS) == set(EN_MIX)
    for name, (example, source, right) in BY_HAND.items():
        task = TEXT_TASKS[name]
        assert (task.form(example), task.right(example)) == (source, right), name
        assert task.published(example)
        unknown = example | ({"answers": []} if name == "super_glue_record" else {"label": -1})
        assert not task.published(unknown)
        assert task.right(unknown) == ()
        assert [task.place(label) for label in task.labels] == list(range(len(task.labels)))
        assert task.place("Entailment") == task.place("") == -1


def test_a_wrong_referent_is_not_learned():
    example = BY_HAND["super_glue_wsc"][0] | {"span1_text": "Tom", "label": 0}
    assert TEXT_TASKS["super_glue_wsc"].right(example) == ()
    assert TEXT_TASKS["super_glue_wsc"].published(example)


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "expected"),
    [
        # At the ends, before punctuation, off by a word, twice, and not at all.
        ("It rained .", "It", 0, "*It* rained ."),
        ('"Good for him," he said. ', "him", 2, '"Good for *him* ," he said.'),
        ("They might use it , but now", "it", 2, "They might use *it* , but now"),
        ("she saw that she slept", "she", 3, "she saw that *she* slept"),
        ("she saw that she slept", "she", 0, "*she* saw that she slept"),
        ("a  b it", "it", 3, "a  b *it*"),
    ],
)
def test_pronouns_are_marked(text, pronoun, index, expected):
    example = {"text": text, "span2_text": pronoun, "span2_index": index}
    assert TEXT_TASKS["super_glue_wsc"].form(example) == f"wsc: {expected}"


def test_a_pronoun_that_is_not_there():
    with pytest.raises(ValueError, match="there is no word 'him' in 'Tom ran'"):
        TEXT_TASKS["super_glue_wsc"].form({"text": "Tom ran", "span2_text": "him", "span2_index": 1})


def test_similarities_are_rounded_to_fifths():
    right = TEXT_TASKS["glue_stsb"].right
    # A tie goes to the even fifth.
    numbers = [0.0, 0.09, 0.1, 0.11, 2.5, 2.7, 3.3, 4.75, 4.917, 5.0]
    expected = ["0.0", "0.0", "0.0", "0.2", "2.4", "2.8", "3.2", "4.8", "5.0", "5.0"]
    assert [right({"label": number})[0] for number in numbers] == expected


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """All examples in the files that the benchmarks publish."""
    return write_released(tmp_path_factory.mktemp("released"), EXAMPLES)


@pytest.mark.parametrize("name", EN_MIX)
def test_published_files_hold_what_tfds_has(released, name):
    task = TEXT_TASKS[name]
    loaded = released.load(task, "validation")
    assert loaded == EXAMPLES[name]
    hidden = released.load(task, "test")
    assert not any(map(task.published, hidden))
    assert [task.form(example) for example in hidden] == [task.form(example) for example in loaded]
    assert len(released.sizes(task)) == 3


def test_spans_as_they_stand_in_the_text(tmp_path):
    benchmarks = write_released(tmp_path, {"super_glue_wsc": EXAMPLES["super_glue_wsc"]}, splits=("train",))
    file = tmp_path / "super_glue" / "WSC" / "train.jsonl"
    written = file.read_text().replace('"span1_text": "The ball"', '"span1_text": "the ball."')
    file.write_text(written.replace('"span1_text": "the table"', '"span1_text": "The\\ntable"'))
    found = benchmarks.load(TEXT_TASKS["super_glue_wsc"], "train")
    assert found == EXAMPLES["super_glue_wsc"]


def test_bad_files_are_said(tmp_path):
    benchmarks = ReleasedBenchmarks(glue=tmp_path, super_glue=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*CB: unpack SuperGLUE's archives"):
        benchmarks.load(TEXT_TASKS["super_glue_cb"], "train")
    (tmp_path / "MultiRC").mkdir()
    (tmp_path / "MultiRC" / "train.jsonl").write_text('{"idx": 0, "passage": {"text": "a"}}\n')
    with pytest.raises(
        ValueError, match=r"train.jsonl should hold MultiRC, and an object in it has no field 'questions'"
    ):
        benchmarks.load(TEXT_TASKS["super_glue_multirc"], "train")


def test_data_that_tfds_has_prepared(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    features = {
        "multirc": {
            "paragraph": tfds.features.Text(),
            "question": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["False", "True"]),
            "idx": tfds.features.FeaturesDict(dict.fromkeys(("paragraph", "question", "answer"), np.int32)),
        },
        "record": {
            "passage": tfds.features.Text(),
            "query": tfds.features.Text(),
            "entities": tfds.features.Sequence(tfds.features.Text()),
            "answers": tfds.features.Sequence(tfds.features.Text()),
            "idx": tfds.features.FeaturesDict(dict.fromkeys(("passage", "query"), np.int32)),
        },
    }
    with tfds.core.registered.skip_registration():

        class SuperGlue(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.2")
            BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name, version="1.0.2") for name in features)

            def _info(self):
                own = tfds.features.FeaturesDict(features[self.builder_config.name])
                return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=own)

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples(), "validation": self._generate_examples()}

            def _generate_examples(self):
                yield from enumerate(EXAMPLES[f"super_glue_{self.builder_config.name}"])

    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    benchmarks = PreparedBenchmarks(data_dir=tmp_path)
    for name in features:
        builder = SuperGlue(data_dir=tmp_path, config=name, file_format="array_record")
        builder.download_and_prepare(download_config=config)
        task = TEXT_TASKS[f"super_glue_{name}"]
        assert benchmarks.load(task, "validation") == EXAMPLES[task.name]
        assert len(benchmarks.sizes(task)) == 2
    with pytest.raises(ValueError, match="glue_mnli_mismatched has no train split"):
        benchmarks.load(TEXT_TASKS["glue_mnli_mismatched"], "train")


def test_nothing_right_is_nothing_to_learn():
    unknown = [example | {"label": -1} for example in EXAMPLES["glue_rte"]]
    part = TaskExamples(task=TEXT_TASKS["glue_rte"], examples=unknown)
    assert part.learned() is None
    assert (part.published, set(part.asked().target)) == (False, {""})
