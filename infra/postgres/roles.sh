#!/bin/sh
# First start of the database: one role for the archive, one for Prefect, each with its own database and nothing else.
# CREATEDB: the archive makes and drops a database of its own for the monthly exit rehearsal.
set -eu
archive=$(cat /run/secrets/postgres_archive)
prefect=$(cat /run/secrets/postgres_prefect)
psql -v ON_ERROR_STOP=1 -v archive="$archive" -v prefect="$prefect" --username postgres <<'SQL'
CREATE ROLE minutier LOGIN CREATEDB PASSWORD :'archive';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE DATABASE minutier OWNER minutier;
CREATE DATABASE prefect OWNER prefect;
REVOKE CONNECT ON DATABASE minutier, prefect, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE minutier TO minutier;
GRANT CONNECT ON DATABASE prefect TO prefect;
SQL
