// Package keypair keeps a certificate and its private key, which it reads from two files in PEM, and reads again when it is told to.
//
// Connections go on with the pair with which they began; new ones get the one that was read last. A pair that cannot be used is never
// taken: the one before it stays.
package keypair

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// Files are where a pair is read from.
type Files struct {
	Certificate string // the certificate itself first, then those that lead from it to a root
	Key         string
}

// Error is what is wrong with a pair. Its text names the file.
type Error struct {
	// InKey says that it is the key's file that is wrong, or does not go with the certificate's.
	InKey bool
	// Date says that nothing is wrong but the day.
	Date bool
	text string
}

// Error returns the text.
func (e *Error) Error() string { return e.text }

// maxSize bounds the files, in bytes.
const maxSize = 1 << 20

// Load reads a pair. The error is an [*Error]: a file that cannot be read, or holds something else, or a key that is another
// certificate's. It does not look at the day; see [Valid].
func (f Files) Load() (*tls.Certificate, error) {
	certificate, err := f.readCertificate()
	if err != nil {
		return nil, err
	}
	key, err := f.readKey()
	if err != nil {
		return nil, err
	}
	return f.pair(certificate, key)
}

// Check returns everything that is wrong with the files at the time, each an [*Error]. A file without a name is left out.
func (f Files) Check(now time.Time) (problems []error) {
	var certificate, key []byte
	if f.Certificate != "" {
		var err error
		if certificate, err = f.readCertificate(); err != nil {
			problems = append(problems, err)
		} else if err := f.valid(leaf(certificate), now); err != nil {
			problems = append(problems, err)
		}
	}
	if f.Key != "" {
		var err error
		if key, err = f.readKey(); err != nil {
			problems = append(problems, err)
		}
	}
	if certificate != nil && key != nil {
		if _, err := f.pair(certificate, key); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// readCertificate returns what the certificate's file holds.
func (f Files) readCertificate() ([]byte, error) {
	data, err := read(f.Certificate)
	if err != nil {
		return nil, &Error{text: err.Error()}
	}
	if err := checkCertificates(f.Certificate, data); err != nil {
		return nil, err
	}
	return data, nil
}

// readKey returns what the key's file holds.
func (f Files) readKey() ([]byte, error) {
	data, err := read(f.Key)
	if err != nil {
		return nil, &Error{InKey: true, text: err.Error()}
	}
	if !hasBlock(data, func(kind string) bool {
		return kind == "PRIVATE KEY" || kind == "EC PRIVATE KEY" || kind == "RSA PRIVATE KEY"
	}) {
		return nil, &Error{InKey: true, text: f.Key + " holds no private key in PEM that is not encrypted"}
	}
	return data, nil
}

// pair puts together what both files hold.
func (f Files) pair(certificate, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, &Error{InKey: true, text: fmt.Sprintf("%s is not the key of the certificate in %s: %v", f.Key, f.Certificate, err)}
	}
	return &pair, nil
}

// leaf returns the first of the certificates that [checkCertificates] let pass.
func leaf(data []byte) *x509.Certificate {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				return c
			}
		}
	}
	return nil
}

const certificateBlock = "CERTIFICATE"

func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist", file)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", file)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", file, info.Size(), maxSize)
	}
	return os.ReadFile(file)
}

// checkCertificates makes sure that each certificate of a file can be read.
func checkCertificates(file string, data []byte) error {
	n := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		n++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return &Error{text: fmt.Sprintf("certificate %d in %s cannot be read: %v", n, file, err)}
		}
	}
	if n == 0 {
		return &Error{text: file + " holds no certificate in PEM"}
	}
	return nil
}

func hasBlock(data []byte, wanted func(kind string) bool) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			return true
		}
	}
	return false
}

// Valid returns an [*Error] with Date set unless a pair's certificate is valid at the time.
func (f Files) Valid(c *tls.Certificate, now time.Time) error { return f.valid(c.Leaf, now) }

func (f Files) valid(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return &Error{Date: true, text: fmt.Sprintf("the certificate in %s expired at %s", f.Certificate, leaf.NotAfter.UTC().Format(time.RFC3339))}
	case now.Before(leaf.NotBefore):
		return &Error{Date: true, text: fmt.Sprintf("the certificate in %s is not valid before %s", f.Certificate, leaf.NotBefore.UTC().Format(time.RFC3339))}
	default:
		return nil
	}
}

// Pair is a pair in use. It is safe for concurrent use.
type Pair struct {
	files   Files
	current atomic.Pointer[tls.Certificate]
}

// Open reads a pair. The error is an [*Error]. A certificate that is not valid today is taken: a node that starts is better than one that
// does not, and whoever connects is told.
func Open(f Files) (*Pair, error) {
	c, err := f.Load()
	if err != nil {
		return nil, err
	}
	p := &Pair{files: f}
	p.current.Store(c)
	return p, nil
}

// Reload reads the files again. With an error, an [*Error], the pair stays as it was: when they cannot be used, or hold a certificate
// that is not valid at the time.
func (p *Pair) Reload(now time.Time) error {
	c, err := p.files.Load()
	if err != nil {
		return err
	}
	if err := p.files.Valid(c, now); err != nil {
		return err
	}
	p.current.Store(c)
	return nil
}

// Certificate returns the certificate that new connections get.
func (p *Pair) Certificate() *x509.Certificate { return p.current.Load().Leaf }

// Valid returns an [*Error] unless the certificate is valid at the time.
func (p *Pair) Valid(now time.Time) error { return p.files.Valid(p.current.Load(), now) }

// TLS returns how a server speaks with the pair: TLS 1.2 or later. A [net/http.Server] adds HTTP/2 to it.
func (p *Pair) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}
