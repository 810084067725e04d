package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// files are what pages refer to. Each has a hash of its content in its name, so that browsers may keep it for good.
type files struct {
	names  map[string]string // the name in the path, by that in the templates
	byName map[string]file   // by the name in the path
}

type file struct {
	kind    string // its Content-Type
	content []byte
	gzip    []byte
}

var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// readFiles reads scripts and pictures, and makes style.css of the styles of all pages, the frame's first.
func readFiles() (files, error) {
	f := files{names: map[string]string{}, byName: map[string]file{}}
	found, err := fs.Glob(embedded, "pages/*/*")
	if err != nil {
		return files{}, err
	}
	isFrame := func(name string) bool { return path.Base(path.Dir(name)) == "frame" }
	slices.SortStableFunc(found, func(a, b string) int {
		switch {
		case isFrame(a) == isFrame(b):
			return strings.Compare(a, b)
		case isFrame(a):
			return -1
		default:
			return 1
		}
	})
	var style []byte
	for _, name := range found {
		content, err := fs.ReadFile(embedded, name)
		if err != nil {
			return files{}, err
		}
		switch path.Ext(name) {
		case ".css":
			style = append(style, content...)
		case ".js", ".svg":
			f.add(path.Base(name), content)
		}
	}
	f.add("style.css", style)
	return f, nil
}

func (f *files) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	extension := path.Ext(name)
	hashed := strings.TrimSuffix(name, extension) + "." + hex.EncodeToString(sum[:6]) + extension
	f.names[name] = hashed
	f.byName[hashed] = file{kind: kinds[extension], content: content, gzip: compress(content)}
}

// path returns where a file is found, by its name in the templates.
func (f *files) path(name string) string { return "/static/" + f.names[name] }

// static answers with a file.
func (p *Portal) static(v *visit) error {
	f, known := p.files.byName[v.r.PathValue("id")]
	if !known {
		return errNotFound
	}
	h := v.w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	content := f.content
	if takesGzip(v.r) && len(f.gzip) < len(content) {
		h.Set("Content-Encoding", "gzip")
		content = f.gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = v.w.Write(content) // an error means that whoever asked is gone
	return nil
}

// takesGzip reports whether a browser takes what is compressed. It is asked for the plain word alone: all browsers send it.
func takesGzip(r *http.Request) bool {
	for _, value := range r.Header["Accept-Encoding"] {
		for coding := range strings.SplitSeq(value, ",") {
			if strings.TrimSpace(coding) == "gzip" {
				return true
			}
		}
	}
	return false
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(content) // to memory, which does not fail
	_ = w.Close()
	return b.Bytes()
}
