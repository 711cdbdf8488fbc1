"""Item texts from columns: a template such as ``{title} ({year}) | {genres}``, filled without
holes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from coldlm.core.errors import DataError

_FIELD = re.compile(r"\{([^{}]*)\}")
_HOLE = "\0"
_BRACKETS = re.compile(rf"[(\[（【「]\s*{_HOLE}\s*[)\]）】」]")
_SEPARATORS = r"[\s|,;:/·，；：、—–-]*"


def clean(text: str | None) -> str:
    """Return ``text`` on one line: line breaks, NUL and other runs of whitespace become one blank;
    "" for None.

    >>> clean(" a\\n b\\0c ")
    'a b c'
    """
    return " ".join((text or "").replace("\0", " ").split())


def fields(template: str) -> list[str]:
    """Return the names of the template's fields, in order.

    >>> fields("{title} | {genres}")
    ['title', 'genres']
    """
    return _FIELD.findall(template)


def template_problems(
    template: str,
    allowed: Sequence[str],
    banned: Mapping[str, str] = MappingProxyType({}),
    key: str = "dataset.text",
) -> list[str]:
    """Return what is wrong with the template under ``key``: no field, a stray brace, or fields that
    are not in ``allowed``.

    Args:
        banned: fields that the files have but that were written later than the events -> what they
            are.
    """
    names = fields(template)
    choice = "{" + "}, {".join(allowed) + "}"
    if not names or set("{}") & set(_FIELD.sub("", template)):
        return [
            f"{key}={template!r}: a template such as '{{{allowed[0]}}}'; its fields may be {choice}"
        ]
    reasons = {name: f"no field {{{name}}}" for name in names if name not in allowed} | {
        name: f"{{{name}}} is a later aggregate ({banned[name]}) and would leak the future"
        for name in names
        if name in banned
    }
    return [f"{key}={template!r}: {reason}; fields may be {choice}" for reason in reasons.values()]


@cache
def without(template: str, missing: frozenset[str]) -> str:
    """Return the template less the fields in ``missing``, their brackets, and the separators in
    front (at the start: behind).

    Only the template's own characters are removed, never those of a value.

    >>> without("{title} ({year}) | {genres}", frozenset({"year"}))
    '{title} | {genres}'
    >>> without("{title} ({year}) | {genres}", frozenset({"title", "year"}))
    '{genres}'
    """
    holed = _FIELD.sub(lambda match: _HOLE if match[1] in missing else match[0], template)
    holed = _BRACKETS.sub(_HOLE, holed)
    holed = re.sub(rf"^(?:{_SEPARATORS}{_HOLE})+{_SEPARATORS}", "", holed)
    return re.sub(f"{_SEPARATORS}{_HOLE}", "", holed)


def fill(template: str, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return [N] one text per row of ``columns``, each [N] strings that went through ``clean``; ""
    marks a missing value.

    Raises:
        DataError: see ``template_problems``.
    """
    if problems := template_problems(template, list(columns)):
        raise DataError("\n".join(problems))
    names = list(dict.fromkeys(fields(template)))
    texts = []
    for values in zip(*(columns[name] for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        parts = _FIELD.split(without(template, frozenset(name for name in names if not row[name])))
        texts.append("".join(row[part] if i % 2 else part for i, part in enumerate(parts)).strip())
    return tuple(texts)
