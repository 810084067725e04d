package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The file in the data folder in which a node that runs writes where it listens, for commands on the same machine.
const nodeFile = "node.json"

// nodeFormat is the version of the file's form. The form without a version, of the first perdiem, is the same but for that.
const nodeFormat = 1

// nodeNote is what the file says. A command may be of another version than the node.
type nodeNote struct {
	Format int `json:"format"`
	addresses
}

// writeNodeFile replaces the file as a whole.
func writeNodeFile(folder string, a addresses) error {
	data, err := json.Marshal(nodeNote{nodeFormat, a})
	if err != nil {
		return err
	}
	temp := filepath.Join(folder, nodeFile+".new") // the folder is locked: nobody else writes it
	if err := os.WriteFile(temp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(folder, nodeFile))
}

func removeNodeFile(folder string) error {
	err := os.Remove(filepath.Join(folder, nodeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readNodeFile returns where the node of a data folder listens. One that was killed leaves the file behind, and others may listen there
// since, who must not be sent the operator's key: so the folder has to be locked.
func readNodeFile(folder string) (addresses, error) {
	running, err := isFolderLocked(folder)
	if err != nil {
		return addresses{}, err
	}
	file := filepath.Join(folder, nodeFile)
	data, err := os.ReadFile(file)
	if !running || errors.Is(err, fs.ErrNotExist) {
		return addresses{}, fmt.Errorf("no node runs on the data folder %s: start one by perdiem serve, or name another's by --server", folder)
	}
	if err != nil {
		return addresses{}, err
	}
	return parseNodeFile(file, data)
}

func parseNodeFile(file string, data []byte) (addresses, error) {
	var note nodeNote
	err := json.Unmarshal(data, &note)
	if note.Format > nodeFormat {
		return addresses{}, fmt.Errorf("%s was written by a newer perdiem (its form is version %d, and this one knows none after %d): use the commands of the perdiem that runs", file, note.Format, nodeFormat)
	}
	if err != nil || note.Admin == "" || note.Format < 0 {
		return addresses{}, fmt.Errorf("%s cannot be read: start the node again, which writes it", file)
	}
	return note.addresses, nil
}
