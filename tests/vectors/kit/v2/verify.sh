#!/bin/sh
# Checks this proof offline with openssl (3.0 or later) and coreutils. Run it inside the unzipped folder:
#     sh verify.sh [ROOT.pem [JOURNAL.vkey]]
# ROOT.pem is the root certificate, and JOURNAL.vkey the journal's key, that you obtained and checked yourself.
# Without a root the one in this folder is used: then nothing says who made the proof until you compare the fingerprint
# printed at the end. Without the journal's key nothing says who kept the journal. Either way there is no PASSED.
# A file journal.vkey beside your ROOT.pem, as in the directory of anchors that the archive gives, is taken for the key.
#
# The nine steps are those of the other two verifiers, `python3 verify.py` and `python -m minutier verify`:
#  1. the container                         (not looked at here: the folder is unzipped)
#  2. every file is the one listed in proof.json
#  3. the manifest describes the document
#  4. the seal is over the manifest, by a certificate good at the time of the first token
#  5. the evidence record leads from exactly these files to the tokens; it is written again here, byte for byte
#  6. each time-stamp token is good at its own time, and each renewal came in time
#  7. the journal entry commits this manifest and is in the tree of the checkpoint
#  8. the checkpoint is signed by the journal's key   (without JOURNAL.vkey this cannot be judged)
#  9. what comes along: second seal, statement, anchor
#
# Exit: 0 PASSED, every check held under the root and the key that you gave; 1 FAILED, one did not hold;
# 3 INDETERMINATE, no check failed, but something that is needed to judge is missing, and it is said what;
# 2 NOT CHECKED, the command was misused or a tool is missing: nothing is said about the proof.
set -eu
set -f
umask 077
LC_ALL=C
export LC_ALL
unset OPENSSL_MODULES SSL_CERT_FILE SSL_CERT_DIR CDPATH
OPENSSL_CONF=/dev/null # no setting of this computer has a say
export OPENSSL_CONF

fail() { # the verdict goes where the steps go, so that a log of the output has both
    echo "FAILED: $1"
    exit 1
}
misuse() { # nothing is said about the proof: what was given to judge it by, or a tool, is not usable
    echo "NOT CHECKED: $1" >&2
    echo "usage, inside the unzipped folder: sh verify.sh [ROOT.pem [JOURNAL.vkey]]" >&2
    exit 2
}
doubt() { # something is missing to judge: no failure, and no proof yet
    doubts="$doubts
  - $1"
}
ok() {
    held=$((held + 1))
    echo "ok $held/9  $1"
}
not_here() {
    held=$((held + 1))
    echo "-- $held/9  $1"
}
digest() { # ALGORITHM FILE, in lower-case hexadecimal
    set -- "$(openssl dgst -"$1" -r <"$2")"
    echo "${1%% *}"
}
hash_hex() { # ALGORITHM BYTES, bytes given in lower-case hexadecimal
    set -- "$(printf %s "$2" | tr a-f A-F | basenc -d --base16 | openssl dgst -"$1" -r)"
    echo "${1%% *}"
}
hex_of() { # FILE
    basenc --base16 -w0 <"$1" | tr A-F a-f
}
size_of() {
    wc -c <"$1" | tr -d ' '
}
der() { # TAG CONTENT, in hexadecimal: one DER element with its minimal length (X.690 §8.1.3)
    length=$((${#2} / 2))
    if test "$length" -lt 128; then printf '%s%02x%s' "$1" "$length" "$2"
    elif test "$length" -lt 256; then printf '%s81%02x%s' "$1" "$length" "$2"
    elif test "$length" -lt 65536; then printf '%s82%04x%s' "$1" "$length" "$2"
    else printf '%s83%06x%s' "$1" "$length" "$2"
    fi
}
seconds() { # of a date as openssl prints it
    date -u -d "$1" +%s 2>/dev/null
}
utc() {
    date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ
}
is_hex() { # HEX LENGTH
    case $1 in *[!0-9a-f]*) return 1 ;; esac
    test "${#1}" -eq "$2"
}
is_number() {
    case $1 in "" | *[!0-9]* | 0?*) return 1 ;; esac
    test "${#1}" -le 15
}
sorted() { # words, one blank between
    set -- $(for word in "$@"; do echo "$word"; done | sort)
    echo "$*"
}

held=0 doubts='' rests=''
root=certificates/root.pem
given=no
case ${1-} in -h | --help) misuse "this is how it is used" ;; esac
test $# -le 2 || misuse "there are more than two arguments"
found=no
for name in proof.json manifest.json evidence.ers; do
    if test -f "$name"; then found=yes; fi
