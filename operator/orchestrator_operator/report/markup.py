"""Elements of a page. Text stays text: the standard library's serialiser escapes it, and nothing here is pasted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable

Element = ET.Element
Child = Element | str | None

# What is no text (controls, halves of characters), and what would turn the text around it (bidirectional controls).
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def el(tag: str, /, *children: Child, **attributes: str | float | None) -> Element:
    """An element; `class_` and `stroke_width` are spelled `class` and `stroke-width`, None leaves an attribute out.

    Numbers are written to a tenth: of a pixel.
    """
    made = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), visible(_written(value)))
    return add(made, *children)


def add(parent: Element, /, *children: Child) -> Element:
    """More children; a text goes where it stands among the elements."""
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            _append_text(parent, visible(child))
        else:
            parent.append(child)
    return parent


def group(children: Iterable[Child], **attributes: str | float | None) -> Element:
    """An SVG group."""
    return el("g", *children, **attributes)


def visible(text: str) -> str:
    """The text with a replacement character for whatever cannot be seen, or would change how the rest is seen."""
    return _UNSEEN.sub("\ufffd", text)


def html(root: Element) -> str:
    """The whole document as text."""
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _written(value: str | float) -> str:
    if isinstance(value, str):
        return value
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text
