-- Text recognised in scanned documents: a document of its own, sealed and kept like any, destroyed before its source.
CREATE TABLE recognised_text (
    archive_id uuid PRIMARY KEY REFERENCES deposit,     -- the document that was looked at
    looked_at  timestamptz NOT NULL,
    outcome    text NOT NULL,                           -- '' or the code of why there is none
    text_id    uuid UNIQUE REFERENCES deposit,          -- the document with the text
    CHECK ((outcome = '') = (text_id IS NOT NULL))
);
SELECT keep_in_ledger('recognised_text');