done
test "$found" = yes || misuse "this is not the folder of a proof: unzip the proof, and run this inside the folder"
if test $# -gt 0; then
    root=$1
    given=yes
    case $root in -*) root=./$root ;; esac
    test -f "$root" && test -r "$root" || misuse "the root certificate $1 cannot be read: check its name and its place"
fi
key=${2-}
case $key in -*) key=./$key ;; esac
if test $# -eq 2; then
    test -f "$key" && test -r "$key" || misuse "the journal's key $2 cannot be read: check its name and its place"
fi
if test $# -eq 1; then
    here=$(pwd -P)
    case $root in */*) place=$(cd -- "${root%/*}/" && pwd -P) ;; *) place=$here ;; esac
    case $place/ in
        "$here"/*) ;; # in the folder of the proof: what comes with it is never an anchor
        *)
            if test -f "$place/journal.vkey" && test -r "$place/journal.vkey"; then
                key=$place/journal.vkey
                echo "   the journal's key is taken from beside your root: $key"
            fi
            ;;
    esac
fi
for name in proof.json manifest.json manifest.json.p7s path.txt token.tst evidence.ers "$root"; do
    test -f "$name" || fail "$name is missing"
done
command -v basenc >"/dev/null" || misuse "the command basenc is missing (coreutils 8.31 or later)"
said=$(openssl version) || misuse "the command openssl is missing"
case $said in *"Library: "*) said=${said#*Library: } ;; esac
set -- $said
version=${2-0.0}
major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
is_number "$major" && is_number "$minor" && test "$major" -ge 3 ||
    misuse "openssl 3.0 or later is needed, this is: $said"
work=$(mktemp -d) || misuse "no temporary directory can be made"
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM
# Only what is printed at the end may be trusted: each certificate of the file, with its fingerprint.
certificates=0
split() { # PEM NAME: each certificate of a file in a file of its own, certificate.1, certificate.2, …
    certificate=''
    while read -r line; do
        case $line in *"BEGIN CERTIFICATE"*) certificate='' ;; esac
        certificate="$certificate$line
"
        case $line in *"END CERTIFICATE"*) ;; *) continue ;; esac
        certificates=$((certificates + 1))
        printf %s "$certificate" | openssl x509 >"$work/certificate.$certificates" 2>/dev/null ||
            no_certificate "$1" "$2"
    done <"$1"
}
no_certificate() { # FILE NAME: a file of yours was mistaken for another, or one of the proof does not hold
    if test "$given$1" = "yes$root"; then misuse "$2 is not a PEM certificate: give the root certificate first"; fi
    fail "$2 is not a PEM certificate"
}
split "$root" "the root $root"
test "$certificates" -gt 0 || no_certificate "$root" "the root $root"
: >"$work/root.pem"
fingerprints='' number=0
while test "$number" -lt "$certificates"; do
    number=$((number + 1))
    cat "$work/certificate.$number" >>"$work/root.pem"
    one=$(openssl x509 -in "$work/certificate.$number" -outform DER | openssl dgst -sha256 -r)
    fingerprints="$fingerprints ${one%% *}"
done
# The journal's key (C2SP: name, key id, and in base64 the type octet 1 and the Ed25519 key).
if test -n "$key"; then
    no_key() {
        misuse "$key is not a journal's key, one line NAME+ID+KEY: give it second"
    }
    read -r vkey <"$key" || test -n "$vkey" || no_key
    key_name=${vkey%%+*} rest=${vkey#*+}
    key_id=${rest%%+*} public=${rest#*+}
    printf %s "$public" | basenc -d --base64 >"$work/public" 2>/dev/null || no_key
    public=$(hex_of "$work/public")
    is_hex "$public" 66 && test "${public#01}" != "$public" || no_key
    number=$(hash_hex sha256 "$(printf '%s\n' "$key_name" >"$work/name"; hex_of "$work/name")$public")
    number=${number%"${number#????????}"}
    test "$number" = "$key_id" || no_key
    printf %s "302a300506032b6570032100${public#01}" | tr a-f A-F | basenc -d --base16 >"$work/key.der"
fi

# 1. The container.
not_here "the .zip file itself is not looked at here: this is its folder"

# 2. Every file is the one listed in proof.json, and proof.json says nothing else.
index=$(cat proof.json)
manifest=$(cat manifest.json)
rest=${manifest#'{"archive_id":"'}
id=${rest%%'"'*}
case $id in "" | *[!0-9a-f-]*) fail "manifest.json does not name a document" ;; esac
rest=${index#"{\"archive_id\":\"$id\",\"files\":["}
test "$rest" != "$index" || fail "proof.json is about another document than manifest.json"
rebuilt="{\"archive_id\":\"$id\",\"files\":["
original='' rendition='' second='' statement='' anchor='' crls='' answers='' renewal_files=0 separator='' listed=' '
while test "${rest#]}" = "$rest"; do
    rest=${rest#"$separator"'{"path":"'}
    path=${rest%%'"'*}
    rest=${rest#"$path"'","sha256":"'}
    value=${rest%%'"'*}
    rest=${rest#"$value"'","size":'}
    size=${rest%%'}'*}
    rest=${rest#"$size"'}'}
    case $path in
        "" | *[!A-Za-z0-9._/-]* | -* | /* | .* | *..* | */-* | */.* | */*/*) fail "proof.json names an unsafe path" ;;
        document/rendition.pdf) rendition=$path ;;
        document/original*)
            test -z "$original" || fail "proof.json names two originals"
            original=$path
            ;;
        revocation/*.crl) crls="$crls $path" ;;
        revocation/*.ocsp) answers="$answers $path" ;;
        renewals/[0-9][0-9]*.tst | renewals/[0-9][0-9]*.path.txt) renewal_files=$((renewal_files + 1)) ;;
        manifest.json.mldsa65.p7s) second=$path ;;
        statement.pdf) statement=$path ;;
        journal/anchor.ers) anchor=$path ;;
        manifest.json | manifest.json.p7s | evidence.ers | path.txt | token.tst | statement.pdf.p7s) ;;
        journal/entry.json | journal/inclusion.json | journal/checkpoint.txt) ;;
        certificates/seal.pem | certificates/tsa.pem | certificates/root.pem | certificates/seal-mldsa65.pem) ;;
        README.fr.txt | README.en.txt | verify.sh | verify.py) ;;
        *) fail "$path has no place in a proof" ;;
    esac
    is_hex "$value" 64 && is_number "$size" || fail "proof.json is malformed"
    test -f "$path" || fail "$path is missing"
    test "$(digest sha256 "$path")" = "$value" && test "$(size_of "$path")" = "$size" || fail "$path was altered"
    rebuilt="$rebuilt$separator{\"path\":\"$path\",\"sha256\":\"$value\",\"size\":$size}"
    listed="$listed$path "
    separator=,
    case $rest in ",{"* | "]"*) ;; *) fail "proof.json is malformed" ;; esac
done
case $rest in '],"format":"minutier-proof/1"}') format=1 ;; *) format=2 ;; esac
printf '%s],"format":"minutier-proof/%s"}' "$rebuilt" "$format" >"$work/index"
test "$(digest sha256 "$work/index")" = "$(digest sha256 proof.json)" || fail "proof.json is not in its only form"
test -n "$original" || fail "there is no original document"
needed="certificates/seal.pem certificates/tsa.pem certificates/root.pem README.fr.txt README.en.txt verify.sh
    journal/entry.json journal/inclusion.json journal/checkpoint.txt"
case $format in
    1) test "$renewal_files$second$statement$anchor" = 0 || fail "proof.json lists what this version does not have" ;;

esac
case $statement in ?*) needed="$needed statement.pdf.p7s" ;; esac
case $second in ?*) needed="$needed certificates/seal-mldsa65.pem" ;; esac
for path in $needed; do
    case $listed in *" $path "*) ;; *) fail "$path is missing" ;; esac
done
set +f
for path in */*; do
    case $listed in *" $path "*) ;; *) fail "a folder holds a file that is not listed" ;; esac
