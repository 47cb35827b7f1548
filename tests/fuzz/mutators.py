"""Changes that keep the shape of the input: lengths of DER fit, JSON stays canonical, a ZIP keeps its only form."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from minutier import canonical, der

Plain = Callable[[bytes], bytes]
"""Changes bytes without knowing what they are (libFuzzer's own way)."""

_MAX_DEPTH = 24
_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17, 0x18, 0x30, 0x31, 0x80, 0x81, 0xA0, 0xA1, 0xA2)


@dataclass
class Node:
    """A DER element that can be changed: either it has children or it has bytes."""

    tag: int
    data: bytes
    children: list[Node] = field(default_factory=list)

    def encode(self) -> bytes:
        return der.tlv(self.tag, *(child.encode() for child in self.children), self.data)

    def walk(self) -> list[Node]:
        return [self, *(node for child in self.children for node in child.walk())]


def parse(element: der.Element, depth: int = 0) -> Node:
    """Open an element as far as its contents are elements themselves, in octet strings too."""
    inner: list[der.Element] = []
    if element.content and depth < _MAX_DEPTH and (element.tag & 0x20 or element.tag == der.OCTET_STRING):
        try:
            inner = der.Element(element.tag | 0x20, element.content, b"").children()
        except der.DerError:
            inner = []
    if inner:
        return Node(element.tag, b"", [parse(child, depth + 1) for child in inner])
    return Node(element.tag, element.content)


def change_der(data: bytes, dice: random.Random, plain: Plain) -> bytes:
    """Change one element of a DER value, with lengths that fit; anything else is changed plainly."""
    try:
        tree = parse(der.read(data))
    except der.DerError:
        return plain(data)
    nodes = tree.walk()
    node = dice.choice(nodes)
    match dice.randrange(6):
        case 0:
            node.tag = dice.choice(_TAGS)
        case 1 if node.children:
            del node.children[dice.randrange(len(node.children))]
        case 2 if node.children:
            node.children.insert(dice.randrange(len(node.children) + 1), dice.choice(nodes[1:] or nodes))
        case 3 if node.children:
            dice.shuffle(node.children)
        case _:
            leaf = dice.choice([each for each in nodes if not each.children])
            leaf.data = plain(leaf.data)
    try:
        return tree.encode()
    except RecursionError:  # an element came to stand inside itself
        return plain(data)


def change_json(data: bytes, dice: random.Random, plain: Plain) -> bytes:
    """Change one value of a JSON document and write it canonically; anything else is changed plainly."""
    try:
        value = json.loads(data)
        places = _places(value)
        container, key = dice.choice(places)
        container[key] = _other(container[key], dice, plain)
        return canonical.encode(value)
    except (ValueError, IndexError, RecursionError):
        return plain(data)


def _places(value: object) -> list[tuple[list | dict, int | str]]:
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for item in value.values() for place in _places(item)]
    if isinstance(value, list):
        return [(value, index) for index in range(len(value))] + [place for item in value for place in _places(item)]
    return []


def _other(value: object, dice: random.Random, plain: Plain) -> object:
    match dice.randrange(5):
        case 0:
            return dice.choice(["", 0, -1, 2**53 - 1, [], {}, [[]], [{}], [""], "\u0000", "é"])
        case 1 if isinstance(value, list) and value:
            return [*value, dice.choice(value)]
        case 2 if isinstance(value, str):
            return value[: dice.randrange(len(value) + 1)]
        case _:
            return plain(str(value).encode()).decode("utf-8", "replace")
