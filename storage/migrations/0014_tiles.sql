-- Hash tiles of the journal's tree (C2SP tlog-tiles, height 8): whole ones only, made once, never changed.
CREATE TABLE journal_tile (
    level  smallint NOT NULL CHECK (level >= 0),
    number bigint NOT NULL CHECK (number >= 0),
    hashes bytea NOT NULL CHECK (length(hashes) = 8192),     -- 256 of 32 octets
    root   bytea NOT NULL CHECK (length(root) = 32),         -- over them
    PRIMARY KEY (level, number)
);
