"""What must agree in the tables: document, objects, replicas, tokens, journal. Each rule is a query for what breaks it.

A rule holds at every commit, so that a deposit on its way breaks none. Queries give ids and counts, never what a
depositor wrote. `{batch}` is the table that a rule is about, which takes a name only in a query with a JOIN (a rule of
the engine); a literal brace would be doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.catalogue import COMMITTED_STATES

_COMMITTED = "({})".format(", ".join(f"'{state}'" for state in COMMITTED_STATES))
_LOCKED = "('LOCKED', 'ARCHIVED')"
_DESTROYED = "('DESTROYING', 'DESTROYED')"
_HEX = "length({0}) <> {1} OR {0} ~ '[^0-9a-f]'"
TABLES = ("deposit", "object", "replica_copy", "token", "journal_event")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name, the table it is about, what holds (English, French), and the query for what breaks it.

    The first column of the query is `id`: what an auditor looks up.
    """

    name: str
    table: str
    en: str
    fr: str
    query: str


def rules(replicas: Sequence[str]) -> tuple[Rule, ...]:
    """Give every rule, for an archive with these replicas."""
    return (*_DOCUMENTS, *_OBJECTS, _copies_everywhere(replicas), *_COPIES, *_TOKENS, *_JOURNAL)


_DOCUMENTS = (
    Rule(
        "document-complete",
        "deposit",
        "A committed document has its digests, its size, its term, its manifest, its seal and its time-stamp.",
        "Un document versé a ses empreintes, sa taille, son terme, son manifeste, son scellement et sa contremarque.",
        f"SELECT archive_id AS id FROM {{batch}} WHERE state IN {_COMMITTED} AND (sha256 IS NULL OR sha3_512 IS NULL"
        " OR size IS NULL OR retain_until IS NULL OR manifest IS NULL OR seal IS NULL OR token_id IS NULL)",
    ),
    Rule(
        "document-has-objects",
        "deposit",
        "A committed document has its original and its sealed description among the stored objects.",
        "Un document versé a son original et sa description scellée parmi les objets conservés.",
        f"SELECT d.archive_id AS id FROM {{batch}} AS d LEFT JOIN object o ON o.archive_id = d.archive_id"
        f" WHERE d.state IN {_COMMITTED} GROUP BY d.archive_id HAVING count(*) FILTER (WHERE o.role = 'original') = 0"
        " OR (count(*) FILTER (WHERE o.role = 'record') = 0"
        " AND count(*) FILTER (WHERE o.role IN ('manifest', 'seal')) < 2)",
    ),
    Rule(
        "document-has-key",
        "deposit",
        "A committed document has its wrapped key.",
        "Un document versé a sa clé enveloppée.",
        f"SELECT d.archive_id AS id FROM {{batch}} AS d LEFT JOIN document_key k ON k.archive_id = d.archive_id"
        f" WHERE d.state IN {_COMMITTED} AND k.archive_id IS NULL",
    ),
    Rule(
        "document-locked",
        "deposit",
        "Every copy of a locked document is locked to its term at least.",
        "Chaque copie d'un document verrouillé l'est au moins jusqu'à son terme.",
        "SELECT d.archive_id AS id, c.role, c.replica FROM {batch} AS d JOIN replica_copy c"
        f" ON c.archive_id = d.archive_id WHERE d.state IN {_LOCKED}"
        " AND (c.locked_until IS NULL OR c.locked_until < greatest(d.retain_until, d.extended_until))",
    ),
    Rule(
        "document-term-journaled",
        "deposit",
        "The journal says the event from which the term of a document was extended.",
        "Le journal dit l'événement à partir duquel le terme d'un document a été prolongé.",
        "SELECT d.archive_id AS id FROM {batch} AS d LEFT JOIN journal_event e ON e.archive_id = d.archive_id"
        " AND e.event = 'term:begun' WHERE d.extended_until IS NOT NULL AND e.event_id IS NULL",
    ),
    Rule(
        "document-committed-once",
        "deposit",
        "The journal commits a document once, and no document that is not committed.",
        "Le journal verse un document une fois, et aucun document qui n'est pas versé.",
        "SELECT d.archive_id AS id, d.state, count(e.event_id) AS entries FROM {batch} AS d LEFT JOIN journal_event e"
        " ON e.archive_id = d.archive_id AND e.event = 'deposit:committed' GROUP BY d.archive_id, d.state"
        f" HAVING count(e.event_id) <> CASE WHEN d.state IN {_COMMITTED} OR d.state IN {_DESTROYED} THEN 1 ELSE 0 END",
    ),
    Rule(
        "document-state-journaled",
        "deposit",
        "The state of a document is the last one that the journal gave it.",
        "L'état d'un document est le dernier que le journal lui donne.",
        "SELECT d.archive_id AS id, d.state, last.event FROM {batch} AS d LEFT JOIN LATERAL (SELECT e.event"
        " FROM journal_event e WHERE e.archive_id = d.archive_id AND e.event LIKE 'deposit:%'"
        " ORDER BY e.event_id DESC LIMIT 1) AS last ON true"
        " WHERE last.event IS DISTINCT FROM 'deposit:' || lower(d.state)",
    ),
    Rule(
        "document-attested",
        "deposit",
        "A document that is, or was, archived has its attestation, and no other has one.",
        "Un document archivé, ou qui le fut, a son attestation, et nul autre n'en a.",
        "SELECT d.archive_id AS id, d.state FROM {batch} AS d LEFT JOIN outbox b ON b.archive_id = d.archive_id"
        f" WHERE (d.state = 'ARCHIVED' OR d.state IN {_DESTROYED}) <> (b.archive_id IS NOT NULL)",
    ),
    Rule(
        "destroyed-leaves-nothing",
        "deposit",
        "Of a destroyed document no key, object or copy is known, and its certificate is kept.",
        "D'un document détruit, ni clé, ni objet, ni copie ne sont connus, et son certificat est conservé.",
        "SELECT d.archive_id AS id, d.state FROM {batch} AS d LEFT JOIN destruction x USING (archive_id)"
        f" WHERE d.state IN {_DESTROYED} AND (x.archive_id IS NULL"
        " OR (d.state = 'DESTROYED') <> (x.certificate_id IS NOT NULL)"
        " OR EXISTS (SELECT 1 FROM document_key k WHERE k.archive_id = d.archive_id)"
        " OR EXISTS (SELECT 1 FROM object o WHERE o.archive_id = d.archive_id))",
    ),
    Rule(
        "held-is-not-destroyed",
        "deposit",
        "No document goes while a hold stands on it.",
        "Aucun document n'est détruit tant qu'un gel pèse sur lui.",
        "SELECT d.archive_id AS id, d.state FROM {batch} AS d JOIN legal_hold h ON h.archive_id = d.archive_id"
        f" AND h.released_at IS NULL WHERE d.state IN {_DESTROYED}",
    ),
    Rule(
        "document-has-evidence",
        "deposit",
        "A committed document has its path to the time-stamp that the catalogue gives it.",
        "Un document versé a son chemin vers la contremarque que le catalogue lui donne.",
        "SELECT d.archive_id AS id FROM {batch} AS d LEFT JOIN evidence_chain c ON c.archive_id = d.archive_id"
        " AND c.subject = 'document' AND c.number = 1"
        f" WHERE d.state IN {_COMMITTED} AND c.token_id IS DISTINCT FROM d.token_id",
    ),
    Rule(
        "document-after-no-token",
        "deposit",
        "No time-stamp is older than the arrival of its document, within five minutes.",
        "Aucune contremarque n'est antérieure à l'arrivée de son document, à cinq minutes près.",
        "SELECT d.archive_id AS id FROM {batch} AS d JOIN token t ON t.token_id = d.token_id"
        " WHERE t.gen_time < d.received_at - interval '5 minutes'",
    ),
)
_OBJECTS = (
    Rule(
        "object-owned",
        "object",
        "Every object belongs to a document, a time-stamp or a segment of the journal, and its key names its owner.",
        "Chaque objet appartient à un document, une contremarque ou un segment du journal, et sa clé nomme son"
        " propriétaire.",
        "SELECT o.archive_id AS id, o.role FROM {batch} AS o LEFT JOIN deposit d ON d.archive_id = o.archive_id"
        " LEFT JOIN token t ON t.token_id = o.archive_id LEFT JOIN journal_segment s ON s.segment_id = o.archive_id"
        " WHERE (d.archive_id IS NULL AND t.token_id IS NULL AND s.segment_id IS NULL) OR CASE WHEN s.number IS NULL"
        " THEN strpos(o.key, CAST(o.archive_id AS text)) = 0"
        " ELSE strpos(o.key, '_journal/' || lpad(CAST(s.number AS text), 12, '0') || '/') <> 1 END",
    ),
    Rule(
        "object-digests",
        "object",
        "Every object has its two digests, in hexadecimal, and a size.",
        "Chaque objet a ses deux empreintes, en hexadécimal, et une taille.",
        f"SELECT archive_id AS id, role FROM {{batch}} WHERE size <= 0 OR {_HEX.format('sha256', 64)}"
        f" OR {_HEX.format('sha3_512', 128)}",
    ),
)
_COPIES = (
    Rule(
        "copy-good",
        "replica_copy",
        "No copy is known to be damaged.",
        "Aucune copie n'est connue pour être abîmée.",
        "SELECT archive_id AS id, role, replica FROM {batch} WHERE health <> 'good'",
    ),
    Rule(
        "copy-own-version",
        "replica_copy",
        "No two copies are the same version of the same key.",
        "Deux copies ne sont jamais la même version de la même clé.",
        "SELECT min(CAST(c.archive_id AS text)) AS id, c.replica, count(*) AS rows FROM {batch} AS c JOIN object o"
        " ON o.archive_id = c.archive_id AND o.role = c.role GROUP BY c.replica, o.key, c.version_id"
        " HAVING count(*) > 1",
    ),
)
_TOKENS = (
    Rule(
        "token-file-locked",
        "token",
        "The files of a time-stamp are locked as long as the documents that rest on it, or on one that it renews.",
        "Les fichiers d'une contremarque sont verrouillés aussi longtemps que les documents qui reposent sur elle ou"
        " sur une qu'elle renouvelle.",
        # The file of a renewal is put a moment after its row, that of revocation data too: none yet is not too short.
        "SELECT t.token_id AS id, o.role FROM {batch} AS t LEFT JOIN object o ON o.archive_id = t.token_id"
        " WHERE t.leaves IS NOT NULL AND EXISTS (WITH RECURSIVE renewed AS (SELECT t.token_id UNION"
        " SELECT r.token_id FROM token_renewal r JOIN renewed ON r.by_token = renewed.token_id)"
        " SELECT 1 FROM renewed JOIN evidence_chain c ON c.token_id = renewed.token_id"
        f" JOIN deposit d ON d.archive_id = c.archive_id WHERE d.state IN {_LOCKED}"
        " AND ((d.token_id = t.token_id AND o.role IS DISTINCT FROM 'revocation' AND o.retain_until IS NULL)"
        " OR o.retain_until < greatest(d.retain_until, d.extended_until)))",
    ),
    Rule(
        "token-renewed-later",
        "token",
        "A time-stamp that renews another is not older than it.",
        "Une contremarque qui en renouvelle une autre n'est pas plus ancienne qu'elle.",
        "SELECT t.token_id AS id FROM {batch} AS t JOIN token_renewal r ON r.token_id = t.token_id JOIN token n"
        " ON n.token_id = r.by_token WHERE n.gen_time < t.gen_time",
    ),
)
_JOURNAL = (
    Rule(
        "journal-without-gap",
        "journal_event",
        "The numbers of the journal run from 1 without gap.",
        "Les numéros du journal se suivent depuis 1 sans lacune.",
        "SELECT max(seq) AS id, count(seq) AS entries FROM {batch} HAVING max(seq) <> count(seq) OR min(seq) <> 1",
    ),
    Rule(
        "journal-numbered",
        "journal_event",
        "Every entry of the journal has its number and its chain value within an hour.",
        "Chaque entrée du journal a son numéro et sa valeur de chaînage dans l'heure.",
        "SELECT event_id AS id, event FROM {batch} WHERE (seq IS NULL) <> (chain IS NULL)"
        " OR (seq IS NULL AND at < now() - interval '1 hour')",
    ),
    Rule(
        "journal-about-something",
        "journal_event",
        "Every entry of the journal about a document, a time-stamp or a segment is about one that exists.",
        "Chaque entrée du journal sur un document, une contremarque ou un segment porte sur l'un qui existe.",
        "SELECT e.event_id AS id, e.event FROM {batch} AS e LEFT JOIN deposit d ON d.archive_id = e.archive_id"
        " LEFT JOIN token t ON t.token_id = e.archive_id LEFT JOIN journal_segment s ON s.segment_id = e.archive_id"
        " WHERE e.archive_id IS NOT NULL AND d.archive_id IS NULL AND t.token_id IS NULL AND s.segment_id IS NULL",
    ),
    Rule(
        "journal-covers-checkpoints",
        "journal_event",
        "No checkpoint is signed over more entries than the journal has.",
        "Aucun point de contrôle n'est signé sur plus d'entrées que le journal n'en a.",
        "SELECT p.size AS id, head.seq AS entries FROM journal_checkpoint p CROSS JOIN"
        " (SELECT coalesce(max(e.seq), 0) AS seq FROM {batch} AS e) AS head WHERE p.size > head.seq",
    ),
)


def _copies_everywhere(replicas: Sequence[str]) -> Rule:
    names = ", ".join("'{}'".format(name.replace("'", "''")) for name in replicas)
    return Rule(
        "object-on-every-replica",
        "object",
        "Every object of a committed document, and every file of a time-stamp in use, has a copy on each replica.",
        "Chaque objet d'un document versé, et chaque fichier d'une contremarque en usage, a une copie sur chaque"
        " réplique.",
        "SELECT o.archive_id AS id, o.role, count(c.replica) AS copies FROM {batch} AS o LEFT JOIN deposit d"
        " ON d.archive_id = o.archive_id LEFT JOIN replica_copy c ON c.archive_id = o.archive_id AND c.role = o.role"
        f" AND c.replica IN ({names}) WHERE d.state IN {_COMMITTED} OR (d.archive_id IS NULL"
        " AND o.retain_until IS NOT NULL) GROUP BY o.archive_id, o.role"
        f" HAVING count(c.replica) <> {len(replicas)}",
    )
