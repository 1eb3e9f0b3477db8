"""Examples with TFDS's fields written as the files that GLUE and SuperGLUE publish."""

import json

from efficient_attn.data.glue import GLUE_TABLES
from efficient_attn.data.text_to_text import TEXT_TASKS, ReleasedBenchmarks

TRUTH = (False, True)


def write_released(folder, examples, splits=("train", "validation", "test")):
    """The same examples as each of the splits, without labels in the last one."""
    for name, some in examples.items():
        task = TEXT_TASKS[name]
        place = folder / task.benchmark / task.folder
        place.mkdir(parents=True, exist_ok=True)
        for split in splits:
            if task.benchmark == "glue":
                write_table(place, task, some, split)
            else:
                file = {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}[split]
                rows = ROWS.get(task.folder, plain_rows)(task, some, split != "test")
                (place / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ReleasedBenchmarks(glue=folder / "glue", super_glue=folder / "super_glue")


def write_table(place, task, examples, split):
    if task.split_name(split) is None:
        return
    table = GLUE_TABLES[task.name.removeprefix("glue_")]
    fields = [name for name in examples[0] if name not in ("label", "idx")]
    columns = [*table.texts, *([table.label] if split != "test" else [])]
    lines = [] if table.header and split != "test" else [columns]
    for example in examples:
        label = example["label"]
        if table.labels:
            label = label if table.labels == ("0", "1") else task.labels[label]
        row = [*(example[field] for field in fields), str(label)][: len(columns)]
        lines.append(["a", str(label), "*", row[0]] if table.header and split != "test" else row)
    file = table.files[("train", "validation", "test").index(split)]
    (place / file).write_text("".join("\t".join(line) + "\n" for line in lines))


def plain_rows(task, examples, labelled):
    for example in examples:
        label = example["label"]
        named = label if task.folder == "COPA" else task.labels[label]
        written = TRUTH[label] if task.labels == ("False", "True") else named
        row = {name: value for name, value in example.items() if name != "label"} | {"version": 1.1}
        yield row | ({"label": written} if labelled else {})


def multirc_rows(task, examples, labelled):
    del task
    passages = {}
    for example in examples:
        place = example["idx"]
        _, questions = passages.setdefault(place["paragraph"], (example["paragraph"], {}))
        _, answers = questions.setdefault(place["question"], (example["question"], []))
        label = {"label": example["label"]} if labelled else {}
        answers.append({"text": example["answer"], "idx": place["answer"]} | label)
    for passage, (text, questions) in passages.items():
        asked = [{"question": q, "answers": answers, "idx": n} for n, (q, answers) in questions.items()]
        yield {"idx": passage, "version": 1.1, "passage": {"text": text, "questions": asked}}


def record_rows(task, examples, labelled):
    del task
    passages = {}
    for example in examples:
        passages.setdefault(example["idx"]["passage"], []).append(example)
    for passage, some in passages.items():
        text = some[0]["passage"]
        # The first one twice: entities are mentioned more than once.
        entities = [spanned(text, entity) for entity in [*some[0]["entities"], some[0]["entities"][0]]]
        asked = [
            {"query": example["query"], "idx": example["idx"]["query"]}
            | ({"answers": [spanned(text, a) | {"text": a} for a in example["answers"]]} if labelled else {})
            for example in some
        ]
        yield {"idx": passage, "source": "x", "passage": {"text": text, "entities": entities}, "qas": asked}


def spanned(text, entity):
    begin = text.index(entity)
    return {"start": begin, "end": begin + len(entity) - 1}


def wsc_rows(task, examples, labelled):
    del task
    for example in examples:
        target = {name: value for name, value in example.items() if name.startswith("span")}
        row = {"text": example["text"], "target": target, "idx": example["idx"]}
        yield row | ({"label": TRUTH[example["label"]]} if labelled else {})


ROWS = {"MultiRC": multirc_rows, "ReCoRD": record_rows, "WSC": wsc_rows}
