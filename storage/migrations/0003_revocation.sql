-- What says that a token's certificates were not revoked, kept with the token; and why a sealed deposit waits.

CREATE TABLE token_revocation (
    token_id    uuid NOT NULL REFERENCES token,
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    kind        text NOT NULL CHECK (kind IN ('crl', 'ocsp')),
    moment      text NOT NULL CHECK (moment IN ('before', 'after')),  -- made before genTime, or at or after it
    captured_at timestamptz NOT NULL,
    data        bytea NOT NULL,         -- DER, as it came
    PRIMARY KEY (token_id, sha256)
);

-- open: not every certificate is covered by data made at or after genTime yet. too-late: it never will be.
ALTER TABLE token ADD COLUMN revocation_state text NOT NULL DEFAULT 'open'
    CHECK (revocation_state IN ('open', 'confirmed', 'revoked', 'too-late'));
CREATE INDEX token_revocation_open ON token (gen_time) WHERE revocation_state = 'open';

CREATE TABLE deposit_wait (             -- sealed, and no time-stamp could be had: not archived
    archive_id uuid PRIMARY KEY REFERENCES deposit,
    code       text NOT NULL,
    reason     text NOT NULL,
    since      timestamptz NOT NULL,    -- first refusal or silence
    tried_at   timestamptz NOT NULL     -- last one
);
