package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// client is a connection to a gateway by another implementation of HTTP/2.
func client(t *testing.T, g *Gateway, conf *tls.Config) *http2.ClientConn {
	t.Helper()
	c := dial(t, g.Addr())
	if conf != nil {
		c = tls.Client(c, conf)
	}
	cc, err := (&http2.Transport{}).NewClientConn(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func connect(ctx context.Context, cc *http2.ClientConn, body io.Reader) (*http.Response, error) {
	req := (&http.Request{
		Method: http.MethodConnect, Host: "192.0.2.1:80", URL: &url.URL{Host: "192.0.2.1:80"},
		Header: http.Header{}, Body: readCloser(body),
	}).WithContext(ctx)
	return cc.RoundTrip(req)
}

// readCloser keeps body's own Close, which is what wakes its reader.
func readCloser(body io.Reader) io.ReadCloser {
	if rc, ok := body.(io.ReadCloser); ok {
		return rc
	}
	return io.NopCloser(body)
}

func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestGatewayAnswers(t *testing.T) {
	for _, status := range []int{200, 204, 403, 407, 502, 503, 504} {
		g := NewGateway(t, listen(t), nil, Answer(status, "proxy-status", "test; error=connection_refused"))
		resp, err := connect(limit(t, time.Minute), client(t, g, nil), http.NoBody)
		if err != nil {
			t.Errorf("%d: %v", status, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status || resp.Header.Get("Proxy-Status") == "" {
			t.Errorf("got %v, want %d and a Proxy-Status", resp, status)
		}
	}
}

func TestGatewayOverTLS(t *testing.T) {
	ca := NewCA(t)
	g := NewGateway(t, listen(t), &tls.Config{
		Certificates: []tls.Certificate{ca.Issue("gateway.test", "127.0.0.1")}, NextProtos: []string{"h2"},
	}, Answer(403))
	cc := client(t, g, &tls.Config{RootCAs: ca.Pool, ServerName: "gateway.test", NextProtos: []string{"h2"}})
	resp, err := connect(limit(t, time.Minute), cc, http.NoBody)
	if err != nil || resp.StatusCode != 403 {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := tls.Dial("tcp", g.Addr(), &tls.Config{RootCAs: ca.Pool, ServerName: "other.test"}); err == nil {
		t.Error("the certificate is good for any name")
	}
}

// More than both windows hold, both ways, with the end of one direction first.
func TestGatewayEcho(t *testing.T) {
	s := Stream{Seed: 5, Size: 20 << 20}
	g := NewGateway(t, listen(t), nil, EchoTunnel())
	resp, err := connect(limit(t, 30*time.Second), client(t, g, nil), s.Reader())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	v := s.Verify()
	if _, err := io.Copy(v, resp.Body); err != nil {
		t.Error(err)
	}
	if err := v.Complete(); err != nil {
		t.Error(err)
	}
}

func TestGatewayResets(t *testing.T) {
	g := NewGateway(t, listen(t), nil, ResetStream(uint32(http2.ErrCodeConnect)))
	_, err := connect(limit(t, time.Minute), client(t, g, nil), http.NoBody)
	var reset http2.StreamError
	if !errors.As(err, &reset) || reset.Code != http2.ErrCodeConnect {
		t.Errorf("got %v", err)
	}
}

func TestGatewaySaysNothing(t *testing.T) {
	for name, script := range map[string]Script{
		"never answers": NeverAnswer(),
		"vanishes":      func(r *Request) { r.Vanish() },
		"answers late":  AnswerAfter(time.Hour, Answer(200)),
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			g := NewGateway(t, listen(t), nil, func(r *Request) {
				close(asked)
				script(r)
			})
			cc := client(t, g, nil)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := connect(ctx, cc, http.NoBody); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			// PING tells the vanished from the merely busy.
			err := cc.Ping(limit(t, 200*time.Millisecond))
			if name == "vanishes" && err == nil || name != "vanishes" && err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

// GOAWAY in the middle: the stream goes on, the next one is turned away.
func TestGatewayGoesAway(t *testing.T) {
	g := NewGateway(t, listen(t), nil, func(r *Request) {
		_ = r.Respond(200, false)
		_ = r.GoAway(r.ID, uint32(http2.ErrCodeNo))
		_ = r.Send([]byte("still here"), true)
	})
	cc := client(t, g, nil)
	resp, err := connect(limit(t, time.Minute), cc, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "still here" {
		t.Errorf("%q, %v", body, err)
	}
	if _, err := connect(limit(t, time.Minute), cc, http.NoBody); err == nil {
		t.Error("the client opened a stream after GOAWAY")
	}
}

func TestGatewayInTurn(t *testing.T) {
	g := NewGateway(t, listen(t), nil, InTurn(AnswerAndEnd(503), func(r *Request) { r.HangUp() }, AnswerAndEnd(200)))
	ctx := limit(t, time.Minute)
	cc := client(t, g, nil)
	if resp, err := connect(ctx, cc, http.NoBody); err != nil || resp.StatusCode != 503 {
		t.Errorf("first: %v, %v", resp, err)
	}
	if _, err := connect(ctx, cc, http.NoBody); err == nil {
		t.Error("second: answered, though the gateway hung up")
	}
	cc = client(t, g, nil)
	if resp, err := connect(ctx, cc, http.NoBody); err != nil || resp.StatusCode != 200 {
		t.Errorf("third: %v, %v", resp, err)
	}
	if n := g.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// What the client does to the stream is the script's to see.
func TestGatewaySeesTheClient(t *testing.T) {
	type seen struct {
		err  error
		code uint32
		auth string
	}
	got := make(chan seen, 1)
	g := NewGateway(t, listen(t), nil, func(r *Request) {
		_ = r.Respond(200, false)
		_, err := r.Receive()
		code, _ := r.ResetCode()
		got <- seen{err, code, r.Get(":authority")}
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, w := net.Pipe()
	defer func() { _ = w.Close() }()
	resp, err := connect(ctx, client(t, g, nil), body)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = resp.Body.Close()
	select {
	case s := <-got:
		if s.err != ErrReset || s.code != uint32(http2.ErrCodeCancel) || s.auth != "192.0.2.1:80" {
			t.Errorf("%+v", s)
		}
	case <-time.After(time.Minute):
		t.Fatal("the script saw nothing")
	}
}