done
set -f
ok "every file is the one listed in proof.json"

# 3. The manifest describes these documents (SHA-256, SHA3-512, size).
described() {
    wanted="\"role\":\"$1\",\"sha256\":\"$(digest sha256 "$2")\",\"sha3_512\":\"$(digest sha3-512 "$2")\""
    case $manifest in *"$wanted,\"size\":$(size_of "$2")}"*) ;; *) fail "manifest.json does not describe $2" ;; esac
}
described original "$original"
if test -n "$rendition"; then
    described rendition "$rendition"
else
    # A text of the depositor holds no bare quotation mark, so that this cannot be one.
    case $manifest in *',"role":"rendition",'*) fail "document/rendition.pdf is missing" ;; esac
fi
ok "manifest.json describes the document"

# --- what steps 4 and 6 share: CMS signatures at a time of the past, and revocation
cat certificates/tsa.pem certificates/seal.pem >"$work/chain.pem"
split "$work/chain.pem" "certificates/tsa.pem or certificates/seal.pem"
take() { # cuts one DER element (of less than 128 bytes) off the front of `info`: sets tag and content
    rest=${info#??}
    tag=${info%"$rest"}
    length=${rest%"${rest#??}"}
    rest=${rest#??} content=''
    case $length in [0-7][0-9a-f]) ;; *) fail "$1 is not readable" ;; esac
    length=$((0x$length * 2))
    while test "$length" -gt 0; do
        content=$content${rest%"${rest#??}"}
        rest=${rest#??} length=$((length - 2))
    done
    info=$rest
}
stamp() { # TOKEN: what it states (TSTInfo, RFC 3161 §2.4.2): sets imprint, in DER, time and accuracy, in seconds
    openssl cms -verify -noverify -nosigs -inform DER -in "$1" -certfile "$work/chain.pem" -out "$work/info" \
        2>/dev/null || fail "$1 is not readable"
    info=$(hex_of "$work/info")
    case $info in 3081*) info=${info#3081??} ;; 3082*) info=${info#3082????} ;; *) info=${info#30??} ;; esac
    take "$1"
    test "$tag$content" = 0201 || fail "$1 is not readable"
    take "$1" # the policy
    take "$1"
    imprint=$tag$content
    take "$1" # the serial number
    take "$1"
    case $tag$content in 183[0-9]*5a) ;; *) fail "$1 has no time" ;; esac
    date='' rest=${content%5a}
    while test -n "$rest"; do
        case $rest in 3[0-9]*) ;; 2e*) break ;; *) fail "$1 has no time" ;; esac
        rest=${rest#3}
        date=$date${rest%"${rest#?}"}
        rest=${rest#?}
        case ${#date} in 4 | 7) date=$date- ;; 10) date="$date " ;; 13 | 16) date=$date: ;; esac
    done
    test "${#date}" -eq 19 || fail "$1 has no time"
    time=$(seconds "$date UTC") || fail "a date is not readable"
    accuracy=0 # in whole seconds
    case $info in 30*) ;; *) return 0 ;; esac
    take "$1"
    info=$content
    case $info in 02*) take "$1"; accuracy=$content ;; esac
    case ${#accuracy} in [1246]) accuracy=$((0x$accuracy)) ;; *) fail "$1 is not readable" ;; esac
}
signed_at() { # FILE CAFILE SECONDS OPTIONS…: the token or the seal verifies, -cades: under the certificate it names
    signature=$1 authority=$2 at=$3
    shift 3
    case $signature in
        *.tst) set -- -purpose timestampsign "$@" ;;
        *) set -- -binary -content manifest.json "$@" ;;
    esac
    openssl cms -verify -cades -inform DER -in "$signature" -CAfile "$authority" -no-CApath -no-CAstore \
        -certfile "$work/chain.pem" -attime "$at" -signer "$work/signer.pem" -out "$work/content" "$@" \
        2>"$work/error" && return 0
    # A token may leave out the certificates between its own and the root: then certificates/tsa.pem has them, and
    # only `openssl ts` looks at certificates that are given beside.
    case $signature in *.tst) ;; *) return 1 ;; esac
    openssl cms -verify -noverify -inform DER -in "$signature" -certfile "$work/chain.pem" \
        -signer "$work/signer.pem" -out "$work/content" 2>/dev/null || return 1
    stamp "$signature"
    case $imprint in *060960864801650304020a*) length=128 ;; *) length=64 ;; esac
    shift 2
    openssl ts -verify -digest "$(printf %s "$imprint" | tail -c "$length")" -token_in -in "$signature" \
        -CAfile "$authority" -untrusted "$work/chain.pem" -attime "$at" "$@" >"$work/error" 2>&1
}
too_new() { # FILE: signed by an algorithm that only openssl 3.5 and later checks (Ed25519, ML-DSA)?
    test "$major" -eq 3 && test "$minor" -lt 5 || return 1
    case $(hex_of "$1") in *06032b6570* | *060960864801650304031[123]*) return 0 ;; esac
    return 1
}
revoked() { # CRL SECONDS STRICT: what the list says of the signer; 0 when the signature does not stand
    serial=$(openssl x509 -in "$work/signer.pem" -noout -serial)
    serial=${serial#serial=}
    openssl crl -inform DER -in "$1" -noout -text >"$work/list"
    mine=no since='' reason=none next=no
    while read -r line; do
        case $line in
            "Serial Number: "*)
                if test "$mine" = yes; then break; fi
                if test "${line#*: }" = "$serial"; then mine=yes; fi
                ;;
            "Revocation Date: "*)
                test "$mine" = no || since=$(seconds "${line#*: }") || fail "a date is not readable"
                ;;
            "X509v3 CRL Reason Code:"*) next=yes ;;
            "Signature Algorithm: "*) if test "$mine" = yes; then break; fi ;;
            *)
                if test "$mine$next" = yesyes; then reason=$line; fi
                next=no
                ;;
        esac
    done <"$work/list"
    test -n "$since" || return 0
    test "$since" -gt "$2" || return 0
    test "$3" = strict || return 1
    # RFC 3161 §4: after these reasons, tokens made before the revocation stand.
    case $reason in Unspecified | "Affiliation Changed" | Superseded | "Cessation Of Operation") return 1 ;; esac
    return 0
}
answered() { # OCSP ISSUER SECONDS STRICT NAME: an answer of that time covers the signer (RFC 6960), and is signed
    ask() {
        openssl ocsp -respin "$answer" -issuer "$from" -cert "$work/signer.pem" -no_nonce "$@" >"$work/said" 2>&1
    }
    answer=$1 from=$2
    ask -noverify || return 1
    state='' issued='' until='' since='' reason=none
    while read -r line; do
        case $line in
            # On a line of its own when openssl has complained that the answer is old: that is judged below.
            good | revoked | "$work/signer.pem: good" | "$work/signer.pem: revoked") state=${line##* } ;;
            "This Update: "*) issued=$(seconds "${line#*: }") || fail "a date is not readable" ;;
            "Next Update: "*) until=$(seconds "${line#*: }") || fail "a date is not readable" ;;
            "Revocation Time: "*) since=$(seconds "${line#*: }") || fail "a date is not readable" ;;
            "Reason: "*) reason=${line#*: } ;;
        esac
    done <"$work/said"
    case $state in good | revoked) ;; *) return 1 ;; esac
    test -n "$issued" && test "${until:-$issued}" -ge "$3" || return 1
    when=$issued
    if test "$3" -gt "$when"; then when=$3; fi
    ask -CAfile "$work/root.pem" -no-CApath -no-CAstore -verify_other "$work/chain.pem" -attime "$when" || return 1
    case $(cat "$work/said") in *"Response verify OK"*) ;; *) return 1 ;; esac
    test "$state" = revoked || return 0
    case $reason in unspecified | affiliationChanged | superseded | cessationOfOperation) harmless=yes ;; *) harmless=no ;; esac
    if test -n "$since" && test "$since" -gt "$3"; then
        if test "$4$harmless" != strictno; then return 0; fi
    fi
    fail "the certificate of $5 is revoked"
}
standing() { # FILE SECONDS STRICT NAME: no list or answer kept with the proof revokes the signer
    known=no
    for crl in $crls; do
        issued=$(openssl crl -inform DER -in "$crl" -noout -lastupdate 2>/dev/null) || fail "$crl is not readable"
        later=$(seconds "${issued#lastUpdate=}") || fail "a date is not readable"
        if test "$2" -gt "$later"; then later=$2; fi
        openssl crl -inform DER -in "$crl" 2>/dev/null | cat "$work/root.pem" - >"$work/lists.pem"
        if signed_at "$1" "$work/lists.pem" "$later" -crl_check; then
            known=yes
            continue
        fi
        case $(cat "$work/error") in
            *"certificate revoked"*)
                if revoked "$crl" "$2" "$3"; then fail "the certificate of $4 is revoked"; fi
                known=yes
                ;;
        esac # else: not a list for this certificate, or not one of that time
    done
    signed_at "$1" "$work/root.pem" "$2" || return 0 # the signer's certificate, for the answers
    for answer in $answers; do
        issuer=0
        while test "$issuer" -lt "$certificates"; do
            issuer=$((issuer + 1))
            if answered "$answer" "$work/certificate.$issuer" "$2" "$3" "$4"; then known=yes; fi
        done
    done
    test "$known" = yes || doubt "no revocation data kept here covers the certificate of $4"
}
rests_on() { # FILE: notes the digest and the signature of its signer, for the last lines
    openssl cms -cmsout -print -noout -inform DER -in "$1" >"$work/print" 2>/dev/null || return 0
    part='' digest_name='' signature_name=''
    while read -r line; do
        case $line in
            digestAlgorithm:*) part=digest ;;
            signatureAlgorithm:*) part=signature ;;
            "algorithm: "*)
                name=${line#algorithm: }
                case $part in digest) digest_name=${name%% *} ;; signature) signature_name=${name%% *} ;; esac
                part=''
                ;;
        esac
    done <"$work/print"
    case $rests in *"$2 "*) ;; *) rests="$rests
  $2 $signature_name over $digest_name" ;; esac
}

