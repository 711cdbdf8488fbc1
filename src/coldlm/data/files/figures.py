"""Numbers as people write them: with thousands separators, currencies, percent signs and words for
nothing."""

from __future__ import annotations

from typing import Final

import polars as pl

from coldlm.core.errors import DataError

_MONEY = r"(?:[$€£¥￥₹₩฿]|US\$|R\$|USD|EUR|GBP|CNY|RMB|JPY|INR|kr|zł)"
_UNIT = (
    r"(?:%|％|‰|[kKmMbB]|Mio\.?|万|亿|千|元|円|人|次|条|件|"
    r"(?:人|次|条|件)?(?:评论|评价|收藏|付款|已售|浏览|播放)|"
    r"(?:ratings?|reviews?|votes?|sold|sales|views?|likes?|stars?|clicks?|downloads?|users?))"
)
FIGURE: Final = (
    rf"^\s*(?:sold|已售|月销)?\s*[<>~≈]?\s*{_MONEY}?\s*[+-]?\s*(?:\d[\d.,'’\s]*|\.\d+)(?:[eE][+-]?\d+)?\s*"
    rf"(?:(?:/|out of|von|sur)\s*\d+)?\+?\s*{_UNIT}?\+?\s*{_MONEY}?\s*$"
)
"""1,137 or 4.5 or 12% or $3.99 or 1.2k or 3 800 or 4.5/5 or 1,137 ratings or 2.3万."""

NOTHING: Final = (
    "", "n/a", "na", "nan", "null", "none", "nil", "-", "--", "—", "?", ".", "inf", "-inf", "#n/a",
    "无", "暂无", "未知",
)  # fmt: skip
"""Words for no value, in lower case; ``inf`` is what a division by nothing leaves."""

_AGGREGATES: Final = """
averagerating avgrating meanrating rating ratings ratingnumber ratingcount ratingscount numratings nratings score
scores stars numreviews nreviews reviewcount reviewscount reviews totalreviews sales salesrank salescount sold
soldcount unitssold orders ordercount views viewcount pageviews totalpageviews totalinviews totalreadtime clicks
clickcount ctr likes likecount dislikes favorites favourites downloads downloadcount installs plays playcount
watchcount popularity voteaverage votecount votes rank ranking bestsellerrank boughttogether alsobought alsoviewed
alsobuy alsoview buyafterviewing trending hits
销量 月销量 评分 评分数 浏览量 点击量 播放量 点赞数 收藏数 评论数 热度 排名 好评率
"""

AGGREGATES: Final = frozenset(_AGGREGATES.split())
"""Names of columns, see ``plain``, that tell what a crowd did until the table was made: an aggregate of
the future, seen from most events."""


def plain(name: str) -> str:
    """Return a column's name without blanks, underscores, hyphens, dots and capitals.

    >>> plain("Review Count"), plain("average_rating")
    ('reviewcount', 'averagerating')
    """
    return "".join(c for c in name.casefold() if c not in " _-.\t\ufeff\u3000")


def is_figures(column: pl.Series) -> bool:
    """Return whether all that a column of strings says is numbers; nothing at all says no number."""
    words = column.cast(pl.String).drop_nulls()
    words = words.filter(~words.str.strip_chars().str.to_lowercase().is_in(NOTHING))
    return bool(len(column.drop_nulls())) and bool(words.str.contains(FIGURE).all())


def to_floats(column: pl.Series, where: str) -> tuple[pl.Series, bool]:
    """Return the numbers that strings hold, null where they hold none, and whether they are written
    with decimal commas.

    Raises:
        DataError: every comma may part thousands as well as decimals.
    """
    text = column.str.strip_chars()
    commas = text.str.contains(r"^[+-]?\d+,\d+$").fill_null(False)
    if not commas.any():
        return text.cast(pl.Float64, strict=False), False
    if text.filter(commas).str.contains(r"^[+-]?\d{1,3},\d{3}$").all():
        raise DataError(
            f"{where}: {text.filter(commas)[0]!r} may be a decimal or a thousand; write the numbers "
            "without commas"
        )
    return text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False), True
