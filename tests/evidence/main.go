// An export, a proof of one event and a proof of consistency, verified by the Go project's own packages for transparency
// logs: nothing here knows how Grantlog makes them.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// open verifies a checkpoint's signature and reads the tree out of it (C2SP tlog-checkpoint).
func open(text []byte, key note.Verifier) tlog.Tree {
	signed := must(note.Open(text, note.VerifierList(key)))
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != key.Name() {
		log.Fatalf("not a checkpoint of %s: %q", key.Name(), signed.Text)
	}
	size := must(strconv.ParseInt(lines[1], 10, 64))
	return tlog.Tree{N: size, Hash: hash(lines[2])}
}

func hash(text string) (h tlog.Hash) {
	bytes := must(base64.StdEncoding.DecodeString(text))
	if copy(h[:], bytes) != len(h) || len(bytes) != len(h) {
		log.Fatalf("not a hash: %s", text)
	}
	return h
}

// tiles reads hashes from an export (C2SP tlog-tiles): the Go project's layout without the height in its paths.
type tiles string

func (directory tiles) Height() int { return 8 }

func (directory tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		bytes, err := os.ReadFile(filepath.Join(string(directory), path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (directory tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// entries are the leaves of an export, in order.
func entries(directory string, size int64) [][]byte {
	var all [][]byte
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: 256}
		if size-first < 256 {
			tile.W = int(size - first)
		}
		path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
		bundle := must(os.ReadFile(filepath.Join(directory, path)))
		for len(bundle) > 0 {
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			all = append(all, bundle[2:end])
			bundle = bundle[end:]
		}
	}
	return all
}

// proof splits a proof file: the lines before its checkpoint, and the checkpoint.
func proof(file string) ([]string, []byte) {
	text := string(must(os.ReadFile(file)))
	head, checkpoint, found := strings.Cut(text, "\n\n")
	if !found {
		log.Fatalf("%s has no checkpoint", file)
	}
	return strings.Split(head, "\n"), []byte(checkpoint)
}

func hashes(lines []string) (all []tlog.Hash) {
	for _, line := range lines {
		all = append(all, hash(line))
	}
	return all
}

func main() {
	log.SetFlags(0)
	directory, event, consistency, older := os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	key := must(note.NewVerifier(os.Args[1]))

	tree := open(must(os.ReadFile(filepath.Join(directory, "checkpoint"))), key)
	reader := tlog.TileHashReader(tree, tiles(directory))
	leaves := entries(directory, tree.N)
	if int64(len(leaves)) != tree.N {
		log.Fatalf("%d leaves of %d", len(leaves), tree.N)
	}
	for index, leaf := range leaves {
		path := must(tlog.ProveRecord(tree.N, int64(index), reader))
		if err := tlog.CheckRecord(path, tree.N, tree.Hash, int64(index), tlog.RecordHash(leaf)); err != nil {
			log.Fatalf("leaf %d: %v", index, err)
		}
	}
	fmt.Printf("export: %d leaves are in the tree of the checkpoint\n", tree.N)

	lines, checkpoint := proof(event)
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatalf("not a proof: %q", lines)
	}
	leaf := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra ")))
	index := must(strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64))
	tree = open(checkpoint, key)
	if err := tlog.CheckRecord(hashes(lines[3:]), tree.N, tree.Hash, index, tlog.RecordHash(leaf)); err != nil {
		log.Fatalf("the proof of an event: %v", err)
	}
	leaf[0] ^= 1
	if tlog.CheckRecord(hashes(lines[3:]), tree.N, tree.Hash, index, tlog.RecordHash(leaf)) == nil {
		log.Fatal("a changed event passed")
	}
	fmt.Printf("event: index %d is in the tree of %d\n", index, tree.N)

	lines, checkpoint = proof(consistency)
	old := open(must(os.ReadFile(older)), key)
	tree = open(checkpoint, key)
	if size := must(strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)); size != old.N || size >= tree.N {
		log.Fatalf("the proof is from %d to %d, the older checkpoint is of %d", size, tree.N, old.N)
	}
	if err := tlog.CheckTree(hashes(lines[1:]), tree.N, tree.Hash, old.N, old.Hash); err != nil {
		log.Fatalf("the proof of consistency: %v", err)
	}
	fmt.Printf("consistency: %d begin with %d\n", tree.N, old.N)
}
