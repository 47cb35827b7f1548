"""Hash tiles of the journal: what lets one line be proven among millions without reading them (C2SP tlog-tiles).

A tile has 256 hashes: leaves at level 0, roots of tiles of the level below above it. Only whole tiles are kept, and
none is ever changed. They are a shortcut, not evidence: a path made with them is worth the signed root that it leads
to, and the nightly check recomputes the tree from the entries themselves.
"""

from __future__ import annotations

from minutier import merkle
from storage.database import Connection

HEIGHT = 8
WIDTH = 1 << HEIGHT
_HASH = 32
_AT_ONCE = 64
"""Tiles made by one call: an old journal gets its tiles little by little, and no act waits for all of them."""


def extend(connection: Connection, size: int, most: int = _AT_ONCE) -> int:
    """Make the whole tiles of a journal of `size` entries that are not there yet; gives how many were made."""
    made, level, wanted = 0, 0, size // WIDTH
    while wanted and made < most:
        row = connection.execute("SELECT count(*) AS n FROM journal_tile WHERE level = %s", (level,)).fetchone()
        there = int(row["n"]) if row else 0
        for number in range(there, min(wanted, there + most - made)):
            hashes = _leaves(connection, number) if level == 0 else _roots(connection, level - 1, number)
            connection.execute(
                "INSERT INTO journal_tile (level, number, hashes, root) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (level, number, b"".join(hashes), merkle.root(hashes)),
            )
            made, there = made + 1, number + 1
        level, wanted = level + 1, there // WIDTH
    return made


def _leaves(connection: Connection, number: int) -> list[bytes]:
    return _leaves_between(connection, number * WIDTH, (number + 1) * WIDTH)


def _leaves_between(connection: Connection, low: int, high: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT leaf FROM journal_event WHERE seq > %s AND seq <= %s ORDER BY seq", (low, high)
    ).fetchall()
    if len(rows) != high - low:
        raise IndexError("no such leaves")
    return [bytes(row["leaf"]) for row in rows]


def _roots(connection: Connection, level: int, number: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT root FROM journal_tile WHERE level = %s AND number >= %s AND number < %s ORDER BY number",
        (level, number * WIDTH, (number + 1) * WIDTH),
    )
    return [bytes(row["root"]) for row in rows]


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[place : place + _HASH] for place in range(0, len(hashes), _HASH)]


class Tree:
    """The tree over the first `size` entries, read through tiles; each block of 256 hashes is read once."""

    def __init__(self, connection: Connection, size: int) -> None:
        self._connection, self.size = connection, size
        self._blocks: dict[tuple[int, int], list[bytes]] = {}

    def root(self) -> bytes:
        """Give the root (RFC 6962 §2.1)."""
        return self._over(0, self.size) if self.size else merkle.EMPTY_ROOT

    def inclusion(self, index: int) -> list[bytes]:
        """Give the audit path of the entry at `index`, from 0 (RFC 6962 §2.1.1); IndexError outside the tree."""
        if not 0 <= index < self.size:
            raise IndexError("no such entry")
        low, high, path = 0, self.size, list[bytes]()
        while high - low > 1:
            middle = low + _half(high - low)
            if index < middle:
                path.append(self._over(middle, high))
                high = middle
            else:
                path.append(self._over(low, middle))
                low = middle
        return path[::-1]

    def _over(self, low: int, high: int) -> bytes:
        """Give the hash over entries `low` to `high`, a subtree of the tree."""
        count = high - low
        if count & (count - 1) == 0:
            return self._whole(low, count)
        middle = low + _half(count)
        return merkle.node_hash(self._whole(low, middle - low), self._over(middle, high))

    def _whole(self, low: int, count: int) -> bytes:
        """Give the hash over a power of two of entries, at a multiple of it."""
        level = (count.bit_length() - 1) // HEIGHT
        first, wanted = low // WIDTH**level, count // WIDTH**level
        place = first % WIDTH
        hashes = self._block(level, first // WIDTH)[place : place + wanted]
        if len(hashes) == wanted:
            return _fold(hashes)
        # Tiles that are not made yet: the level below has what they would be made of.
        half = count // 2
        return merkle.node_hash(self._whole(low, half), self._whole(low + half, half))

    def _block(self, level: int, number: int) -> list[bytes]:
        """Give the hashes of a block, as many as there are: leaves, or roots of the whole tiles of the level below."""
        if (level, number) not in self._blocks:
            self._blocks[level, number] = (
                self._leaves(number) if level == 0 else _roots(self._connection, level - 1, number)
            )
        return self._blocks[level, number]

    def _leaves(self, number: int) -> list[bytes]:
        high = (number + 1) * WIDTH
        if high <= self.size:
            row = self._connection.execute(
                "SELECT hashes FROM journal_tile WHERE level = 0 AND number = %s", (number,)
            ).fetchone()
            if row is not None:
                return _split(bytes(row["hashes"]))
        return _leaves_between(self._connection, number * WIDTH, min(high, self.size))


def _fold(hashes: list[bytes]) -> bytes:
    """Give the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [merkle.node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _half(count: int) -> int:
    """Give the largest power of two smaller than `count` (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)
