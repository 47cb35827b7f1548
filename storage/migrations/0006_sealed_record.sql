-- Manifest and seals of a document are one stored object, its record (docs/format/record-v1.md).
ALTER TABLE object DROP CONSTRAINT object_role_check;
ALTER TABLE object ADD CONSTRAINT object_role_check
    CHECK (role IN ('original', 'rendition', 'record', 'manifest', 'seal', 'seal-mldsa65', 'evidence', 'batch',
                    'revocation'));
