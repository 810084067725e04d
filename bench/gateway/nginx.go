package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/perdiem/perdiem/bench/internal/program"
)

// nginxConfig makes nginx what the bare proxy is: connections to the upstream are kept, nothing is logged, and no connection is closed
// because it has been used for long.
const nginxConfig = `daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	upstream api {
		server %[2]s;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen %[3]s reuseport;
		location / {
			proxy_pass http://api;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
		}
	}
}
`

// startNginx starts nginx, with two processes that work, in a new folder.
func startNginx(ctx context.Context, log io.Writer, dir, upstream string) (*program.Program, string, error) {
	file, err := findNginx()
	if err != nil {
		return nil, "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, "", err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, upstream, address), 0o600); err != nil {
		return nil, "", err
	}
	p, err := program.StartAt(ctx, log, address, file, "-p", dir, "-e", "stderr", "-c", config)
	return p, address, err
}

// findNginx looks where Debian puts it, too, which is on the path of root alone.
func findNginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if file, err := exec.LookPath(name); err == nil {
			return file, nil
		}
	}
	return "", errors.New("there is no nginx: install Debian's package nginx-light")
}

// freeAddress returns an address at which nobody listens: nginx cannot choose one itself and say so.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
