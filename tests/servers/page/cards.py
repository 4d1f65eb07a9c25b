"""Cards, messages and forms as the page gets them."""

from typing import Any

Json = dict[str, Any]


def card(*blocks: Json, **fields: Any) -> Json:
    """Return a card with all its fields."""
    return {
        "blocks": list(blocks),
        "error": None,
        "answers": "public",
        "buttons": [],
        "selects": [],
        "file": None,
        "card_id": None,
        "card_revision": 0,
        "is_final": True,
        "stop_id": None,
        **fields,
    }


def text(words: str, *, is_model_text: bool = False, is_quiet: bool = False) -> Json:
    """Return a block of text."""
    return {"type": "text", "text": words, "is_model_text": is_model_text, "is_quiet": is_quiet}


def button(action: str, label: str, style: str = "plain") -> Json:
    """Return a button."""
    return {"action": action, "label": label, "style": style}


def option(value: str, label: str, help_: str = "", *, is_chosen: bool = False) -> Json:
    """Return an option of a select or of a form's field."""
    return {"value": value, "label": label, "help": help_, "is_chosen": is_chosen}


def form_field(name: str, label: str, kind: str = "line", **fields: Any) -> Json:
    """Return a field of a form with all its fields."""
    return {
        "name": name,
        "label": label,
        "kind": kind,
        "help": "",
        "value": "",
        "is_required": True,
        "max_characters": None,
        "options": [],
        **fields,
    }


_PIECES = [
    ["Can", 9.4],
    [" it", 3.1],
    [" does", 13.2],
    [" what", 8.0],
    ["?", 1.2],
    [" The", 5.1],
    [" moon", 12.6],
    [" ate", 17.3],
    [" a", 0.9],
    [" bicycle", 19.8],
    [".", 1.0],
]
_TABLE = {
    "columns": ["word", "bits", "expected"],
    "rows": [["bicycle", "19.8", "lot, little, bit"], ["ate", "17.3", "was, is, had"], ["does", "13.2", "is, was"]],
}

PERPLEXITY = card(
    text("This is a surprising text: the model needs 9.1 bits a word."),
    {"type": "facts", "items": [["perplexity", "412"], ["bits per byte", "2.31"], ["tokens", "11"]]},
    {"type": "tinted", "pieces": _PIECES},
    {"type": "table", **_TABLE},
    text("Measured after the start token `<|endoftext|>`.", is_quiet=True),
)
COMPARE = card(
    text("A is likelier by 12.4 bits."),
    {
        "type": "contrast",
        "texts": [
            {"name": "A", "total_bits": 31.2, "pieces": [["Can", 9.4], [" it", 3.1], [" do", 2.0], [" that", 4.1]]},
            {
                "name": "B",
                "total_bits": 43.6,
                "pieces": [["Can", 0.0], [" it", 0.0], [" does", 11.2], [" what", -2.6], ["?", 3.8]],
            },
        ],
        "tables": [_TABLE],
    },
)
NEXT = card(
    {
        "type": "bars",
        "items": [[" Paris", 0.412], [" the", 0.131], [" a", 0.07], ["\n", 0.0041]],
        "rest": 0.38,
        "rest_name": "all other words",
        "what": "Probable next words",
    },
)
COMPLETE = card(
    {
        "type": "choices",
        "prompt": "Once upon a time",
        "options": [
            " there was a fox who was afraid of the dark.",
            ", in a house at the end of a very long road, a girl counted the stars.",
        ],
        "first_number": 1,
    },
    buttons=[button("1", "1", "primary"), button("2", "2", "primary"), button("more", "More"), button("undo", "Undo")],
    selects=[
        {
            "action": "preset",
            "label": "Preset",
            "options": [
                option("careful", "careful", "low temperature"),
                option("normal", "normal", "the default", is_chosen=True),
                option("wild", "wild", "surprising words"),
            ],
        }
    ],
    card_id="c1",
)
STRATEGIES = card(
    {
        "type": "choices",
        "prompt": "Once upon a time",
        "options": [" there was a fox.", ""],
        "first_number": 1,
        "labels": ["greedy", "beam"],
    },
    {
        "type": "table",
        "columns": ["strategy", "what it does", "options"],
        "rows": [["greedy", "Always takes the likeliest token.", "temperature 0, repetition_penalty 1.1"]],
    },
)
HELP = card(
    {
        "type": "table",
        "columns": ["command", "what it does"],
        "rows": [["`/complete TEXT`", "Continue a text"], ["`/perplexity TEXT`", "Show how surprising a text is"]],
    },
    text("Type `/help COMMAND` to read more.", is_quiet=True),
)
EXPORT = card(text("Everything that is stored about you."), file={"name": "export.json", "text": '{"messages": []}'})
WHY = card(
    {"type": "facts", "items": [["template", "chat"], ["seed", "7"], ["time", "0.42 s"]]},
    {"type": "verbatim", "text": "Messages and answers.\n\nAda: What is the capital of France?\nFewshot:"},
    answers="private",
)
CONTEXT = card(
    {"type": "facts", "items": [["tokens", "128 of 2,048"], ["template", "chat"], ["messages", "6"]]},
    {"type": "verbatim", "text": "A helpful bot talks to people.\n\nAda: hello\nFewshot: Hello! How are you?\nAda:"},
)
FORM = {
    "id": "form-1",
    "title": "New template",
    "fields": [
        form_field("name", "Name", help="Small letters and hyphens.", max_characters=40),
        form_field(
            "kind",
            "Kind",
            "choice",
            value="complete",
            options=[option("complete", "complete", "it writes"), option("classify", "classify", "it chooses a label")],
        ),
        form_field("body", "Text", "paragraph", value="$examples\n$input ->", max_characters=4000),
        form_field("rows", "Examples", "file", help="A table with two columns.", is_required=False),
    ],
}
COMMANDS = [
    ("complete", "Write", "Continue a text", "TEXT"),
    ("perplexity", "Look into the model", "Show how surprising a text is, word by word", "TEXT"),
    ("compare", "Look into the model", "Say which of several texts is likelier", "TEXTS"),
    ("next", "Look into the model", "Show the probable next words", "TEXT"),
    ("why", "Look into the model", "Explain your last answer", ""),
    ("prompt run", "Templates", "Fill a template and answer", "TEXT"),
    ("prompt new", "Templates", "Create a template for this server", ""),
    ("export", "About you", "Show what is stored about you", ""),
    ("help", "Help", "List everything, or explain a command", ""),
]


def commands() -> list[Json]:
    """Return the commands of the welcome."""
    return [
        {
            "name": name,
            "group": group,
            "summary": summary,
            "text_name": text_name,
            "answers": "public",
            "is_for_moderators": name == "prompt new",
            "options": [{"name": "temperature", "help": "how bold", "kind": "real", "default": 1.0}],
        }
        for name, group, summary, text_name in COMMANDS
    ]
