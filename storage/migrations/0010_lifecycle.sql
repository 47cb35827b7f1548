-- The end of a document's life: holds, lists of what may go, destruction in the open, and the sealed papers of such acts.

ALTER TABLE lifecycle_class
    ADD COLUMN term text NOT NULL DEFAULT 'deposit' CHECK (term IN ('deposit', 'calendar')),
    ADD COLUMN visa boolean NOT NULL DEFAULT false;     -- the archives' visa is needed before anything goes

-- DESTROYING: decided, its key is gone, versions may be left. DESTROYED: nothing is left, and a certificate says so.
ALTER TABLE deposit DROP CONSTRAINT deposit_state_check;
ALTER TABLE deposit ADD CONSTRAINT deposit_state_check
    CHECK (state IN ('RECEIVED', 'SCREENED', 'RENDERED', 'SEALED', 'STAMPED', 'STORED', 'COMMITTED', 'LOCKED',
                     'ARCHIVED', 'DESTROYING', 'DESTROYED', 'REFUSED', 'ABANDONED'));
DROP INDEX deposit_reference;
CREATE UNIQUE INDEX deposit_reference ON deposit (safe, reference)
    WHERE state NOT IN ('REFUSED', 'ABANDONED', 'DESTROYING', 'DESTROYED');
DROP INDEX deposit_state;
CREATE INDEX deposit_state ON deposit (state)
    WHERE state NOT IN ('ARCHIVED', 'REFUSED', 'ABANDONED', 'DESTROYED');
CREATE INDEX deposit_dossier ON deposit (safe, dossier);
CREATE INDEX deposit_term ON deposit (retain_until) WHERE state = 'ARCHIVED';

CREATE TABLE legal_hold (
    hold_id        uuid PRIMARY KEY,
    archive_id     uuid NOT NULL REFERENCES deposit,
    reason         text NOT NULL,
    placed_by      text NOT NULL,
    placed_at      timestamptz NOT NULL,
    released_by    text,
    released_at    timestamptz,
    release_reason text,
    CHECK ((released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
CREATE INDEX legal_hold_standing ON legal_hold (archive_id) WHERE released_at IS NULL;

CREATE TABLE sealed_act (               -- docs/format/act-v1.md: bytes as they were sealed
    act_id  uuid PRIMARY KEY,
    act     text NOT NULL CHECK (act IN ('disposal-list', 'destruction', 'restitution')),
    body    bytea NOT NULL,
    seal    bytea NOT NULL,
    at      timestamptz NOT NULL
);

CREATE TABLE disposal_list (            -- what could go on a day, and who decided that it goes
    list_id      uuid PRIMARY KEY REFERENCES sealed_act,
    requested_by text NOT NULL,
    approved_by  text,
    approved_at  timestamptz,
    reason       text,
    visa         text,
    CHECK ((approved_by IS NULL) = (approved_at IS NULL) AND (approved_by IS NULL) = (reason IS NULL)
        AND approved_by <> requested_by)
);

CREATE TABLE destruction (
    archive_id      uuid PRIMARY KEY REFERENCES deposit,
    reason          text NOT NULL,
    requested_by    text NOT NULL,
    approved_by     text,
    visa            text,
    list_id         uuid REFERENCES disposal_list,
    manifest_sha256 text NOT NULL,
    begun_at        timestamptz NOT NULL,
    answers         jsonb NOT NULL,     -- each version that was there, and what its store answered
    certificate_id  uuid UNIQUE REFERENCES sealed_act
);

SELECT keep_in_ledger(name)
    FROM unnest(ARRAY['legal_hold', 'sealed_act', 'disposal_list', 'destruction']::regclass[]) AS name;
