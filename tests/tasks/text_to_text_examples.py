"""Twenty examples of every task of GLUE and SuperGLUE, written for these tests, with the fields that TFDS gives them."""

from glue_examples import COLA, ENTAILED, INFERENCE, MISMATCHED, MNLI, MRPC, QNLI, QQP, RTE, SST2, STSB, table

# The classes of CommitmentBank stand in another order: neutral is the last one.
CB = table(
    "premise hypothesis label",
    [(f"A: {p} B: I know. A: Do you?", h, (0, 2, 1)[n]) for p, h, n in INFERENCE],
)
SUPER_RTE = table("premise hypothesis label", [(f"{p} So it was said.", h, n) for p, h, n in ENTAILED])
_PASSAGES = (
    "Gannet -- The gannet is a white sea bird that dives from a height.",
    "Tin -- Tin is a soft metal that melts in a candle's flame.",
    "Fado -- Fado is a kind of song from Lisbon, most often sad.",
    "Rook -- The rook is a piece of chess that moves in straight lines.",
    "Larch -- The larch is a tree that drops its needles in autumn.",
)
_ASKED = (
    (
        ("can a gannet dive", 1),
        ("is a gannet black", 0),
        ("is the gannet a bird", 1),
        ("does a gannet live in trees", 0),
    ),
    (("is tin a metal", 1), ("is tin hard", 0), ("does tin melt in a flame", 1), ("is tin a kind of glass", 0)),
    (("is fado sung", 1), ("is fado from rome", 0), ("is fado often sad", 1), ("is fado a dance", 0)),
    (("does a rook move straight", 1), ("is a rook a card", 0), ("is the rook in chess", 1), ("can a rook jump", 0)),
    (("is the larch a tree", 1), ("is the larch green in winter", 0), ("does it drop needles", 1), ("is it a fern", 0)),
)
BOOLQ = table(
    "question passage label",
    [(question, text, label) for text, some in zip(_PASSAGES, _ASKED, strict=True) for question, label in some],
)
COPA = table(
    "premise choice1 choice2 question label",
    [
        ("The glass broke.", "It fell.", "It was full.", "cause", 0),
        ("The glass broke.", "It shone.", "The milk ran out.", "effect", 1),
        ("The man was wet.", "He swam.", "He sang.", "cause", 0),
        ("The man was wet.", "He ate.", "He dried himself.", "effect", 1),
        ("The lamp went out.", "The oil was gone.", "It was noon.", "cause", 0),
        ("The lamp went out.", "They sang.", "It grew dark.", "effect", 1),
        ("The girl laughed.", "She heard a joke.", "She was tired.", "cause", 0),
        ("The girl laughed.", "The rain stopped.", "Her friend smiled.", "effect", 1),
        ("The road was shut.", "A tree fell on it.", "It was long.", "cause", 0),
        ("The road was shut.", "Cars went faster.", "Cars turned back.", "effect", 1),
        ("The soup was cold.", "The stove was new.", "Nobody heated it.", "cause", 1),
        ("The soup was cold.", "They sent it back.", "They burnt their lips.", "effect", 0),
        ("The dog barked.", "It slept.", "Someone knocked.", "cause", 1),
        ("The dog barked.", "The baby woke.", "The bone grew.", "effect", 0),
        ("He lost his key.", "His hair was long.", "His pocket had a hole.", "cause", 1),
        ("He lost his key.", "He could not get in.", "He became rich.", "effect", 0),
        ("The plant died.", "It had two pots.", "It had no water.", "cause", 1),
        ("The plant died.", "She threw it away.", "She watered it daily.", "effect", 0),
        ("The crowd cheered.", "The seats were red.", "The team scored.", "cause", 1),
        ("The crowd cheered.", "The players waved.", "The stadium shrank.", "effect", 0),
    ],
)
_STORIES = (
    "<b>Sent 1: </b>Ida took the early bus to the market.<br><b>Sent 2: </b>There she sold eggs and two hens.<br>",
    "<b>Sent 1: </b>The miller had three sons and a cat.<br><b>Sent 2: </b>The youngest son was given the cat.<br>",
)
_QUESTIONS = (
    (0, "What did Ida sell?", (("Eggs", 1), ("Bread", 0), ("Two hens", 1), ("The bus", 0))),
    (0, "How did Ida travel?", (("On foot", 0), ("By bus", 1), ("In a cart", 0), ("On the early bus", 1))),
    (0, "Where did Ida go?", (("To the market", 1), ("To school", 0), ("Home", 0), ("To sea", 0))),
    (1, "How many sons were there?", (("Two", 0), ("Three", 1), ("None", 0), ("Four", 0))),
    (1, "Who was given the cat?", (("The youngest", 1), ("The miller", 0), ("The eldest", 0), ("The third son", 1))),
)
MULTIRC = [
    {
        "paragraph": _STORIES[story],
        "question": question,
        "answer": answer,
        "label": label,
        "idx": {"paragraph": story, "question": n, "answer": 4 * n + place},
    }
    for n, (story, question, some) in enumerate(_QUESTIONS)
    for place, (answer, label) in enumerate(some)
]
_REPORTS = (
    (
        "Lena Holt beat Mara Quist in Turin.\n@highlight\nHolt won in an hour",
        ("Holt", "Lena Holt", "Mara Quist", "Turin"),
    ),
    ("The Arno rose in Pisa and Empoli\n@highlight\nPisa was flooded", ("Arno", "Empoli", "Pisa")),
    ("Brun Motors will leave Graz for Linz.\n@highlight\nWorkers in Graz protest", ("Brun Motors", "Graz", "Linz")),
    ("Otto Fink wrote to Bishop Adler.\n@highlight\nAdler never replied!", ("Adler", "Bishop Adler", "Otto Fink")),
    ("Norvia and Sund signed a treaty in Kesh.\n@highlight\nSund has ships", ("Kesh", "Norvia", "Sund")),
)
_GAPS = (
    (0, "@placeholder lost the match.", ("Mara Quist",)),
    (0, "The match was played in @placeholder.", ("Turin",)),
    (0, "@placeholder needed an hour.", ("Holt", "Lena Holt")),
    (0, "It was the first final for the winner, @placeholder.", ("Holt", "Lena Holt")),
    (1, "The river @placeholder broke its banks.", ("Arno",)),
    (1, "Water stood in the streets of @placeholder.", ("Pisa",)),
    (1, "Less was seen in @placeholder.", ("Empoli",)),
    (1, "The tower of @placeholder stayed dry.", ("Pisa",)),
    (2, "Jobs are lost in @placeholder.", ("Graz",)),
    (2, "A works will be built in @placeholder.", ("Linz",)),
    (2, "The cars are made by @placeholder.", ("Brun Motors",)),
    (2, "The march through @placeholder was long.", ("Graz",)),
    (3, "The letter came from @placeholder.", ("Otto Fink",)),
    (3, "No answer came from @placeholder.", ("Adler", "Bishop Adler")),
    (3, "The church of @placeholder was silent.", ("Adler", "Bishop Adler")),
    (3, "A layman, @placeholder, complained.", ("Otto Fink",)),
    (4, "The pens were laid out in @placeholder.", ("Kesh",)),
    (4, "The fleet of @placeholder is large.", ("Sund",)),
    (4, "Without a fleet, @placeholder agreed.", ("Norvia",)),
    (4, "The talks took place in @placeholder.", ("Kesh",)),
)
RECORD = [
    {
        "passage": _REPORTS[n][0],
        "query": text,
        "entities": list(_REPORTS[n][1]),
        "answers": list(right),
        "idx": {"passage": n, "query": place},
    }
    for place, (n, text, right) in enumerate(_GAPS)
]
_SENSES = [
    ("bank", "He sat on the bank of the river.", "The bank was green.", 1),
    ("bank", "He sat on the bank of the river.", "The bank lent money.", 0),
    ("light", "The light was left on.", "Turn off the light.", 1),
    ("light", "The light was left on.", "The bag is light.", 0),
    ("run", "They run each day.", "She can run fast.", 1),
    ("run", "They run each day.", "He will run the firm.", 0),
    ("head", "My head hurts.", "She shook her head.", 1),
    ("head", "My head hurts.", "The head of the school.", 0),
    ("draw", "Draw a circle.", "He can draw a horse.", 1),
    ("draw", "Draw a circle.", "The horses draw a cart.", 0),
    ("note", "A high note.", "The last note was flat.", 1),
    ("note", "A high note.", "I left you a note.", 0),
    ("ring", "A gold ring.", "She lost her ring.", 1),
    ("ring", "A gold ring.", "I heard a ring at the door.", 0),
    ("plant", "The plant needs rain.", "A plant with thorns.", 1),
    ("plant", "The plant needs rain.", "The plant makes cars.", 0),
    ("sheet", "A sheet of paper.", "Take a clean sheet and write.", 1),
    ("sheet", "A sheet of paper.", "The sheet is on the bed.", 0),
    ("deep", "A deep well.", "The lake is deep.", 1),
    ("deep", "A deep well.", "A deep voice.", 0),
]
WIC = [
    row | {"start1": 0, "end1": 1, "start2": 0, "end2": 1} for row in table("word sentence1 sentence2 label", _SENSES)
]
WSC = table(
    "text span1_text span1_index span2_text span2_index label",
    [
        ("Tom asked Bob if he could lend some money.", "Bob", 2, "he", 4, 1),
        ("Tom asked Bob if he could lend some money.", "Tom", 0, "he", 4, 0),
        ("The ball broke the table because it was of steel.", "The ball", 0, "it", 6, 1),
        ("The ball broke the table because it was of steel.", "the table", 3, "it", 6, 0),
        ("Ann thanked Sue for the help she had given.", "Sue", 2, "she", 6, 1),
        ("Ann thanked Sue for the help she had given.", "Ann", 0, "she", 6, 0),
        ("The cup does not fit in the box, as it is too big.", "The cup", 0, "it", 9, 1),
        ("The cup does not fit in the box, as it is too big.", "the box", 6, "it", 9, 0),
        ("Paul called Max but he was not at home.", "Max", 2, "he", 4, 1),
        ("Paul called Max but he was not at home.", "Paul", 0, "he", 4, 0),
        ("The fox chased the hare until it was tired, the fox.", "The fox", 0, "it", 6, 1),
        ("The fox chased the hare until it was tired, the fox.", "the hare", 3, "it", 6, 0),
        ("Jane sold Ruth her old piano.", "Jane", 0, "her", 3, 1),
        ("Jane sold Ruth her old piano.", "Ruth", 2, "her", 3, 0),
        ("The men praised the judges since they were fair.", "the judges", 3, "they", 6, 1),
        ("The men praised the judges since they were fair.", "The men", 0, "they", 6, 0),
        ("My uncle paid the guide, and then he was alone.", "My uncle", 0, "he", 7, 1),
        ("My uncle paid the guide, and then he was alone.", "the guide", 3, "he", 7, 0),
        ("The rope tore, for the weight of it was too thin, the rope.", "The rope", 0, "it", 7, 1),
        ("The rope tore, for the weight of it was too thin, the rope.", "the weight", 4, "it", 7, 0),
    ],
)
EXAMPLES = {
    "glue_cola": COLA,
    "glue_sst2": SST2,
    "glue_mrpc": MRPC,
    "glue_stsb": STSB,
    "glue_qqp": QQP,
    "glue_mnli": MNLI,
    "glue_mnli_mismatched": MISMATCHED,
    "glue_qnli": QNLI,
    "glue_rte": RTE,
    "super_glue_boolq": BOOLQ,
    "super_glue_cb": CB,
    "super_glue_copa": COPA,
    "super_glue_multirc": MULTIRC,
    "super_glue_record": RECORD,
    "super_glue_rte": SUPER_RTE,
    "super_glue_wic": WIC,
    "super_glue_wsc": WSC,
}
