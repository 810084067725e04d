package gateway_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// echoService sends back each message of a stream as it comes, and tells their number in a trailer.
var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName: "Chat", ClientStreams: true, ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			var n int
			for {
				var m healthpb.HealthCheckRequest
				if err := stream.RecvMsg(&m); err == io.EOF { //nolint:errorlint // grpc returns it bare
					stream.SetTrailer(metadata.Pairs("x-messages", string(rune('0'+n))))
					return nil
				} else if err != nil {
					return err
				}
				n++
				if err := stream.SendMsg(&m); err != nil {
					return err
				}
			}
		},
	}},
}

// TestGRPC has a gRPC client and server of others speak through the gateway: single calls, streams in both directions, errors, trailers.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer()
	state := health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	server.RegisterService(&echoService, struct{}{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		must(t, <-served)
	})

	by, files, _ := encrypted(t)
	s := start(t, by, func(c *setup) {
		c.options.Upstream = &url.URL{Scheme: "h2c", Host: l.Addr().String()}
		c.catalog = "endpoints:\n  - {id: check, match: POST /grpc.health.v1.Health/Check, application: 3}\ncatch_all: {}\napplications: [{id: acme}]\n"
	})
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: files.roots()})))
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-app-id", "acme"), 20*time.Second)
	defer cancel()
	client := healthpb.NewHealthClient(conn)

	var header metadata.MD
	got, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&header))
	must(t, err)
	if got.GetStatus() != healthpb.HealthCheckResponse_SERVING || len(header.Get("ratelimit")) != 1 {
		t.Errorf("Check: %v, headers %v", got, header)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound { // an answer of trailers alone
		t.Errorf("the server's error: %v", err)
	}
	must(t, func() error { _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); return err }())
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable { // how gRPC takes 429
		t.Errorf("over the limit: %v", err)
	}
	if u := s.used("check"); u.Used != 3 || u.Refused != 1 {
		t.Errorf("used %+v", u)
	}

	watching, stop := context.WithCancel(ctx)
	watch, err := client.Watch(watching, &healthpb.HealthCheckRequest{})
	must(t, err)
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING} {
		state.SetServingStatus("", want)
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want { // each arrives while the stream stays open
			t.Fatalf("Watch: %v, %v, want %v", got, err, want)
		}
	}
	stop()

	var trailer metadata.MD
	chat, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Echo/Chat", grpc.Trailer(&trailer))
	must(t, err)
	for _, word := range []string{"one", "two", "three"} {
		must(t, chat.SendMsg(&healthpb.HealthCheckRequest{Service: word}))
		var m healthpb.HealthCheckRequest
		if must(t, chat.RecvMsg(&m)); m.GetService() != word { // while the client has not ended
			t.Errorf("Chat: %q, want %q", m.GetService(), word)
		}
	}
	must(t, chat.CloseSend())
	var m healthpb.HealthCheckRequest
	if err := chat.RecvMsg(&m); err != io.EOF { //nolint:errorlint // grpc returns it bare
		t.Errorf("the end of Chat: %v", err)
	}
	if n := trailer.Get("x-messages"); len(n) != 1 || n[0] != "3" {
		t.Errorf("trailers %v", trailer)
	}
}
