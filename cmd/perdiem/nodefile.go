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

// writeNodeFile replaces the file as a whole.
func writeNodeFile(folder string, a addresses) error {
	data, err := json.Marshal(a)
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
	var a addresses
	if err := json.Unmarshal(data, &a); err != nil || a.Admin == "" {
		return addresses{}, fmt.Errorf("%s cannot be read: start the node again, which writes it", file)
	}
	return a, nil
}
