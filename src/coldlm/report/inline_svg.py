"""A figure as matplotlib writes it -> markup that stands in a page: no style of its own, so that the
page's policy allows it and the page's colours apply, and no name that another figure has."""

from __future__ import annotations

import re
from html import escape
from typing import Final
from xml.etree import ElementTree

FONTS: Final = "DejaVu Sans, Verdana, sans-serif"
"""DejaVu is what matplotlib measured; Verdana is as wide."""

XLINK: Final = "{http://www.w3.org/1999/xlink}href"
NUMBER: Final = re.compile(r"-?\d+\.\d+")
ROUNDED: Final = ("d", "x", "y", "width", "height", "transform", "points")
DROPPED: Final = {"metadata", "style", "title"}


def inline_svg(svg: bytes, prefix: str, label: str) -> str:
    """Return the markup of one figure. ``prefix``: of every id in it. ``label``: what somebody hears
    who cannot see it."""
    root = ElementTree.fromstring(svg)
    *_, width, height = root.get("viewBox", "0 0 0 0").split()
    used = {
        found for node in root.iter() for value in node.attrib.values() for found in _ids(value)
    }
    inner = "".join(_write(node, prefix, used) for node in root)
    # a point is 4/3 of a pixel
    pixels = (round(float(side) * 4 / 3) for side in (width, height))
    size = 'width="{}" height="{}"'.format(*pixels)
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}" {size} '
        f'stroke-linejoin="round">{inner}</svg>'
    )


def _write(node: ElementTree.Element, prefix: str, used: set[str]) -> str:
    """An element and all in it; groups that say nothing are left out."""
    name = node.tag.rpartition("}")[2]
    if name in DROPPED:
        return ""
    attributes = _attributes(node, prefix, used)
    text = escape(node.text) if node.text and node.text.strip() else ""
    inner = text + "".join(_write(child, prefix, used) for child in node)
    if not inner and name in ("g", "defs"):
        return ""
    if name == "g" and not attributes:
        return inner
    said = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{inner}</{name}>" if inner else f"<{name}{said}/>"


def _attributes(node: ElementTree.Element, prefix: str, used: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.attrib.items():
        if key == "id":
            if value in used:
                found["id"] = prefix + value
        elif key == "style":
            for part in value.split(";"):
                name, _, said = part.partition(":")
                found[name.strip()] = FONTS if name.strip() == "font-family" else said.strip()
        elif key == XLINK:
            found["href"] = f"#{prefix}{value[1:]}"
        else:
            found[key] = value.replace("url(#", f"url(#{prefix}")
    if "rotate(-0 " in found.get("transform", ""):
        del found["transform"]
    if "id" in found:
        # a shape that is used elsewhere, where its colours are said again: the page's rules for
        # colours do not reach the copy
        found = {key: value for key, value in found.items() if not value.startswith("#")}
    return {key: _round(value) if key in ROUNDED else value for key, value in found.items()}


def _ids(value: str) -> list[str]:
    """The ids that an attribute points to."""
    return re.findall(r"url\(#([^)]+)\)", value) or ([value[1:]] if value.startswith("#") else [])


def _round(value: str) -> str:
    """Numbers to a hundredth of a point, and no white space that says nothing."""
    short = NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    return re.sub(r"\s*([MLCQZz])\s*", r"\1", short)
