-- Catalogue and journal of one instance. Numbered migrations only go forward; storage/database.py applies them.

CREATE TABLE safe (
    name        text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    title       text NOT NULL,
    recipient   text NOT NULL,          -- age recipients that document keys are wrapped for:
    escrow      text NOT NULL,          -- the safe's own, and the escrow's
    created_at  timestamptz NOT NULL
);

CREATE TABLE lifecycle_class (
    name        text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    title       text NOT NULL,
    years       integer NOT NULL CHECK (years BETWEEN 1 AND 100),
    disposition text NOT NULL CHECK (disposition IN ('keep', 'sort', 'destroy'))
);

CREATE TABLE deposit (
    archive_id   uuid PRIMARY KEY,
    safe         text NOT NULL REFERENCES safe,
    class        text NOT NULL REFERENCES lifecycle_class,
    reference    text NOT NULL,
    dossier      text NOT NULL,
    depositor    text NOT NULL,
    name         text NOT NULL,
    metadata     jsonb NOT NULL,
    state        text NOT NULL CHECK (state IN ('RECEIVED', 'SCREENED', 'RENDERED', 'SEALED', 'STAMPED', 'STORED',
                     'COMMITTED', 'LOCKED', 'ARCHIVED', 'REFUSED', 'ABANDONED')),
    received_at  timestamptz NOT NULL,
    sha256       text,                  -- of the original as captured; null when no bytes came
    sha3_512     text,
    size         bigint,
    screening    jsonb,
    rendition    jsonb,
    retain_until timestamptz,
    manifest     bytea,                 -- stored and signed bytes: never serialised again
    seal         bytea,
    evidence     bytea,
    token_id     uuid,
    refusal_code text,
    refusal_en   text,
    refusal_fr   text,
    CHECK ((state = 'REFUSED') = (refusal_code IS NOT NULL))
);
-- Sent twice = same deposit. A refused or abandoned delivery does not block a corrected one.
CREATE UNIQUE INDEX deposit_reference ON deposit (safe, reference) WHERE state NOT IN ('REFUSED', 'ABANDONED');
CREATE INDEX deposit_digest ON deposit (sha256);
CREATE INDEX deposit_state ON deposit (state) WHERE state NOT IN ('ARCHIVED', 'REFUSED', 'ABANDONED');

CREATE TABLE token (                    -- one RFC 3161 token per batch, kept before it is used
    token_id   uuid PRIMARY KEY,
    gen_time   timestamptz NOT NULL,
    serial     text NOT NULL,          -- decimal; up to 160 bits
    root       bytea NOT NULL,
    token      bytea NOT NULL,
    tsa        text NOT NULL,
    UNIQUE (tsa, serial)               -- RFC 3161 §2.4.2: an authority never gives a serial twice
);

CREATE TABLE document_key (             -- outside the lock: destroying it erases the document
    archive_id uuid PRIMARY KEY REFERENCES deposit,
    recipient  text NOT NULL,           -- public half: what the objects are encrypted to
    wrapped    bytea NOT NULL           -- age file for the safe's recipients
);

CREATE TABLE object (
    archive_id uuid NOT NULL REFERENCES deposit,
    role       text NOT NULL CHECK (role IN ('original', 'rendition', 'manifest', 'seal', 'evidence')),
    key        text NOT NULL,
    sha256     text NOT NULL,           -- of the stored, encrypted bytes: sweeps need no key
    sha3_512   text NOT NULL,
    size       bigint NOT NULL,
    PRIMARY KEY (archive_id, role)
);

CREATE TABLE replica_copy (
    archive_id  uuid NOT NULL,
    role        text NOT NULL,
    replica     text NOT NULL,
    version_id  text NOT NULL,
    locked_until timestamptz,           -- null until the term and the hold were verified on the store
    checked_at  timestamptz NOT NULL,   -- last time every byte was read back and compared
    health      text NOT NULL CHECK (health IN ('good', 'damaged')),
    PRIMARY KEY (archive_id, role, replica),
    FOREIGN KEY (archive_id, role) REFERENCES object
);
CREATE INDEX replica_copy_checked ON replica_copy (checked_at);

CREATE TABLE journal_event (
    event_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event      text NOT NULL,
    archive_id uuid,
    at         timestamptz NOT NULL,
    entry      bytea NOT NULL,          -- canonical bytes
    leaf       bytea NOT NULL,          -- RFC 6962 leaf hash, written in the business transaction
    seq        bigint UNIQUE,           -- given by the sequencer to committed rows only
    chain      bytea
);
CREATE INDEX journal_event_archive ON journal_event (archive_id);
CREATE INDEX journal_event_unsequenced ON journal_event (event_id) WHERE seq IS NULL;

CREATE TABLE journal_checkpoint (
    size       bigint PRIMARY KEY,
    root       bytea NOT NULL,
    note       text NOT NULL,
    at         timestamptz NOT NULL
);

CREATE TABLE outbox (                   -- attestations to deliver; redelivery sends the same bytes
    archive_id uuid PRIMARY KEY REFERENCES deposit,
    body       bytea NOT NULL,
    seal       bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE replica (                  -- stores that were made once: a missing one is never made again by itself
    name       text PRIMARY KEY,
    spec       text NOT NULL,
    made_at    timestamptz NOT NULL
);

CREATE TABLE store_probe (              -- the canary's last answer per replica: deposits rest on it for a day
    replica    text PRIMARY KEY,
    at         timestamptz NOT NULL,
    ok         boolean NOT NULL,
    report     jsonb NOT NULL
);

CREATE TABLE batch (
    feed       text NOT NULL,
    name       text NOT NULL,
    bordereau  text NOT NULL,           -- SHA-256 of the manifest file: a changed manifest is a new delivery
    taken_at   timestamptz NOT NULL,
    report     jsonb NOT NULL,
    PRIMARY KEY (feed, name, bordereau)
);

CREATE TABLE sweep (
    sweep_id   uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    report     jsonb
);

-- The journal only grows, and an entry never changes once it has a number.
CREATE FUNCTION journal_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.seq IS NOT NULL
       OR NEW.entry IS DISTINCT FROM OLD.entry OR NEW.leaf IS DISTINCT FROM OLD.leaf THEN
        RAISE EXCEPTION 'journal entries are neither changed nor deleted';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journal_only_grows BEFORE UPDATE OR DELETE ON journal_event
    FOR EACH ROW EXECUTE FUNCTION journal_only_grows();
