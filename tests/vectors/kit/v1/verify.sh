#!/bin/sh
# Checks this proof offline with openssl (3.0 or later) and coreutils. Run it inside the unzipped folder:
#     sh verify.sh [ROOT.pem]
# ROOT.pem is the root certificate that you obtained and checked yourself. Without it the one in this folder is
# used: then nothing says who made the proof until you compare the fingerprint printed at the end.
# Exit: 0 every check held under the root that you gave, 1 one did not hold, 3 every check held but nothing says
# yet whose root it is. The signature of the journal's checkpoint is checked by `python -m minutier verify`, not here.
set -eu
set -f
umask 077
LC_ALL=C
export LC_ALL
unset OPENSSL_CONF OPENSSL_MODULES SSL_CERT_FILE SSL_CERT_DIR CDPATH

fail() {
    echo "FAILED: $1" >&2
    exit 1
}
ok() {
    held=$((held + 1))
    echo "ok $held/8  $1"
}
sha256() {
    set -- "$(openssl dgst -sha256 -r <"$1")"
    echo "${1%% *}"
}
hash_hex() { # SHA-256 of bytes given in lower-case hexadecimal
    set -- "$(printf %s "$1" | tr a-f A-F | basenc -d --base16 | openssl dgst -sha256 -r)"
    echo "${1%% *}"
}
seconds() { # of a date as openssl prints it
    date -u -d "$1" +%s || fail "a date is not readable"
}
is_hex() { # of 64 characters
    case $1 in *[!0-9a-f]*) return 1 ;; esac
    test "${#1}" -eq 64
}
is_number() {
    case $1 in "" | *[!0-9]* | 0?*) return 1 ;; esac
    test "${#1}" -le 15
}

held=0
root=certificates/root.pem
given=no
if test $# -gt 0; then
    root=$1
    given=yes
fi
case $root in -*) root=./$root ;; esac
test -f "$root" && test -r "$root" || fail "the root certificate cannot be read"
for name in proof.json manifest.json manifest.json.p7s path.txt token.tst evidence.ers; do
    test -f "$name" || fail "$name is missing: run this inside the unzipped folder"
done
work=$(mktemp -d) || fail "no temporary directory"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# Only what is printed at the end may be trusted: each certificate of the file, with its fingerprint.
fingerprints='' certificate=''
: >"$work/root.pem"
while read -r line; do
    case $line in *"BEGIN CERTIFICATE"*) certificate='' ;; esac
    certificate="$certificate$line
"
    case $line in *"END CERTIFICATE"*) ;; *) continue ;; esac
    printf %s "$certificate" | openssl x509 >"$work/one.pem" 2>/dev/null || fail "the root is not a PEM certificate"
    cat "$work/one.pem" >>"$work/root.pem"
    one=$(openssl x509 -in "$work/one.pem" -noout -fingerprint -sha256)
    fingerprints="$fingerprints ${one#*=}"
done <"$root"
test -n "$fingerprints" || fail "the root is not a PEM certificate"

