-- Sealing keys, each use of them counted, and the second seal.

CREATE TABLE seal_key (
    certificate_sha256 text PRIMARY KEY CHECK (certificate_sha256 ~ '^[0-9a-f]{64}$'),
    kind        text NOT NULL CHECK (kind IN ('seal', 'seal-mldsa65')),
    certificate bytea NOT NULL,         -- DER: old proofs are read with the certificates of their time
    active_from timestamptz NOT NULL,
    retired_at  timestamptz,
    revoked_at  timestamptz,
    reason      text,                   -- RFC 5280 §5.3.1, by its name
    uses        bigint NOT NULL DEFAULT 0 CHECK (uses >= 0),    -- numbers given, before each signature
    CHECK ((revoked_at IS NULL) = (reason IS NULL))
);
CREATE UNIQUE INDEX seal_key_active ON seal_key (kind) WHERE retired_at IS NULL AND revoked_at IS NULL;

CREATE TABLE seal_use (                 -- a number given to an act that is not in the journal: not yet, or it did not end
    certificate_sha256 text NOT NULL REFERENCES seal_key,
    number      bigint NOT NULL,
    act         text NOT NULL,
    archive_id  uuid,
    reserved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (certificate_sha256, number)
);

-- A count never goes back, and a key never leaves the list.
CREATE FUNCTION seal_key_only_counts_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.uses < OLD.uses OR NEW.certificate_sha256 <> OLD.certificate_sha256
       OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at) THEN
        RAISE EXCEPTION 'a sealing key is neither forgotten, counted down nor reinstated';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER seal_key_only_counts_up BEFORE UPDATE OR DELETE ON seal_key
    FOR EACH ROW EXECUTE FUNCTION seal_key_only_counts_up();

ALTER TABLE deposit ADD COLUMN second_seal bytea;