# 4. The seal is over the manifest, under the root, at the time of the first token.
stamp token.tst
moment=$time margin=$((accuracy + 301)) # five minutes, and what is cut off of a second
now=$(($(date +%s) + 300))
if signed_at manifest.json.p7s "$work/root.pem" "$moment"; then
    test "$(digest sha256 "$work/content")" = "$(digest sha256 manifest.json)" || fail "the seal is over another manifest"
    standing manifest.json.p7s "$moment" plain "the seal"
    rests_on manifest.json.p7s "seal:"
    ok "seal verified"
else
    too_new manifest.json.p7s ||
        fail "the seal does not verify under this root, or this is not the root of this archive: check it first"
    doubt "this openssl ($version) cannot check the algorithm of the seal: 3.5 or later can"
    not_here "the seal was not checked by this openssl"
fi

# 5. The evidence record leads from exactly these files to the tokens (RFC 4998). It is written again from the path
#    texts and the tokens, and compared: so nothing else is in it.
group="$original $rendition manifest.json manifest.json.p7s $second"
walk() { # PATH_TEXT: sets first (line 1), several, algorithm, value (where it leads), lists (its DER)
    first='' value='' lists='' several=no
    while read -r line; do
        list=''
        if test -z "$value"; then
            first=$line
            case $line in *" "*) several=yes ;; esac
            set -- "$1" $line
            case ${#2} in
                64) algorithm=sha256 length=64 oid=a00b0609608648016503040201 listed_oid=300b0609608648016503040201 ;;
                128) algorithm=sha3-512 length=128 oid=a00b060960864801650304020a listed_oid=300b060960864801650304020a ;;
                *) fail "$1 is malformed" ;;
            esac
            width=$length
        else
            is_hex "$line" "$width" || fail "$1 is malformed"
        fi
        joined=$(sorted $value $line)
        for hash in $line; do
            is_hex "$hash" "$width" || fail "$1 is malformed"
            list=$list$(der 04 "$hash")
        done
        lists=$lists$(der 30 "$list")
        case $joined in *" "*) value=$(hash_hex "$algorithm" "$(printf %s "$joined" | tr -d ' ')") ;; *) value=$line ;; esac
    done <"$1"
    test -n "$value" || fail "$1 is empty"
}
members() { # ALGORITHM: the first list of a tree over the files
    sorted $(for name in $group; do digest "$1" "$name"; done)
}
rehashed_members() { # ALGORITHM HA: H(H(file) and ha), for a hash-tree renewal (RFC 4998 §5.2)
    sorted $(for name in $group; do hash_hex "$1" "$(digest "$1" "$name")$2"; done)
}
walk path.txt
test "$first" = "$(members "$algorithm")" || fail "the evidence is about other files"
test "$several" = yes && test "$algorithm" = sha256 || fail "path.txt is malformed"
echo "token.tst $algorithm $value" >"$work/tokens"
chain=$(der 30 "$oid$(der a2 "$lists")$(hex_of token.tst)")
chains='' used=$listed_oid previous=token.tst count=1 trees="
  first hash tree: $algorithm"