# 1. Every file is the one listed in proof.json, and proof.json says nothing else.
index=$(cat proof.json)
manifest=$(cat manifest.json)
rest=${manifest#'{"archive_id":"'}
id=${rest%%'"'*}
case $id in "" | *[!0-9a-f-]*) fail "manifest.json does not name a document" ;; esac
rest=${index#"{\"archive_id\":\"$id\",\"files\":["}
test "$rest" != "$index" || fail "proof.json is about another document than manifest.json"
rebuilt="{\"archive_id\":\"$id\",\"files\":["
original='' rendition='' crls='' separator=''
while test "${rest#]}" = "$rest"; do
    rest=${rest#"$separator"'{"path":"'}
    path=${rest%%'"'*}
    rest=${rest#"$path"'","sha256":"'}
    digest=${rest%%'"'*}
    rest=${rest#"$digest"'","size":'}
    size=${rest%%'}'*}
    rest=${rest#"$size"'}'}
    case $path in
        "" | *[!A-Za-z0-9._/-]* | -* | /* | .* | *..* | */-* | */.* | */*/*) fail "proof.json names an unsafe path" ;;
        document/rendition.pdf) rendition=$path ;;
        document/original*)
            test -z "$original" || fail "proof.json names two originals"
            original=$path
            ;;
        document/*) fail "$path has no place in a proof" ;;
        revocation/*.crl) crls="$crls $path" ;;
    esac
    is_hex "$digest" && is_number "$size" || fail "proof.json is malformed"
    test -f "$path" || fail "$path is missing"
    test "$(sha256 "$path")" = "$digest" && test "$(wc -c <"$path" | tr -d ' ')" = "$size" || fail "$path was altered"
    rebuilt="$rebuilt$separator{\"path\":\"$path\",\"sha256\":\"$digest\",\"size\":$size}"
    separator=,
    case $rest in ",{"* | "]"*) ;; *) fail "proof.json is malformed" ;; esac
done
printf '%s],"format":"minutier-proof/1"}' "$rebuilt" >"$work/index"
test "$(sha256 "$work/index")" = "$(sha256 proof.json)" || fail "proof.json is not in its only form"
test -n "$original" || fail "there is no original document"
set +f
for path in document/*; do
    test "$path" = "$original" || test "$path" = "$rendition" || fail "the folder document holds a file that is not listed"
done
set -f
ok "every file is the one listed in proof.json"

# 2. The manifest describes these documents (SHA-256, SHA3-512, size).
described() {
    second=$(openssl dgst -sha3-512 -r <"$2")
    size=$(wc -c <"$2" | tr -d ' ')
    wanted="\"role\":\"$1\",\"sha256\":\"$(sha256 "$2")\",\"sha3_512\":\"${second%% *}\",\"size\":$size}"
    case $manifest in *"$wanted"*) ;; *) fail "manifest.json does not describe $2" ;; esac
}
described original "$original"
if test -n "$rendition"; then described rendition "$rendition"; fi
ok "manifest.json describes the document"

# 3. The evidence is about exactly these files, and leads to one value.
members=$(for name in "$original" $rendition manifest.json manifest.json.p7s; do sha256 "$name"; done | sort)
members=$(echo $members)
value=''
while read -r line; do
    case $line in *[!0-9a-f\ ]*) fail "path.txt is malformed" ;; esac
    if test -z "$value"; then
        test "$line" = "$members" || fail "the evidence is about other files"
    else
        is_hex "$line" || fail "path.txt is malformed"
    fi
    joined=$(for hash in $value $line; do echo "$hash"; done | sort | tr -d '\n')
    value=$(hash_hex "$joined")
done <path.txt
is_hex "$value" || fail "path.txt is empty"
length=$(wc -c <token.tst | tr -d ' ')
test "$(tail -c "$length" evidence.ers | openssl dgst -sha256 -r)" = "$(openssl dgst -sha256 -r <token.tst)" ||
    fail "token.tst is not the token of evidence.ers"
ok "the evidence is about these files"

# 4. The time-stamp token is about that value, under the root, at its own time.
openssl ts -reply -token_in -in token.tst -token_out -text >"$work/token" 2>/dev/null || fail "token.tst is not readable"
time=''
while read -r line; do
    case $line in "Time stamp: "*) time=${line#"Time stamp: "} ;; esac
done <"$work/token"
case $time in "" | *[!A-Za-z0-9:.\ ]*) fail "token.tst has no time" ;; esac
moment=$(seconds "$time")
test "$moment" -le $(($(date +%s) + 300)) || fail "the token is in the future: check the clock of this computer"
cat certificates/tsa.pem certificates/seal.pem >"$work/chain.pem"
openssl ts -verify -digest "$value" -token_in -in token.tst -CAfile "$work/root.pem" -untrusted "$work/chain.pem" \
    -attime "$moment" >/dev/null 2>&1 || fail "the time-stamp does not verify under this root"
ok "time-stamp token verified"

# 5. The seal is over the manifest, under the root, at the time of the token.
seal_at() { # CAfile, time, options
    seal_ca=$1 seal_time=$2
    shift 2
    openssl cms -verify -binary -inform DER -in manifest.json.p7s -content manifest.json -CAfile "$seal_ca" \
        -no-CApath -no-CAstore -certfile "$work/chain.pem" -attime "$seal_time" "$@" -out "$work/sealed" 2>/dev/null
}
token_at() {
    token_ca=$1 token_time=$2
    shift 2
    openssl cms -verify -inform DER -in token.tst -purpose timestampsign -CAfile "$token_ca" \
        -no-CApath -no-CAstore -certfile "$work/chain.pem" -attime "$token_time" "$@" -out "$work/info" 2>/dev/null
}
seal_at "$work/root.pem" "$moment" || fail "the seal does not verify under this root"
test "$(sha256 "$work/sealed")" = "$(sha256 manifest.json)" || fail "the seal is over another manifest"
ok "seal verified"

# 6. The token's certificate is for time-stamping alone.
token_at "$work/root.pem" "$moment" || fail "the token's certificate is not for time-stamping"
ok "certificate of the time-stamp authority verified"

# 7. Neither certificate was revoked, by the lists kept with the proof.
later=$moment
cat "$work/root.pem" >"$work/lists.pem"
test -n "$crls" || fail "there is no revocation list"
for crl in $crls; do
    openssl crl -inform DER -in "$crl" >>"$work/lists.pem" 2>/dev/null || fail "$crl is not readable"
    issued=$(openssl crl -inform DER -in "$crl" -noout -lastupdate)
    issued=$(seconds "${issued#lastUpdate=}")
    if test "$issued" -gt "$later"; then later=$issued; fi
done
seal_at "$work/lists.pem" "$later" -crl_check || fail "the seal's certificate is revoked, or no list covers it"
token_at "$work/lists.pem" "$later" -crl_check || fail "the token's certificate is revoked, or no list covers it"
ok "neither certificate is revoked"

# 8. The journal entry commits this manifest, and is in the tree of the checkpoint.
entry=$(cat journal/entry.json)
case $entry in *"\"manifest_sha256\":\"$(sha256 manifest.json)\""*) ;; *) fail "the journal commits another manifest" ;; esac
case $entry in *'"event":"deposit:committed"'*) ;; *) fail "the journal entry is not that of a commit" ;; esac
case $entry in '{"actor":"'*"\"archive_id\":\"$id\",\"at\":\""*) ;; *) fail "the journal names another document" ;; esac
rest=$(cat journal/inclusion.json)
rest=${rest#'{"format":"minutier-inclusion/1","index":'}
node=${rest%%,*}
rest=${rest#"$node"',"path":['}
hashes=${rest%%']'*}
rest=${rest#"$hashes"'],"root":"'}
expected=${rest%%'"'*}
rest=${rest#"$expected"'","size":'}
size=${rest%'}'}
is_number "$node" && is_number "$size" && is_hex "$expected" || fail "journal/inclusion.json is malformed"
case $hashes in *[!0-9a-f\",]*) fail "journal/inclusion.json is malformed" ;; esac
test "$node" -lt "$size" || fail "journal/inclusion.json is malformed"
last=$((size - 1))
leaf=$({ printf '\000'; cat journal/entry.json; } | openssl dgst -sha256 -r)
leaf=${leaf%% *}
for hash in $(echo "$hashes" | tr -d '"' | tr , ' '); do
    is_hex "$hash" && test "$last" -gt 0 || fail "journal/inclusion.json is malformed"
    if test $((node & 1)) -eq 1 || test "$node" -eq "$last"; then
        leaf=$(hash_hex "01$hash$leaf")
        while test $((node & 1)) -eq 0 && test "$node" -gt 0; do
            node=$((node >> 1)) last=$((last >> 1))
        done
    else
        leaf=$(hash_hex "01$leaf$hash")
    fi
    node=$((node >> 1)) last=$((last >> 1))
done
test "$last" -eq 0 && test "$leaf" = "$expected" || fail "the journal entry is not in the journal"
encoded=$(printf %s "$expected" | tr a-f A-F | basenc -d --base16 | basenc --base64 -w0)
{
    read -r origin && read -r total && read -r encoded_root || fail "journal/checkpoint.txt is malformed"
} <journal/checkpoint.txt
test "$total" = "$size" && test "$encoded_root" = "$encoded" || fail "the checkpoint is for another journal"
test -n "$origin" || fail "journal/checkpoint.txt is malformed"
ok "the journal entry commits this manifest"

test "$held" -eq 8 || fail "a check was skipped"
echo
for one in $fingerprints; do echo "Root certificate, SHA-256: $one"; done
date=$(date -u -d "@$moment" +%Y-%m-%dT%H:%M:%SZ)
if test "$given" = yes; then
    echo "PASSED under the root certificate that you gave: document $id existed, as it is here, on $date."
else
    echo "CONSISTENT, NOT YET A PROOF that document $id existed on $date:"
    echo "the root certificate used came with these files. Compare its SHA-256 above with the one that the archive"
    echo "publishes, then run: sh verify.sh ROOT.pem"
    exit 3
fi
