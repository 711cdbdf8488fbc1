"""What the columns of the tables of ``dataset=own`` are called, and which of a file's own names mean
them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coldlm.core.spelling import did_you_mean, nearest
from coldlm.data.files.figures import plain
from coldlm.data.files.table import Table

Names = Mapping[str, Any]
"""Our name of a column -> what it is called in a file, a list of what it is called in any, or None."""


@dataclass(frozen=True)
class Column:
    """``needed``: whether the table must have it. ``likely``: names that probably mean it, as
    ``figures.plain`` writes them."""

    name: str
    needed: bool
    likely: frozenset[str]

    def means(self, name: str) -> bool:
        """Return whether a column of this name is probably this one."""
        return plain(name) == plain(self.name) or plain(name) in self.likely


def _column(name: str, likely: str, *, needed: bool = True) -> Column:
    return Column(name, needed, frozenset(likely.split()))


_USER = _column(
    "user_id",
    "user userid uid customer customerid customerno customernumber client clientid buyer buyerid member memberid "
    "visitor visitorid account accountid reviewer reviewerid person personid email shopper session sessionid kunde "
    "kundennummer 用户 用户id 用户编号 客户 客户id 客户编号 会员 会员id 会员编号 买家 买家id 顾客 顾客id",
)
_ITEM = _column(
    "item_id",
    "item itemid iid product productid productcode productno sku skuid article articleid articlenumber asin parentasin "
    "isbn movie movieid film news newsid video videoid book bookid song songid track trackid goods goodsid stockcode "
    "itemcode artikel artikelnummer id 商品 商品id 商品编号 商品编码 货号 产品 产品id 产品编号 文章id 书号 编号",
)
_TIME = _column(
    "timestamp",
    "time ts t datetime date day created createdat orderdate ordertime orderedat purchasedate purchasedat eventtime "
    "eventdate eventtimestamp unixtime unixreviewtime tdat clicktime viewedat datum zeit zeitpunkt 时间 时间戳 日期 "
    "下单时间 购买时间 点击时间 成交时间 订单时间",
)

TABLES: Final[Mapping[str, tuple[Column, ...]]] = {
    "items": (
        _ITEM,
        _column(
            "title",
            "name itemname productname producttitle headline subject bezeichnung titel 标题 名称 商品名 商品名称 "
            "商品标题 产品名称 书名",
            needed=False,
        ),
    ),
    "interactions": (
        _USER,
        _ITEM,
        _TIME,
        _column(
            "query",
            "search searchquery searchterm searchterms searchtext keyword keywords q suchbegriff "
            "搜索词 搜索 查询 查询词 关键词 关键字",
            needed=False,
        ),
    ),
    "users": (_USER,),
}
"""File -> its columns that ``dataset.columns`` maps. Those that a key of their own names, such as
``dataset.label``, are not among them."""

_RELEASED: Final = """
releasedat released release releasedate releaseyear year pubdate publishdate published publishedat publicationdate
launch launchdate launched onlinesince availablefrom addedat dateadded
发布时间 上架时间 出版日期 发布日期 上市时间 上架日期
"""

RELEASED: Final = frozenset(_RELEASED.split())
"""Names that probably mean a release, as ``figures.plain`` writes them."""


def knows(names: Sequence[str], columns: Names) -> bool:
    """Return whether any of these names is one that we look for, or that probably means one."""
    mapped = {name for names in columns.values() for name in listed(names)}
    return any(
        name in mapped or column.means(name)
        for name in names
        for table in TABLES.values()
        for column in table
    )


def named(table: Table, kind: str, columns: Names) -> tuple[Table, list[str]]:
    """Return the table with its columns under our names, and what is wrong with them.

    Args:
        kind: of table, see ``TABLES``.
        columns: what the user says; several names of a column are looked for in turn.
    """
    ours, problems = dict[str, str](), list[str]()
    for column in TABLES[kind]:
        there = [name for name in listed(columns.get(column.name)) if name in table.names]
        if len(there) > 1:
            problems.append(
                f"{table.path}: dataset.columns.{column.name} names {' and '.join(map(repr, there))}, "
                "which are both there; name one"
            )
        ours |= dict.fromkeys(there, column.name)
    if problems:
        return table, problems
    mapped = table.called(ours)
    missing = [c for c in TABLES[kind] if c.needed and c.name not in mapped.names]
    if len(table.names) == 1:  # all of them say the same
        missing = missing[:1]
    return mapped, [_missing(table, kind, column, columns) for column in missing]


def unused_names(tables: Sequence[Table], columns: Names) -> list[str]:
    """Return a problem per name that ``dataset.columns`` gives and no table has, by the tables' own
    names."""
    return [
        f"dataset.columns.{name}: no file has a column {own!r}"
        + did_you_mean(
            str(own), [n for table in tables for n in table.names], begin="; ", shown=repr
        )
        for name, names in columns.items()
        for own in listed(names)
        if not any(own in table.names for table in tables)
    ]


def column_key_problems(columns: Names) -> list[str]:
    """Return what is wrong with ``dataset.columns`` itself."""
    known = list(dict.fromkeys(c.name for table in TABLES.values() for c in table))
    unknown = [
        f"dataset.columns.{name}: unknown; there are {', '.join(known)}"
        + did_you_mean(name, known, begin="; ")
        for name in columns
        if name not in known
    ]
    taken: dict[str, str] = {}
    each: Any
    for name, own in columns.items():
        for each in listed(own):
            if not isinstance(each, str):
                unknown.append(f"dataset.columns.{name}={own!r}: a name, or a list of names")
            elif taken.setdefault(each, name) != name:
                unknown.append(
                    f"dataset.columns: {each!r} is said to be both {taken[each]} and {name}"
                )
    return unknown


def override(key: str, value: str) -> str:
    """Return an override as it is typed in a shell.

    >>> print(override("dataset.columns.user_id", "customer"), override("dataset.label", "my label"))
    dataset.columns.user_id=customer 'dataset.label="my label"'
    """
    is_plain = re.fullmatch(r"[\w./~][\w./-]*", value) and not value.isdigit()
    return f"{key}={value}" if is_plain else f"'{key}=\"{value}\"'"


def _missing(table: Table, kind: str, column: Column, columns: Names) -> str:
    """That a column is not there, and which may be meant."""
    told = {name for names in columns.values() for name in listed(names)}
    others = [other for other in TABLES[kind] if other is not column]
    free = [
        name
        for name in table.names
        if name not in told and not any(name == other.name for other in others)
    ]
    likely = [name for name in free if column.means(name)] or [
        name for name in [nearest(column.name, free)] if name
    ]
    asked = listed(columns.get(column.name))
    hint = "".join(
        f"; {name!r} looks like {column.name}: {override(f'dataset.columns.{column.name}', name)}"
        for name in likely[:2]
    )
    if column.name in table.names:
        hint = "; dataset.columns says that it is another"
    if len(table.names) == 1:
        hint = "; only one column: dataset.separator says what stands between fields"
    return (
        f"{table.header}: no column {' or '.join(map(repr, [*asked, column.name]))}; columns found: "
        f"{', '.join(map(repr, table.names))}{hint}"
    )


def listed(names: Any) -> list[Any]:
    """Return the names that a value of ``Names`` gives."""
    return [] if names is None else list(names) if isinstance(names, list) else [names]
