-- A time-stamp over the journal at least once a day, whether or not anything happened: nobody can date it back.
CREATE TABLE journal_stamp (
    size     bigint PRIMARY KEY REFERENCES journal_checkpoint,
    token    bytea NOT NULL,        -- RFC 3161, over the SHA-256 of the signed note of that checkpoint
    tsa      text NOT NULL,
    gen_time timestamptz NOT NULL
);
SELECT keep_in_ledger('journal_stamp');
