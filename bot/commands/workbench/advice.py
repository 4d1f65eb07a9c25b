"""The one sentence above a template that says what to do next, for people who have never written one."""

from typing import Final

from bot.commands.templates.drafts import DraftView
from bot.commands.templates.scoring import TemplateScore
from bot.core.statistics import ClassifyFigures, CompleteFigures
from bot.core.templates.template import PromptTemplate
from bot.core.templates.worth import num_exact_asked

_NUM_EXAMPLES: Final = 2


def next_step(
    view: DraftView | None, template: PromptTemplate | None, score: TemplateScore | None, *, is_same: bool = False
) -> str:
    """Return what to do next with a draft (`view`), or without one with the published `template`.

    With `is_same` the draft says what is published.
    """
    if view is not None and view.draft.form_values is not None:
        return f"{view.draft.problem} What you typed is saved."
    if template is None:
        return "Say in one line what the template is for. What you type is saved."
    if view is not None and view.is_overtaken:
        return "Somebody published another version after you began. Take their changes into your draft, then publish."
    if is_same:
        return "Your draft is the same as the published version. Change it, or discard it."
    if template.kind != "chat" and len(template.examples) < _NUM_EXAMPLES and view is not None:
        return "Add two or more examples: they show the model what to answer."
    if not template.tests:
        if view is None:
            return "It has no tests, so nobody knows how good it is. Add some that are not among the examples."
        return "Add tests that are not among the examples: they show how good the template is."
    if score is None or score.figures is None:
        return "Run the tests." if view is not None else "Run the tests to see how good it is."
    return _measured(view, score)


def _measured(view: DraftView | None, score: TemplateScore) -> str:
    figures = score.figures
    wrong = ""
    if isinstance(figures, ClassifyFigures):
        wrong = _are_wrong(sum(not one for one in figures.is_right), figures.num_rows)
    elif isinstance(figures, CompleteFigures) and (asked := num_exact_asked(figures)):
        wrong = _are_wrong(asked - figures.num_exact, asked)
    if view is None:
        return f"{wrong} Change anything to begin a draft." if wrong else "This is what everyone here uses."
    if score.comparison is not None and score.comparison.verdict == "worse":
        return f"{wrong} It does worse than the published version, so to publish it you must give a reason.".strip()
    if wrong:
        return f"{wrong} Fix the examples or the test, or publish with a reason."
    return "All tests are right. Publish it."


def _are_wrong(num: int, num_all: int) -> str:
    if not num:
        return ""
    return f"{num} of {num_all} tests {'is' if num == 1 else 'are'} wrong."
