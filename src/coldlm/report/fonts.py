"""Letters that matplotlib's own font lacks: a font of this machine that has them, or their code points."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

OWN: Final = "DejaVu Sans"
"""Comes with matplotlib; it has Latin, Greek and Cyrillic, and no Chinese, Japanese or Korean."""

FAMILIES: Final = (
    "Noto Sans CJK", "Source Han Sans", "Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans KR", "PingFang",
    "Hiragino Sans", "Microsoft YaHei", "WenQuanYi", "SimHei", "Heiti", "STHeiti", "Noto Serif CJK", "Source Han Serif",
    "SimSun", "Songti", "Microsoft JhengHei", "Yu Gothic", "MS Gothic", "IPAGothic", "IPAexGothic", "TakaoGothic",
    "Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic", "Droid Sans Fallback", "Arial Unicode MS", "Noto Sans",
)  # fmt: skip
"""How the names of fonts begin that are looked for, the best first."""

FILES: Final = ("cjk", "wqy", "sourcehan", "pingfang", "hiragino", "yahei", "msyh", "simhei", "simsun", "heiti",
                "songti", "gothic", "nanum", "malgun", "fallback", "notosans")  # fmt: skip
"""What the names of their files hold: matplotlib remembers the fonts of its first start alone."""

ADVICE: Final = (
    "no font of this machine has them: they stand as code points (\\uXXXX) in the PNG files. Install one (Debian, "
    "Ubuntu: apt-get install fonts-noto-cjk; Fedora: dnf install google-noto-sans-cjk-fonts; or "
    "fonts-wqy-microhei) and run coldlm report again. The page and the SVG files are not concerned: they have their "
    "reader's fonts"
)


@contextmanager
def dressed(figure: Figure, *, is_text: bool) -> Iterator[None]:
    """Let texts with letters that matplotlib's font lacks fall back to fonts that have them. What none has
    is, meanwhile, its code point, unless the figure is written as text (SVG), which its reader's fonts
    show."""
    said = {text: text.get_text() for text in _foreign(figure)}
    # of each figure it would say that a fallback has no bold face
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    for text, words in said.items():
        text.set_fontfamily([OWN, *_fallbacks()])
        if not is_text:
            text.set_text(readable(words))
    try:
        yield
    finally:
        log.setLevel(level)
        for text, words in said.items():
            text.set_text(words)


def lacking(figure: Figure) -> set[str]:
    """Return the letters that no font of this machine has."""
    return {
        letter for text in _foreign(figure) for letter in text.get_text() if not _is_there(letter)
    }


def readable(text: str) -> str:
    r"""Return the text with code points in the place of letters that no font of this machine has.

    >>> readable("frozen, history")
    'frozen, history'
    """
    return "".join(
        letter if _is_there(letter) else letter.encode("unicode_escape").decode() for letter in text
    )


def width(text: str) -> int:
    """Return how many Latin letters are about as wide as the text, as it will stand in a figure."""
    return sum(2 if letter > "\u2e7f" else 1 for letter in readable(text))


def _foreign(figure: Figure) -> Iterator[Text]:
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and any(not _has(OWN, letter) for letter in text.get_text()):
            yield text


def _is_there(letter: str) -> bool:
    return _has(OWN, letter) or any(_has(family, letter) for family in _fallbacks())


@cache
def _has(family: str, letter: str) -> bool:
    if letter < "\u0180":  # of every font that is looked for
        return True
    font = _font(family)
    return font is not None and font.get_char_index(ord(letter)) != 0


@cache
def _font(family: str) -> Any:
    from matplotlib import font_manager

    try:
        return font_manager.get_font(
            font_manager.findfont(family, fallback_to_default=False, rebuild_if_missing=False)
        )
    except (OSError, RuntimeError, ValueError):
        return None


@cache
def _fallbacks() -> tuple[str, ...]:
    """Families of this machine that may have what is lacking, the best first."""
    found = _installed()
    if not found:
        _look_again()
        found = _installed()
    return found


def _installed() -> tuple[str, ...]:
    from matplotlib.font_manager import get_font_names

    there = sorted(get_font_names())
    found = [name for family in FAMILIES for name in there if name.startswith(family)]
    return tuple(dict.fromkeys(found))


def _look_again() -> None:
    """Add fonts that were installed since matplotlib first looked."""
    from matplotlib import font_manager

    for file in font_manager.findSystemFonts():
        if any(part in file.lower() for part in FILES):
            try:
                font_manager.fontManager.addfont(file)
            except (OSError, RuntimeError):  # not one that can be drawn
                continue
