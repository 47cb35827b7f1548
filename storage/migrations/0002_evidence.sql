-- Evidence: a token is kept once, each document has its path to it, a renewal of a token serves all of its documents.

ALTER TABLE token
    ADD COLUMN algorithm text NOT NULL DEFAULT 'sha256' CHECK (algorithm IN ('sha256', 'sha3_512')),
    ADD COLUMN leaves bytea,            -- values of all leaves of the tree in its order, for the batch file
    ADD COLUMN stands_until timestamptz, -- end of the first certificate of the token; null in rows of before
    ADD COLUMN rests_on text[];         -- names of algorithms (docs/format/algorithm-dates-v1.md)

CREATE TABLE evidence_chain (
    archive_id uuid NOT NULL REFERENCES deposit,
    subject    text NOT NULL CHECK (subject IN ('document', 'journal')),
    number     integer NOT NULL CHECK (number BETWEEN 1 AND 8),
    algorithm  text NOT NULL CHECK (algorithm IN ('sha256', 'sha3_512')),
    leaf       integer NOT NULL,        -- place of this leaf in the tree of the token
    siblings   bytea NOT NULL,          -- hashes of the path from the leaf up, joined; the first list is computed
    token_id   uuid NOT NULL REFERENCES token,
    renewals   integer,                 -- time-stamp renewals of this chain once it is closed; null: all there are
    checkpoint bigint,                  -- size of the checkpoint that a journal anchor covers
    PRIMARY KEY (archive_id, subject, number),
    CHECK ((subject = 'journal') = (checkpoint IS NOT NULL))
);
CREATE INDEX evidence_chain_token ON evidence_chain (token_id);
CREATE INDEX evidence_chain_open ON evidence_chain (algorithm, archive_id) WHERE renewals IS NULL;

CREATE TABLE token_renewal (            -- RFC 4998 §5.2: one leaf for each old token
    token_id   uuid PRIMARY KEY REFERENCES token,
    by_token   uuid NOT NULL REFERENCES token,
    leaf       integer NOT NULL,
    siblings   bytea NOT NULL,
    CHECK (token_id <> by_token)
);

-- What the stores hold is no longer of documents alone: the owner of a batch file is a token.
ALTER TABLE object DROP CONSTRAINT object_archive_id_fkey;
ALTER TABLE object DROP CONSTRAINT object_role_check;
ALTER TABLE object ADD CONSTRAINT object_role_check
    CHECK (role IN ('original', 'rendition', 'manifest', 'seal', 'seal-mldsa65', 'evidence', 'batch', 'revocation'));
ALTER TABLE object ADD COLUMN retain_until timestamptz; -- of a batch file; that of a document is in its deposit

CREATE INDEX deposit_whole_record ON deposit (archive_id) WHERE evidence IS NOT NULL;
