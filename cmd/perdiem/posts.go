package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// posts is the sample API of the demo: posts that can be written, listed and read. It keeps the newest hundred in memory.
type posts struct {
	mux *http.ServeMux

	mu    sync.Mutex
	first int    // guarded by mu: the number of the oldest that is kept
	kept  []post // guarded by mu
}

type post struct {
	ID     int    `json:"id"`
	Author string `json:"author"` // the member, or else the application, as perdiem tells them
	Text   string `json:"text"`
}

const (
	maxPosts = 100
	maxPost  = 4 << 10 // bytes
)

func newPosts() *posts {
	p := &posts{mux: http.NewServeMux(), first: 1}
	p.kept = []post{{ID: 1, Author: "perdiem", Text: "Hello. Each call that you make is counted, once, before it comes here."}}
	p.mux.HandleFunc("GET /rest/posts", p.list)
	p.mux.HandleFunc("POST /rest/posts", p.create)
	p.mux.HandleFunc("GET /rest/posts/{id}", p.read)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusNotFound, map[string]string{"error": "there is nothing here; try /rest/posts"})
	})
	return p
}

// ServeHTTP serves a request.
func (p *posts) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func (p *posts) list(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"posts": p.kept})
}

func (p *posts) create(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPost))
	if err != nil {
		reply(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "a post has at most 4096 bytes"})
		return
	}
	author := r.Header.Get("X-Perdiem-Member")
	if author == "" {
		author = r.Header.Get("X-Perdiem-Application")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	created := post{ID: p.first + len(p.kept), Author: author, Text: string(text)}
	p.kept = append(p.kept, created)
	if len(p.kept) > maxPosts {
		p.kept = append(p.kept[:0], p.kept[1:]...)
		p.first++
	}
	reply(w, http.StatusCreated, created)
}

func (p *posts) read(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := id - p.first; err == nil && i >= 0 && i < len(p.kept) {
		reply(w, http.StatusOK, p.kept[i])
		return
	}
	reply(w, http.StatusNotFound, map[string]string{"error": "there is no such post"})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that whoever asked is gone
}
