"""What requests and answers hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_PLACES, MOST_TEXT, MOST_ITEMS = 100, 2000, 100
"""Places of a list, characters of a text, items of a history or of a feedback."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=MOST_TEXT, strip_whitespace=True)]


def _with(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class Recommend(BaseModel):
    """A question. ``text``: as typed into a search box. ``user``: whose history and profile are looked up;
    of somebody new nothing is known. ``history``: item ids, newest first, where there is no user.
    ``slots``: places kept for new items. ``also``: item ids whose places are told wherever they stand."""

    model_config = _with({"text": "space adventure", "k": 5})
    text: Text = ""
    user: Id | None = None
    history: Annotated[list[Id], Field(max_length=MOST_ITEMS)] = []
    k: Annotated[int, Field(ge=1, le=MOST_PLACES)] = 10
    slots: Annotated[int, Field(ge=0, le=MOST_PLACES)] = 0
    also: Annotated[list[Id], Field(max_length=10)] = []


class Place(BaseModel):
    """A place of a list. ``rank``: among all candidates. ``n``: events of the item so far. ``score`` is
    what ``text`` and ``context`` (counts, recency, age) add up to; null: the head does not use it."""

    rank: int
    item: str
    title: str
    n: int
    score: float
    text: float | None
    context: float | None


class Listed(BaseModel):
    """An answer. ``version``: of the weights that gave it. ``unknown``: share of the text's tokens that the
    language model's tokenizer does not know."""

    request: str
    version: int
    time: int
    unknown: float
    places: list[Place]
    also: list[Place]


class Feedback(BaseModel):
    """What was taken: item ids. ``request``: of the list that it was taken from; the same item is not
    taken twice for one request, so that what was not acknowledged may be sent again. ``user``,
    ``text``: by default those of the request. ``shown``: the list, if it was another."""

    model_config = _with({"request": "r0123456789abcdef", "items": ["260"], "user": "anna"})
    items: Annotated[list[Id], Field(min_length=1, max_length=MOST_ITEMS)]
    request: Annotated[str, StringConstraints(max_length=64)] = ""
    user: Id | None = None
    text: Text | None = None
    shown: Annotated[list[Id], Field(max_length=MOST_PLACES)] | None = None


class Taken(BaseModel):
    """``accepted``: events that are on the disk now and counted; ``n``: of each item so far."""

    accepted: int
    n: dict[str, int]


class NewItem(BaseModel):
    """A new item, which is a candidate at once. ``text``: for the language model, the title by default."""

    model_config = _with(
        {"id": "watch-7", "title": "Smart watch", "text": "Smart watch | wearable"}
    )
    id: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
    text: Text = ""


class Added(BaseModel):
    """``unknown``: share of the text's tokens that the tokenizer does not know."""

    item: str
    unknown: float