while test "$renewal_files" -gt 0; do
    count=$((count + 1)) renewal_files=$((renewal_files - 2))
    number=$count
    if test "$count" -lt 10; then number=0$count; fi
    test -f "renewals/$number.path.txt" && test -f "renewals/$number.tst" || fail "renewals/$number is not complete"
    before=$algorithm
    walk "renewals/$number.path.txt"
    if test "$several" = yes; then
        # Hash-tree renewal: a new chain, by another algorithm, over the files and all that is older.
        test "$algorithm" != "$before" || fail "renewals/$number.path.txt keeps the algorithm of the chain before it"
        chains=$chains$(der 30 "$chain") chain=''
        expected=$(rehashed_members "$algorithm" "$(hash_hex "$algorithm" "$(der 30 "$chains")")")
        test "$first" = "$expected" || fail "renewals/$number.path.txt is about other files"
        case $used in *"$listed_oid"*) ;; *) used=$used$listed_oid ;; esac
        trees="$trees
  hash tree renewed by $number: $algorithm"
    else
        # Time-stamp renewal: the same chain, over the token before.
        test "$algorithm" = "$before" || fail "renewals/$number.path.txt has another algorithm than its chain"
        test "$first" = "$(digest "$algorithm" "$previous")" || fail "renewals/$number.path.txt renews another token"
    fi
    previous=renewals/$number.tst
    echo "$previous $algorithm $value" >>"$work/tokens"
    chain=$chain$(der 30 "$oid$(der a2 "$lists")$(hex_of "$previous")")
