"""RFC 6962 trees, against known roots, the definition, and altered proofs."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minutier import merkle

# The test inputs of Certificate Transparency's reference implementation, and its roots for 1 to 8 leaves.
INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % index) for index in range(count)]


def by_definition(items: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not items:
        return hashlib.sha256(b"").digest()
    if len(items) == 1:
        return items[0]
    split = 1
    while split * 2 < len(items):
        split *= 2
    return merkle.node_hash(by_definition(items[:split]), by_definition(items[split:]))


@pytest.mark.parametrize("size", ROOTS)
def test_known_roots(size):
    assert merkle.root(merkle.leaf_hash(data) for data in INPUTS[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize("size", range(34))
def test_every_root_and_proof_up_to_33_leaves(size):
    items = leaves(size)
    root = merkle.root(items)
    assert root == by_definition(items)
    for index in range(size):
        path = merkle.inclusion_proof(items, index)
        assert merkle.verify_inclusion(items[index], index, size, path, root)
        assert not merkle.verify_inclusion(items[index], index, size, [*path, root], root)
        for other in range(size):
            if other != index:
                assert not merkle.verify_inclusion(items[index], other, size, path, root)
    for old in range(size + 1):
        path = merkle.consistency_proof(items, old)
        old_root = merkle.root(items[:old])
        assert merkle.verify_consistency(old, old_root, size, root, path)
        if 0 < old < size:
            assert not merkle.verify_consistency(old, root, size, root, path)
            assert not merkle.verify_consistency(old, old_root, size, old_root, path)
            assert not merkle.verify_consistency(old, old_root, size, root, [*path, root])


@settings(max_examples=60)
@given(st.integers(2, 200), st.data())
def test_an_altered_inclusion_proof_does_not_verify(size, data):
    items = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(items, index)
    place, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
    spoiled = bytearray(path[place])
    spoiled[bit // 8] ^= 1 << bit % 8
    path[place] = bytes(spoiled)
    assert not merkle.verify_inclusion(items[index], index, size, path, merkle.root(items))


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_goes_on_where_it_was_left(first, second):
    frontier = merkle.Frontier()
    for leaf in leaves(first):
        frontier.append(leaf)
    again = merkle.Frontier(frontier.size, frontier.subtrees)
    for leaf in leaves(first + second)[first:]:
        again.append(leaf)
    assert (again.size, again.root()) == (first + second, merkle.root(leaves(first + second)))


def test_bounds():
    with pytest.raises(IndexError):
        merkle.inclusion_proof(leaves(3), 3)
    with pytest.raises(IndexError):
        merkle.consistency_proof(leaves(3), 4)
    with pytest.raises(ValueError, match="frontier"):
        merkle.Frontier(3, [merkle.EMPTY_ROOT])
    root = merkle.root(leaves(2))
    for index, size in ((-1, 2), (2, 2), (0, 0)):
        assert not merkle.verify_inclusion(leaves(2)[0], index, size, [], root)
    assert not merkle.verify_inclusion(leaves(2)[0], 0, 2, [b"short"], root)
    assert not merkle.verify_consistency(3, root, 2, root, [])
    assert not merkle.verify_consistency(1, root, 2, root, [b"short"])
    assert not merkle.verify_consistency(3, root, 4, root, [])
    assert not merkle.verify_consistency(2, root, 2, leaves(1)[0], [])
