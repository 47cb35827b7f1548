-- What was shipped to the supervision: each bundle is made once, and sent again as the same bytes until it is acknowledged.
CREATE TABLE trace_bundle (
    number          bigint PRIMARY KEY CHECK (number > 0),
    kind            text NOT NULL CHECK (kind IN ('nightly', 'heartbeat')),
    first_seq       bigint NOT NULL,
    last_seq        bigint NOT NULL CHECK (last_seq >= first_seq - 1),
    chain           bytea NOT NULL,     -- chain value after last_seq
    sha256          text NOT NULL,
    made_at         timestamptz NOT NULL,
    body            bytea,              -- until it is acknowledged
    acknowledged_at timestamptz,
    note            text,               -- the checkpoint with the cosignature of the supervision
    CHECK ((body IS NULL) = (acknowledged_at IS NOT NULL) AND (note IS NULL) = (acknowledged_at IS NULL))
);