done
test "$renewal_files" -eq 0 || fail "the folder renewals is not complete"
rebuilt=$(der 30 "020101$(der 30 "$used")$(der 30 "$chains$(der 30 "$chain")")")
test "$rebuilt" = "$(hex_of evidence.ers)" || fail "evidence.ers is not what the paths and the tokens make"
ok "the evidence is about these files ($count token(s))"

# 6. Each token is about the value of its path, under the root, at its own time; each came after the one before, while
#    the certificate of that one was still good.
last='' last_file=''
while read -r file algorithm value; do
    stamp "$file"
    this=$time
    test "$this" -le "$now" || fail "the token $file is in the future: check the clock of this computer"
    case $algorithm in sha256) name=0609608648016503040201 ;; *) name=060960864801650304020a ;; esac
    wanted=$(der 04 "$value")
    case $imprint in
        "30$(der 30 "$name")$wanted" | "30$(der 30 "${name}0500")$wanted") ;;
        *) fail "$file is about another value than its path" ;;
    esac
    if signed_at "$file" "$work/root.pem" "$this"; then
        standing "$file" "$this" strict "$file"
        rests_on "$file" "$file:"
    else
        too_new "$file" ||
            fail "the time-stamp $file does not verify under this root, or this is not the root of this archive: check it first"
        doubt "this openssl ($version) cannot check the algorithm of $file: 3.5 or later can"
    fi
    if test -n "$last"; then
        test "$this" -ge "$last" || fail "$file is earlier than the token before it"
        signed_at "$last_file" "$work/root.pem" "$this" || too_new "$last_file" ||
            doubt "$file came when the certificate of $last_file was no longer good"
    fi
    last=$this last_file=$file
