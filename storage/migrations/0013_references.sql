-- Every delivery asks who had its reference before, ended deposits included: the unique index knows only live ones.
CREATE INDEX deposit_by_reference ON deposit (safe, reference);
