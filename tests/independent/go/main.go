// Verifies a proof of one journal line with Go's own libraries for transparency logs, which we did not write.
//
//	go run . PROOF VKEY
//
// Prints the entry when all holds; says what does not, and ends with 1, otherwise.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	entry, err := verified(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(entry)
}

func verified(proofPath, keyPath string) ([]byte, error) {
	data, err := os.ReadFile(proofPath)
	if err != nil {
		return nil, err
	}
	vkey, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, err
	}
	head, signed, _ := bytes.Cut(data, []byte("\n\n"))
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return nil, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	text := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(text[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := hashOf(text[2])
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(head), "\n")
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return nil, err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := hashOf(line)
		if err != nil {
			return nil, err
		}
		path = append(path, hash)
	}
	return entry, tlog.CheckRecord(path, size, root, index, tlog.RecordHash(entry))
}

func hashOf(text string) (tlog.Hash, error) {
	var hash tlog.Hash
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(decoded) != len(hash) {
		err = fmt.Errorf("a hash of %d octets", len(decoded))
	}
	copy(hash[:], decoded)
	return hash, err
}
