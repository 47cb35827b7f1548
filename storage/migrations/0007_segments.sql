-- What the stores must hold so that catalogue and journal can be made again from them alone: segments of the journal,
-- each with a ledger of the rows that changed since the one before (docs/format/segment-v1.md).

CREATE TABLE journal_segment (
    number     bigint PRIMARY KEY CHECK (number > 0),
    segment_id uuid NOT NULL UNIQUE,    -- owner of its two objects
    first_seq  bigint NOT NULL,         -- first entry; last_seq + 1 when it has none
    last_seq   bigint NOT NULL CHECK (last_seq >= first_seq - 1),
    chain      bytea NOT NULL,          -- chain value after last_seq
    sha256     text NOT NULL,           -- of the segment file
    body       bytea,                   -- both files until every replica holds them: never cut twice
    ledger     bytea,
    CHECK ((body IS NULL) = (ledger IS NULL))
);
CREATE INDEX journal_segment_waiting ON journal_segment (number) WHERE body IS NOT NULL;

CREATE TABLE ledger_change (            -- rows that changed since the last segment, by their primary key
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    key  jsonb NOT NULL
);

-- Arguments: the columns of the primary key. Segments and their ledgers tell of themselves.
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
    IF coalesce(changed ->> 'role', '') NOT IN ('segment', 'ledger') THEN
        INSERT INTO ledger_change (name, key)
            SELECT TG_TABLE_NAME, jsonb_object_agg(part, changed -> part) FROM unnest(TG_ARGV) AS part;
    END IF;
    RETURN NULL;
END $$;

-- Called once for each table that must come back, parents before those that refer to them: storage/ledger.py takes
-- the tables in the order of these calls. A change of the column `but` alone is not noted.
CREATE FUNCTION keep_in_ledger(kept regclass, but text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parts text[];
    act text;
BEGIN
    SELECT array_agg(a.attname::text ORDER BY k.place) INTO parts
        FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place), pg_attribute a
        WHERE i.indrelid = kept AND i.indisprimary AND a.attrelid = kept AND a.attnum = k.attnum;
    act := format('FOR EACH ROW %%s EXECUTE FUNCTION note_change(%s)',
        (SELECT string_agg(quote_literal(part), ', ') FROM unnest(parts) AS part));
    EXECUTE format('CREATE TRIGGER ledger AFTER INSERT OR DELETE ON %s ', kept) || format(act, '');
    EXECUTE format('CREATE TRIGGER ledger_update AFTER UPDATE ON %s ', kept) || format(act, CASE WHEN but <> ''
        THEN format('WHEN (to_jsonb(OLD) - %1$L IS DISTINCT FROM to_jsonb(NEW) - %1$L)', but) ELSE '' END);
    EXECUTE format('INSERT INTO ledger_change (name, key) SELECT %L, (SELECT jsonb_object_agg(part, row -> part)'
        ' FROM unnest(%L::text[]) AS part) FROM (SELECT to_jsonb(t) AS row FROM %s t) AS known', kept, parts, kept);
END $$;

SELECT keep_in_ledger(name) FROM unnest(ARRAY['safe', 'safe_recipient', 'lifecycle_class', 'seal_key', 'seal_use',
    'replica', 'deposit', 'deposit_wait', 'blind_statement', 'document_key', 'token', 'token_revocation',
    'token_renewal', 'journal_checkpoint', 'evidence_chain', 'object']::regclass[]) AS name;
-- A sweep looks at every copy each night: when it did is its own business, what it found is not.
SELECT keep_in_ledger('replica_copy', 'checked_at');
SELECT keep_in_ledger(name) FROM unnest(ARRAY['outbox', 'batch', 'sweep']::regclass[]) AS name;

ALTER TABLE object DROP CONSTRAINT object_role_check;
ALTER TABLE object ADD CONSTRAINT object_role_check
    CHECK (role IN ('original', 'rendition', 'manifest', 'seal', 'seal-mldsa65', 'record', 'evidence', 'batch',
        'revocation', 'segment', 'ledger'));

-- An entry says its time in whole seconds: the column that is searched says no other.
ALTER TABLE journal_event DISABLE TRIGGER journal_only_grows;
UPDATE journal_event SET at = date_trunc('second', at) WHERE at <> date_trunc('second', at);
ALTER TABLE journal_event ENABLE TRIGGER journal_only_grows;
