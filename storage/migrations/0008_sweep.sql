-- Sweeps that go on where they were killed, what was never read since it was written, and the proofs that were judged.

ALTER TABLE replica_copy ADD COLUMN swept_at timestamptz; -- last time a sweep read every byte and found it good; null: never
ALTER TABLE replica_copy ADD COLUMN tried_at timestamptz; -- last time a sweep looked, whatever it found
DROP INDEX replica_copy_checked;
CREATE INDEX replica_copy_swept ON replica_copy (swept_at NULLS FIRST, checked_at);

ALTER TABLE sweep ADD COLUMN progress jsonb;              -- counts and findings so far, written with the marks of the copies

CREATE TABLE proof_check (              -- a document whose seal, token, evidence and journal entry were judged again
    archive_id uuid PRIMARY KEY REFERENCES deposit,
    checked_at timestamptz NOT NULL,
    code       text NOT NULL            -- empty: good; else why it is not
);
CREATE INDEX proof_check_oldest ON proof_check (checked_at);

CREATE TABLE store_settings (           -- what each store was told to do by itself, at the last look
    replica text PRIMARY KEY,
    told    jsonb NOT NULL,
    seen_at timestamptz NOT NULL
);

-- When a sweep looked at a copy is its own business, and no change that the stores must be told of.
DROP TRIGGER ledger_update ON replica_copy;
CREATE TRIGGER ledger_update AFTER UPDATE ON replica_copy FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{checked_at,swept_at,tried_at}'::text[]
        IS DISTINCT FROM to_jsonb(NEW) - '{checked_at,swept_at,tried_at}'::text[])
    EXECUTE FUNCTION note_change('archive_id', 'role', 'replica');
