"""Bech32 (BIP 173) without its length limit: the text form of age keys."""

from __future__ import annotations

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6


def encode(prefix: str, data: bytes) -> str:
    """Give the lower-case text of `data` under a lower-case prefix."""
    values = _regroup(list(data), 8, 5, pad=True) or []
    check = _polymod([*_expand(prefix), *values, *([0] * _CHECKSUM)]) ^ 1
    tail = [check >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1" + "".join(_ALPHABET[value] for value in [*values, *tail])


def decode(text: str) -> tuple[str, bytes] | None:
    """Give the prefix, in lower case, and the data; None for anything that `encode` would not write.

    Text is all in one letter case; its checksum is that of the lower-case form.
    """
    if text not in (text.lower(), text.upper()):
        return None
    prefix, mark, rest = text.lower().rpartition("1")
    if not mark or not prefix or len(rest) < _CHECKSUM or not set(rest) <= set(_ALPHABET):
        return None
    if not all(33 <= ord(character) <= 126 for character in prefix):
        return None
    values = [_ALPHABET.index(character) for character in rest]
    if _polymod([*_expand(prefix), *values]) != 1:
        return None
    data = _regroup(values[:-_CHECKSUM], 5, 8, pad=False)
    return None if data is None else (prefix, bytes(data))


def _expand(prefix: str) -> list[int]:
    codes = [ord(character) for character in prefix]
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            check ^= generator if top >> place & 1 else 0
    return check


def _regroup(values: list[int], width: int, target: int, *, pad: bool) -> list[int] | None:
    """Turn groups of `width` bits into groups of `target`; None when bits that are not zero would be lost."""
    rest = bits = 0
    result = []
    for value in values:
        rest, bits = rest << width | value, bits + width
        while bits >= target:
            bits -= target
            result.append(rest >> bits & (1 << target) - 1)
        rest &= (1 << bits) - 1
    if pad:
        return [*result, rest << target - bits] if bits else result
    return None if rest or bits >= width else result
