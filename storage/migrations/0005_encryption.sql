-- Safes whose keys their clients hold, blind deposits, and rotation of the keys that document keys are wrapped for.

CREATE TABLE safe_recipient (           -- age recipients that the document keys of a safe are wrapped for
    safe      text NOT NULL REFERENCES safe,
    recipient text NOT NULL,
    holder    text NOT NULL CHECK (holder IN ('host', 'client', 'escrow')),
    PRIMARY KEY (safe, recipient)
);
INSERT INTO safe_recipient (safe, recipient, holder) SELECT name, recipient, 'host' FROM safe;
INSERT INTO safe_recipient (safe, recipient, holder) SELECT name, escrow, 'escrow' FROM safe ON CONFLICT DO NOTHING;
ALTER TABLE safe DROP COLUMN recipient, DROP COLUMN escrow;

-- In a blind class the depositor encrypts, and nothing here reads the content.
ALTER TABLE lifecycle_class ADD COLUMN mode text NOT NULL DEFAULT 'managed' CHECK (mode IN ('managed', 'blind'));

-- Id of the set of recipients that a key is wrapped for (storage/safes.py); empty for keys wrapped before this column.
ALTER TABLE document_key ADD COLUMN wrapped_for text NOT NULL DEFAULT '';

CREATE TABLE blind_statement (          -- of a blind deposit, as the depositor wrote it
    archive_id uuid PRIMARY KEY REFERENCES deposit,
    statement  bytea NOT NULL
);
