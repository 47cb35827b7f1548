-- Whose key this is: asked for every version that a store lists, each night.

CREATE INDEX object_key ON object (key);
