#!/usr/bin/env bash
# The baseline of benchmarks/deposit.py: what a careful administrator would script with ordinary tools.
#
#   baseline_deposit.sh WORK DATABASE_URL FILE...
#
# For each document: both digests (openssl dgst), a signed manifest (openssl cms), a time stamp that is verified
# (openssl ts, its own authority, no network), two copies synced and compared, one row in PostgreSQL.
# WORK holds seal.pem seal.key tsa.pem tsa.key root.pem and receives a/ and b/. PSQL names the psql program.
#
# SERVICE=whole adds what Minutier does besides and ordinary tools can do: a PDF/A-2 rendition that is checked
# (ocrmypdf, named by OCRMYPDF, without recognition of text), a key per document, original and rendition encrypted to
# it (age-keygen, age), the keys kept, and a line chained to the one before it in a journal.
set -euo pipefail

work=$1 database=$2 service=${SERVICE:-short}
shift 2
psql=${PSQL:-psql}

mkdir -p "$work/a" "$work/b" "$work/t" "$work/keys"
touch "$work/journal"
# Two scripts may run at once: each has an authority of its own.
authority=$work/tsa.$$.cnf
echo 01 >"$work/serial.$$"
cat >"$authority" <<CONFIGURATION
[tsa]
default_tsa = here
[here]
serial = $work/serial.$$
signer_digest = sha256
default_policy = 2.999.3161
digests = sha256
ess_cert_id_alg = sha256
CONFIGURATION

run() { "$psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$database" "$@"; }

run --command "SET client_min_messages = warning; CREATE TABLE IF NOT EXISTS baseline
    (reference text PRIMARY KEY, sha256 text NOT NULL, sha3_512 text NOT NULL, size bigint NOT NULL,
     manifest text NOT NULL, archived_at timestamptz NOT NULL DEFAULT now())"

# Gives $original and $rendition, encrypted, and a line in the journal.
protect() {
    "$OCRMYPDF" --quiet --mode skip --ocr-engine none --output-type pdfa-2 --pdfa-backend internal --optimize 0 -j 1 \
        "$file" "$t.pdfa"
    age-keygen -o "$t.key" 2>/dev/null
    recipient=$(sed -n 's/^# public key: //p' "$t.key")
    original=$t.age rendition=$t.pdfa.age
    age -r "$recipient" -o "$original" "$file"
    age -r "$recipient" -o "$rendition" "$t.pdfa"
    cp "$t.key" "$work/keys/$name" && sync "$work/keys/$name" "$work/keys"
    last=$(tail -n 1 "$work/journal" | openssl dgst -sha256 -r)
    printf '%s archived %s %s\n' "${last%% *}" "$name" "$sha256" >>"$work/journal" && sync "$work/journal"
}

for file in "$@"; do
    name=${file##*/}
    t=$work/t/$name
    sha256=$(openssl dgst -sha256 -r "$file" | cut -d' ' -f1)
    sha3=$(openssl dgst -sha3-512 -r "$file" | cut -d' ' -f1)
    size=$(stat -c %s "$file")
    printf '{"reference":"%s","sha256":"%s","sha3-512":"%s","size":%s}\n' "$name" "$sha256" "$sha3" "$size" >"$t.json"

    openssl cms -sign -binary -md sha256 -cades -signer "$work/seal.pem" -inkey "$work/seal.key" \
        -in "$t.json" -outform DER -out "$t.p7s"

    cat "$t.json" "$t.p7s" >"$t.group"
    openssl ts -query -data "$t.group" -sha256 -cert -out "$t.tsq" 2>/dev/null
    openssl ts -reply -config "$authority" -queryfile "$t.tsq" -signer "$work/tsa.pem" -inkey "$work/tsa.key" \
        -out "$t.tsr" 2>/dev/null
    openssl ts -verify -queryfile "$t.tsq" -in "$t.tsr" -CAfile "$work/root.pem" >/dev/null 2>&1

    original=$file rendition=
    [ "$service" = short ] || protect

    for place in a b; do
        folder=$work/$place/$name
        mkdir "$folder"
        cp "$original" "$folder/original"
        [ -z "$rendition" ] || { cp "$rendition" "$folder/rendition" && sync "$folder/rendition"; }
        cp "$t.json" "$folder/manifest.json"
        cp "$t.p7s" "$folder/manifest.p7s"
        cp "$t.tsr" "$folder/token.tsr"
        sync "$folder/original" "$folder/manifest.json" "$folder/manifest.p7s" "$folder/token.tsr" \
            "$folder" "$work/$place"
        cmp "$original" "$folder/original"
        [ -z "$rendition" ] || cmp "$rendition" "$folder/rendition"
    done

    run --set reference="$name" --set sha256="$sha256" --set sha3="$sha3" --set size="$size" \
        --set manifest="$(<"$t.json")" <<'SQL'
INSERT INTO baseline (reference, sha256, sha3_512, size, manifest)
    VALUES (:'reference', :'sha256', :'sha3', :size, :'manifest')
SQL
    rm "$t".*
done
