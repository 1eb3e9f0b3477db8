"""Twenty examples of every task of GLUE and SuperGLUE, written for these tests, with the fields that TFDS gives them."""


def table(names, rows):
    """Rows of the named fields, numbered."""
    names = names.split()
    return [dict(zip(names, row, strict=True)) | {"idx": n} for n, row in enumerate(rows)]


COLA = table(
    "sentence label",
    [
        ("The boat sank near the harbour.", 1),
        ("The boat near sank harbour the.", 0),
        ("Who did Mary think that left?", 0),
        ("Who did Mary think left early?", 1),
        ("She put the book on the shelf.", 1),
        ("She put the book.", 0),
        ("They have been waiting since noon.", 1),
        ("They has been waiting since noon.", 0),
        ("The cup that I broke was blue.", 1),
        ("The cup that I broke it was blue.", 0),
        ("John tried to win the race.", 1),
        ("John tried win to the race.", 0),
        ("It seems that the rain has stopped.", 1),
        ("The rain seems that has stopped.", 0),
        ("Every child in the room was asleep.", 1),
        ("Every children in the room was asleep.", 0),
        ("He gave his sister a green pencil.", 1),
        ("He gave to his sister to a pencil.", 0),
        ("What we need is more time.", 1),
        ("What we need is is more of.", 0),
    ],
)
SST2 = table(
    "sentence label",
    [
        ("a warm and funny film", 1),
        ("dull from the first minute", 0),
        ("the songs are a delight", 1),
        ("a story without a point", 0),
        ("acted with real charm", 1),
        ("an hour too long", 0),
        ("bright , quick and clever", 1),
        ("the jokes fall flat", 0),
        ("you will leave smiling", 1),
        ("a waste of a good cast", 0),
        ("a small gem", 1),
        ("loud and empty", 0),
        ("it moves with grace", 1),
        ("nothing here is new", 0),
        ("the ending earns its tears", 1),
        ("lazy and forced", 0),
        ("a feast for the eyes", 1),
        ("i could not wait to go", 0),
        ("sharp writing throughout", 1),
        ("a bore in every scene", 0),
    ],
)
MRPC = table(
    "sentence1 sentence2 label",
    [
        ("The bank cut its rate.", "The rate was cut by the bank.", 1),
        ("The bank cut its rate.", "The bank hired a chief.", 0),
        ("Shares rose two per cent.", "The stock gained 2 per cent.", 1),
        ("Shares rose two per cent.", "Shares were sold on Monday.", 0),
        ("Police found the car.", "The car was found by police.", 1),
        ("Police found the car.", "Police found no witness.", 0),
        ("The storm hit the coast.", "The coast was struck by the storm.", 1),
        ("The storm hit the coast.", "The coast is long.", 0),
        ("He resigned on Friday.", "On Friday he stepped down.", 1),
        ("He resigned on Friday.", "He was hired on Friday.", 0),
        ("The trial starts in May.", "In May the trial begins.", 1),
        ("The trial starts in May.", "The trial lasted a week.", 0),
        ("Sales doubled last year.", "Last year saw sales double.", 1),
        ("Sales doubled last year.", "Sales are done by phone.", 0),
        ("The minister denied it.", "It was denied by the minister.", 1),
        ("The minister denied it.", "The minister travelled home.", 0),
        ("The bridge was closed.", "They shut the bridge.", 1),
        ("The bridge was closed.", "The bridge is of steel.", 0),
        ("Two men were held.", "A pair of men was detained.", 1),
        ("Two men were held.", "Two men won a prize.", 0),
    ],
)
STSB = table(
    "sentence1 sentence2 label",
    [
        ("A man plays a flute.", "A man is playing a flute.", 5.0),
        ("A man plays a flute.", "A man plays a guitar.", 2.2),
        ("A man plays a flute.", "The sky is grey.", 0.0),
        ("A cat sleeps.", "A cat is asleep.", 4.8),
        ("A cat sleeps.", "A dog sleeps.", 1.6),
        ("A cat sleeps.", "A train leaves.", 0.2),
        ("Two girls dance.", "Two girls are dancing.", 5.0),
        ("Two girls dance.", "A girl dances.", 3.2),
        ("Two girls dance.", "Two boys sing.", 1.2),
        ("A woman cuts an onion.", "A woman slices an onion.", 4.6),
        ("A woman cuts an onion.", "A woman cuts bread.", 2.0),
        ("A woman cuts an onion.", "A ship is at sea.", 0.0),
        ("The markets fell today.", "Today the markets dropped.", 4.75),
        ("The markets fell today.", "The markets rose today.", 2.4),
        ("The markets fell today.", "A man bought milk.", 0.4),
        ("A boy kicks a ball.", "A child kicks a ball.", 4.0),
        ("A boy kicks a ball.", "A boy throws a ball.", 2.6),
        ("A boy kicks a ball.", "A boy eats soup.", 1.0),
        ("A horse runs.", "A brown horse is running.", 3.8),
        ("A horse runs.", "A man rides a horse.", 1.8),
    ],
)
QQP = table(
    "question1 question2 label",
    [
        ("How do I learn to swim?", "What is the way to learn swimming?", 1),
        ("How do I learn to swim?", "How deep is the pool?", 0),
        ("Why is the sky blue?", "What makes the sky blue?", 1),
        ("Why is the sky blue?", "Why is the sky dark at night?", 0),
        ("How old is the earth?", "What is the age of the earth?", 1),
        ("How old is the earth?", "How big is the earth?", 0),
        ("Can dogs eat apples?", "Are apples safe for dogs?", 1),
        ("Can dogs eat apples?", "Can dogs climb trees?", 0),
        ("How can I sleep better?", "What helps one to sleep well?", 1),
        ("How can I sleep better?", "How long do cats sleep?", 0),
        ("What is a prime number?", "Which numbers are called prime?", 1),
        ("What is a prime number?", "What is my phone number?", 0),
        ("Who wrote this song?", "Who is the writer of this song?", 1),
        ("Who wrote this song?", "Who sang this song?", 0),
        ("How do I boil an egg?", "What is the way to boil eggs?", 1),
        ("How do I boil an egg?", "How do hens lay eggs?", 0),
        ("Is tea good for you?", "Does tea do you good?", 1),
        ("Is tea good for you?", "Where is tea grown?", 0),
        ("How far is the moon?", "What is the distance to the moon?", 1),
        ("How far is the moon?", "When is the moon full?", 0),
    ],
)
INFERENCE = [
    ("A woman reads on a train.", "A woman reads.", 0),
    ("A woman reads on a train.", "The train is late.", 1),
    ("A woman reads on a train.", "Nobody reads.", 2),
    ("Two dogs run on sand.", "Animals run.", 0),
    ("Two dogs run on sand.", "The dogs are hungry.", 1),
    ("Two dogs run on sand.", "The dogs are asleep.", 2),
    ("He bought red paint.", "He bought paint.", 0),
    ("He bought red paint.", "He paints his door.", 1),
    ("He bought red paint.", "He bought nothing.", 2),
    ("The shop opens at nine.", "The shop opens.", 0),
    ("The shop opens at nine.", "The shop sells shoes.", 1),
    ("The shop opens at nine.", "The shop never opens.", 2),
    ("All guests left early.", "The guests left.", 0),
    ("All guests left early.", "The guests were bored.", 1),
    ("All guests left early.", "The guests stayed.", 2),
    ("The lake froze in June.", "The lake froze.", 0),
    ("The lake froze in June.", "Children skated on it.", 1),
    ("The lake froze in June.", "The lake was warm.", 2),
    ("My uncle owns a farm.", "My uncle has a farm.", 0),
    ("My uncle owns a farm.", "My uncle keeps sheep.", 1),
]
MNLI = table("premise hypothesis label", INFERENCE)
# Other texts, as of other kinds.
MISMATCHED = table("premise hypothesis label", [(f"Well, {p}", f"So {h}", n) for p, h, n in INFERENCE])
# The classes of CommitmentBank stand in another order: neutral is the last one.
CB = table(
    "premise hypothesis label",
    [(f"A: {p} B: I know. A: Do you?", h, (0, 2, 1)[n]) for p, h, n in INFERENCE],
)
QNLI = table(
    "question sentence label",
    [
        ("When was the tower built?", "The tower was built in 1902.", 0),
        ("When was the tower built?", "The tower is of stone.", 1),
        ("Who leads the choir?", "The choir is led by Anna.", 0),
        ("Who leads the choir?", "The choir has forty voices.", 1),
        ("Where is the mill?", "The mill stands by the river.", 0),
        ("Where is the mill?", "The mill is no longer used.", 1),
        ("What does the plant need?", "The plant needs much light.", 0),
        ("What does the plant need?", "The plant has white flowers.", 1),
        ("How many rooms are there?", "There are twelve rooms.", 0),
        ("How many rooms are there?", "The rooms are painted.", 1),
        ("Why did he leave?", "He left because of the noise.", 0),
        ("Why did he leave?", "He owned a violin.", 1),
        ("Which river is longest?", "The Nile is the longest river.", 0),
        ("Which river is longest?", "Rivers carry sand.", 1),
        ("Who found the cave?", "Two boys found the cave.", 0),
        ("Who found the cave?", "The cave is cold.", 1),
        ("What colour was the flag?", "The flag was green.", 0),
        ("What colour was the flag?", "The flag was torn.", 1),
        ("When do the swans return?", "The swans return in March.", 0),
        ("When do the swans return?", "Swans are large birds.", 1),
    ],
)
ENTAILED = [
    ("The firm was founded in Oslo by two brothers.", "Two brothers founded the firm.", 0),
    ("The firm was founded in Oslo by two brothers.", "The firm is in Rome.", 1),
    ("Snow blocked the pass on Tuesday.", "The pass was blocked.", 0),
    ("Snow blocked the pass on Tuesday.", "The pass was open.", 1),
    ("Her book won a prize in Spain.", "Her book won a prize.", 0),
    ("Her book won a prize in Spain.", "Her book was lost.", 1),
    ("The team lost all its games.", "The team lost.", 0),
    ("The team lost all its games.", "The team won twice.", 1),
    ("A new law bans the trade in ivory.", "The ivory trade is banned.", 0),
    ("A new law bans the trade in ivory.", "Ivory is cheap.", 1),
    ("The museum keeps ten of his works.", "The museum has works of his.", 0),
    ("The museum keeps ten of his works.", "The museum was burnt.", 1),
    ("Rain fell for six days in the north.", "It rained in the north.", 0),
    ("Rain fell for six days in the north.", "It rained in the south.", 1),
    ("The doctor was born in Kenya.", "The doctor comes from Kenya.", 0),
    ("The doctor was born in Kenya.", "The doctor lives in Peru.", 1),
    ("The ferry carries cars and lorries.", "Cars go on the ferry.", 0),
    ("The ferry carries cars and lorries.", "The ferry has sunk.", 1),
    ("The king had four sons.", "The king had children.", 0),
    ("The king had four sons.", "The king had no heir.", 1),
]
RTE = table("sentence1 sentence2 label", ENTAILED)
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
