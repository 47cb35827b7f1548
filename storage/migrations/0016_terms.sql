-- A term may run from an event (the end of a contract, of an activity) that is not known when the document arrives.
ALTER TABLE lifecycle_class
    ADD COLUMN active_years int NOT NULL DEFAULT 0,     -- of `years`; the rest is the intermediate period
    ADD COLUMN starts text NOT NULL DEFAULT 'deposit' CHECK (starts IN ('deposit', 'event')),
    ADD CONSTRAINT lifecycle_class_active CHECK (active_years BETWEEN 0 AND years);

-- `retain_until` is sealed with the document and never moves; an event declared later only adds to it.
ALTER TABLE deposit
    ADD COLUMN extended_until timestamptz CHECK (extended_until >= retain_until);

CREATE TABLE term_start (
    archive_id  uuid PRIMARY KEY REFERENCES deposit,
    event_on    date NOT NULL,
    reason      text NOT NULL,
    declared_by text NOT NULL,
    declared_at timestamptz NOT NULL
);
SELECT keep_in_ledger('term_start');