done <"$work/tokens"
ok "time-stamp token(s) verified, the last of $(utc "$last")"

# 7. The journal entry commits this manifest, and is in the tree of the checkpoint.
entry=$(cat journal/entry.json)
commits="\"manifest_sha256\":\"$(digest sha256 manifest.json)\""
case $entry in *"$commits"*) ;; *) fail "the journal commits another manifest" ;; esac
case $entry in *'"event":"deposit:committed"'*) ;; *) fail "the journal entry is not that of a commit" ;; esac
case $entry in '{"actor":"'*"\"archive_id\":\"$id\",\"at\":\""*) ;; *) fail "the journal names another document" ;; esac
committed=${entry#*"\"archive_id\":\"$id\",\"at\":\""}
committed=${committed%%'"'*}
case $committed in
    [0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z) ;;
    *) fail "journal/entry.json is malformed" ;;
esac
committed=$(seconds "$committed") || fail "journal/entry.json is malformed"
test "$committed" -le "$now" || fail "the journal entry is in the future: check the clock of this computer"
test "$committed" -ge $((moment - margin)) || fail "the journal entry is older than the first token"
rest=$(cat journal/inclusion.json)
rest=${rest#'{"format":"minutier-inclusion/1","index":'}
node=${rest%%,*}
rest=${rest#"$node"',"path":['}
hashes=${rest%%']'*}
rest=${rest#"$hashes"'],"root":"'}
expected=${rest%%'"'*}
rest=${rest#"$expected"'","size":'}
size=${rest%'}'}
is_number "$node" && is_number "$size" && is_hex "$expected" 64 || fail "journal/inclusion.json is malformed"
case $hashes in *[!0-9a-f\",]*) fail "journal/inclusion.json is malformed" ;; esac
test "$node" -lt "$size" || fail "journal/inclusion.json is malformed"
last=$((size - 1))
leaf=$({ printf '\000'; cat journal/entry.json; } | openssl dgst -sha256 -r)
leaf=${leaf%% *}
for hash in $(echo "$hashes" | tr -d '"' | tr , ' '); do
    is_hex "$hash" 64 && test "$last" -gt 0 || fail "journal/inclusion.json is malformed"
    if test $((node & 1)) -eq 1 || test "$node" -eq "$last"; then
        leaf=$(hash_hex sha256 "01$hash$leaf")
        while test $((node & 1)) -eq 0 && test "$node" -gt 0; do
            node=$((node >> 1)) last=$((last >> 1))
        done
    else
        leaf=$(hash_hex sha256 "01$leaf$hash")
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

# 8. The checkpoint is signed by the journal's key (C2SP signed note, Ed25519).
if test -n "$key"; then
    printf '%s\n%s\n%s\n' "$origin" "$total" "$encoded_root" >"$work/note"
    signed=no
    while read -r dash who signature; do
        test "$dash $who" = "$(printf '\342\200\224') $key_name" || continue
        printf %s "$signature" | basenc -d --base64 >"$work/raw" 2>/dev/null || fail "journal/checkpoint.txt is malformed"
        raw=$(hex_of "$work/raw")
        test "${raw#"$key_id"}" != "$raw" || continue
        printf %s "${raw#"$key_id"}" | tr a-f A-F | basenc -d --base16 >"$work/signature"
        openssl pkeyutl -verify -pubin -inkey "$work/key.der" -keyform DER -rawin -in "$work/note" \
            -sigfile "$work/signature" >/dev/null 2>&1 || fail "the signature of the checkpoint does not verify"
        signed=yes
    done <journal/checkpoint.txt
    test "$signed" = yes || fail "the journal's key did not sign the checkpoint"
    ok "the checkpoint is signed by the journal's key"
else
    doubt "no JOURNAL.vkey was given: who kept the journal is not known (NO_JOURNAL_KEY)"
    not_here "the signature of the checkpoint was not checked: no JOURNAL.vkey was given"
fi

# 9. What comes along.
seen=''
if test -n "$second"; then
    second_at() { # OPTIONS…
        openssl cms -verify -binary -inform DER -in "$second" -content manifest.json -no-CApath -no-CAstore \
            -certfile certificates/seal-mldsa65.pem -out "$work/content" "$@" 2>/dev/null
    }
    if test "$major" -eq 3 && test "$minor" -lt 5; then
        seen="$seen; second seal (ML-DSA-65) not checked by this openssl ($version)"
    elif second_at -CAfile "$work/root.pem" -attime "$moment"; then
        rests_on "$second" "second seal:"
        seen="$seen; second seal verified"
    elif second_at -no-CAfile -noverify; then
        seen="$seen; second seal whole, but its own root is not in the file of roots that you gave: not judged"
    else
        fail "the second seal (ML-DSA-65) does not verify"
    fi
fi
if test -n "$statement"; then
    # Nothing dates the statement: its seal is judged without a date, and it adds nothing to the proof.
    openssl cms -verify -binary -inform DER -in statement.pdf.p7s -content statement.pdf -CAfile "$work/root.pem" \
        -no-CApath -no-CAstore -certfile "$work/chain.pem" -no_check_time -out "$work/content" 2>/dev/null ||
        fail "the seal of statement.pdf does not verify under this root"
    # Its metadata name the manifest: the archive has sealed statements of other documents, too.
    mark=$(printf 'manifest.json sha256:%s' "$(digest sha256 manifest.json)" | basenc --base16 -w0 | tr A-F a-f)
    case $(hex_of statement.pdf) in 255044462d*"$mark"*) ;; *) fail "statement.pdf is about another document" ;; esac
    seen="$seen; statement sealed by the archive"
fi
if test -n "$anchor"; then seen="$seen; journal/anchor.ers not checked here"; fi
ok "accompanying files$seen"

test "$held" -eq 9 || fail "a check was skipped"
echo
echo "This verdict rests on these algorithms; ask whether they still count on the day you read this:$trees$rests"
echo "  files, proof.json, journal: sha256; document also sha3-512"
for one in $fingerprints; do echo "Root certificate, SHA-256: $one"; done
date=$(utc "$moment")
if test "$given" = no; then
    doubt "the root certificate used came with these files (NO_TRUST_ANCHOR): compare its SHA-256 above with the one
    that the archive publishes, then run: sh verify.sh ROOT.pem JOURNAL.vkey"
fi
if test -n "$doubts"; then
    echo "INDETERMINATE, NOT YET A PROOF that document $id existed on $date:"
    echo "every check that was made held, but something needed to judge is missing:$doubts"
    exit 3
fi
echo "PASSED under the root certificate and the journal's key that you gave:"
echo "document $id existed, as it is here, on $date."
