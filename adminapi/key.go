package adminapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/durable"
	"github.com/perdiem/perdiem/registry"
)

// Settings is the part of a registry in which the key's hash is kept, so that a [Key] can be tested without the rest.
type Settings interface {
	// Setting returns what was set under key, and false where nothing was.
	Setting(ctx context.Context, key string) (value string, ok bool, err error)
	// SetOperatorKey sets the hash of the operator's key, as [registry.Registry] has it.
	SetOperatorKey(ctx context.Context, hash, actor string) error
}

const (
	keyPrefix = "pdo_" // tells secret scanners what they found
	minKey    = 32     // bytes: an operator's own key is to be as hard to guess as ours
	maxKey    = 512    // bytes
)

// Key is the operator's key. The key itself is in a file, for its owner's eyes alone; the registry holds its hash. It is safe for
// concurrent use.
type Key struct {
	settings Settings
	file     string

	rotation sync.Mutex // held while the key is replaced
	mu       sync.RWMutex
	hash     [sha256.Size]byte // guarded by mu
}

// OpenKey returns the operator's key. Where there is neither a file nor a hash in the registry it makes a new key. A file that does not
// fit the registry's hash is believed, and its hash kept: whoever can write the file owns the node. Where the file is gone, the
// registry's hash goes on to hold.
func OpenKey(ctx context.Context, s Settings, file string) (*Key, error) {
	k := &Key{settings: s, file: file}
	kept, _, err := s.Setting(ctx, registry.OperatorKey)
	if err != nil {
		return nil, err
	}
	known := kept != "" // else it was never set, or forgotten
	key, err := ReadKeyFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && known:
		hash, err := hex.DecodeString(kept)
		if err != nil || len(hash) != len(k.hash) {
			return nil, errors.New("the registry's hash of the operator's key is damaged: write a new key of at least 32 characters to " + file)
		}
		copy(k.hash[:], hash)
		return k, nil
	case errors.Is(err, fs.ErrNotExist):
		key = newKey()
		if err := writeKeyFile(file, key); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	k.hash = sha256.Sum256([]byte(key))
	if hash := hex.EncodeToString(k.hash[:]); hash != kept {
		if err := s.SetOperatorKey(ctx, hash, ""); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// ForgetKey ends the operator's key in a registry that no node uses: the next [OpenKey] believes the file, or makes a new key. A copy of a
// registry that is brought back needs it where the key did not come along.
func ForgetKey(ctx context.Context, s Settings) error { return s.SetOperatorKey(ctx, "", "") }

// Matches reports whether presented is the key. How long it takes tells nothing of the key.
func (k *Key) Matches(presented string) bool {
	hash := sha256.Sum256([]byte(presented))
	k.mu.RLock()
	defer k.mu.RUnlock()
	return subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1
}

// Rotate replaces the key by a new one, which it returns; the old one ends. After a crash in between, the file decides. actor is who asks for it, for
// the audit. The error says which of the two keys holds.
func (k *Key) Rotate(ctx context.Context, actor string) (string, error) {
	k.rotation.Lock()
	defer k.rotation.Unlock()
	key := newKey()
	hash := sha256.Sum256([]byte(key))
	if err := writeKeyFile(k.file, key); err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "The operator's key was not replaced, and holds: "+k.file+" on the node cannot be written. The node's log says why.")
	}
	k.mu.Lock()
	k.hash = hash
	k.mu.Unlock()
	// When this fails the key is rotated all the same: the next start believes the file.
	if err := k.settings.SetOperatorKey(ctx, hex.EncodeToString(hash[:]), actor); err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "The operator's key was replaced, and the old one has ended: the new one is in "+k.file+
			" on the node. The registry could not be told of it, which does no harm while that file is kept: the next start believes it.")
	}
	return key, nil
}

func newKey() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// ReadKeyFile returns the operator's key that a file holds, alone or with white space around it.
func ReadKeyFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 2*maxKey))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(data))
	if len(key) < minKey || len(key) > maxKey || strings.Trim(key, printable) != "" {
		return "", fmt.Errorf("%s holds no operator's key: it must be %d to %d visible ASCII characters in one line", file, minKey, maxKey)
	}
	return key, nil
}

// printable are the characters of which a key may consist: those that a header can carry unchanged.
var printable = func() string {
	var b strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()

// writeKeyFile replaces the file as a whole: a reader finds the old key or the new one, also after a loss of power.
func writeKeyFile(file, key string) error {
	dir := filepath.Dir(file)
	temp, err := os.CreateTemp(dir, ".operator-key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the operator's key cannot be written: %w", err)
	}
	_, err = temp.WriteString(key + "\n")
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the operator's key cannot be written: %w", err), os.Remove(temp.Name()))
	}
	return durable.SyncFolder(dir)
}

type rotateOutput struct {
	Body struct {
		Key string `json:"key" doc:"The new key; the old one has ended."`
	}
}

func (a *API) registerKey(api huma.API) {
	huma.Register(api, a.operation("rotate-operator-key", http.MethodPost, "operator-key/rotate", "Replace the operator's key"),
		func(ctx context.Context, _ *struct{}) (*rotateOutput, error) {
			key, err := a.Key.Rotate(ctx, actor(ctx))
			if err != nil {
				return nil, a.fail(ctx, "rotate-operator-key", err)
			}
			out := &rotateOutput{}
			out.Body.Key = key
			return out, nil
		})
}
