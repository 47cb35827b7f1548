"""Merkle tree of the journal, RFC 6962 §2.1 (the tree of RFC 9162): SHA-256, prefixes 0x00 (leaf) and 0x01 (node).

Not the tree of evidence records: that one (RFC 4998) sorts its children and has no prefixes, see `evidence`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash the bytes of one entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: O(log n) state, enough to append leaves and to give the root.

    `subtrees` are the roots of the complete subtrees, largest first; one per set bit of `size`.
    """

    def __init__(self, size: int = 0, subtrees: Sequence[bytes] = ()) -> None:
        if size < 0 or len(subtrees) != size.bit_count():
            raise ValueError("a frontier has one subtree per set bit of its size")
        self.size = size
        self._subtrees = list(subtrees)

    @property
    def subtrees(self) -> tuple[bytes, ...]:
        """Give the state to keep between runs."""
        return tuple(self._subtrees)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        position = self.size
        while position & 1:
            leaf = node_hash(self._subtrees.pop(), leaf)
            position >>= 1
        self._subtrees.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Give the root over all leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        *rest, result = self._subtrees
        for subtree in reversed(rest):
            result = node_hash(subtree, result)
        return result


def root(leaves: Iterable[bytes]) -> bytes:
    """Give the root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Give the audit path of the leaf at `index` (RFC 6962 §2.1.1); IndexError outside the tree."""
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    low, high = 0, len(leaves)
    path: list[bytes] = []
    while high - low > 1:
        split = low + _split(high - low)
        if index < split:
            path.append(root(leaves[split:high]))
            high = split
        else:
            path.append(root(leaves[low:split]))
            low = split
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Say whether the audit path leads from the leaf hash to the root `expected` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or any(len(item) != 32 for item in (leaf, expected, *path)):
        return False
    node, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hmac.compare_digest(result, expected)


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Give the proof that the tree only grew since `old_size` (RFC 6962 §2.1.2); IndexError outside 0..size."""
    if not 0 <= old_size <= len(leaves):
        raise IndexError("no such size")
    if old_size in (0, len(leaves)):
        return []
    low, high, whole, path = 0, len(leaves), True, []
    while old_size != high:
        split = low + _split(high - low)
        if old_size <= split:
            path.append(root(leaves[split:high]))
            high = split
        else:
            path.append(root(leaves[low:split]))
            low, whole = split, False
    return ([] if whole else [root(leaves[low:high])]) + path[::-1]


def verify_consistency(old_size: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether the tree of `size` leaves extends that of `old_size` (RFC 9162 §2.1.4.2)."""
    if not 0 <= old_size <= size or any(len(item) != 32 for item in (old_root, new_root, *path)):
        return False
    if old_size in (0, size):
        known = EMPTY_ROOT if old_size == 0 else new_root
        return not path and hmac.compare_digest(old_root, known)
    steps = list(path) if old_size & (old_size - 1) else [old_root, *path]
    if not steps:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hmac.compare_digest(old, old_root) and hmac.compare_digest(new, new_root)


def _split(count: int) -> int:
    """Give the largest power of two smaller than `count` (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)
