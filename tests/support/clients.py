"""Clients of safes: age identities that the archive never sees, and blind deposits carried to their end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from minutier.age import X25519, Identity, generate_identity
from storage.archive import Archive
from storage.blind import load_delivery, seal_local
from storage.catalogue import Deposit
from storage.classes import BLIND, LifecycleClass, create_class
from storage.reception import Delivery, receive
from storage.safes import create_safe
from tasks.aside import carry_through
from tests.support.rig import Rig

CLASS = "sealed"


def client_safe(rig: Rig, name: str = "notary", kind: str = X25519, escrow: Identity | None = None) -> Identity:
    """Make a safe for a client's key; gives the client's identity."""
    identity = generate_identity(kind)
    held = str(escrow.recipient) if escrow else None
    assert create_safe(rig.archive, name, name, recipients=[str(identity.recipient)], escrow=held)
    return identity


def holding(archive: Archive, *identities: Identity) -> Archive:
    return dataclasses.replace(archive, keys=archive.keys.holding(identities))


def blind_delivery(rig: Rig, source: Path, recipients: list[str], safe: str = "notary", **more: object) -> Delivery:
    """Encrypt a file as its depositor does, on a machine of its own: only what it writes comes back."""
    create_class(rig.archive, LifecycleClass(CLASS, CLASS, 10, BLIND))
    folder = rig.folder / f"depositor-{source.name}"
    folder.mkdir(exist_ok=True)
    ciphertext, _, statement = seal_local(source, folder, recipients, "minutier tests")
    values = {"reference": source.name, "depositor": "tests", "name": ciphertext.name} | more
    return Delivery(ciphertext, safe, CLASS, blind=load_delivery(statement), **values)  # type: ignore[arg-type]


def deposit_blind(rig: Rig, source: Path, recipients: list[str], safe: str = "notary", **more: object) -> Deposit:
    received = receive(rig.archive, blind_delivery(rig, source, recipients, safe, **more))
    return carry_through(rig.archive, [received.archive_id])[0]
