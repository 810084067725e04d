// Command hello is the upstream of the gateway's benchmark: it answers everything with 200 bytes, and does nothing else. It
// prints the address at which it listens.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
)

func main() {
	address := flag.String("addr", "127.0.0.1:0", "address to listen at")
	flag.Parse()
	body := []byte(`{"ok":true,"pad":"` + strings.Repeat("x", 180) + `"}`)
	length := strconv.Itoa(len(body))
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = []string{length}
		_, _ = w.Write(body)
	})))
}
