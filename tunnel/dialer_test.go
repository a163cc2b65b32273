package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// A 200 opens the tunnel, and the request is what the head function made.
func TestG01Established(t *testing.T) {
	s := newFakeStream(codec.HTTP2, response(103), response(200))
	var asked *codec.Request
	d := NewDialer(openerFunc(func(_ context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
		asked = head
		return s, nil
	}), connectHead)
	info := network.NewStreamInfo(1)
	c, h, err := d.Open(t.Context(), info)
	if err != nil || h != nil {
		t.Fatalf("handler %v, error %v", h, err)
	}
	if asked.Method != "CONNECT" || asked.Authority != "foo.lyft.com:80" {
		t.Errorf("asked for %+v", asked)
	}
	if len(s.written) != 0 || len(s.reset) != 0 {
		t.Errorf("before anybody wrote: written %q, resets %v", s.written, s.reset)
	}
	var steps []string
	for _, step := range info.Steps() {
		steps = append(steps, step.Name)
	}
	if want := []string{network.StepRequested, network.StepAnswered}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	if _, err := c.Write([]byte("payload")); err != nil || string(s.written) != "payload" {
		t.Errorf("wrote %q, %v", s.written, err)
	}
	_ = c.Close()
	if !s.closed {
		t.Error("Close did not release the stream")
	}
}

func proxyStatus(v string) codec.Field { return codec.Field{Name: "proxy-status", Value: v} }

// Which answers open a tunnel, and what the others say of the
// destination.
func TestG03G30G31G32Answers(t *testing.T) {
	tests := []struct {
		name    string
		proto   codec.Proto
		res     *codec.Response
		verdict network.Verdict // meaningful when ok is false
		ok      bool
	}{
		{name: "h2 200", proto: codec.HTTP2, res: response(200), ok: true},
		{name: "h3 200", proto: codec.HTTP3, res: response(200), ok: true},
		{name: "G30 FB04 h1 202", proto: codec.HTTP11, res: response(202), ok: true},
		{name: "G30 FB04 h1 226", proto: codec.HTTP11, res: response(226), ok: true},
		{name: "G31 h2 201", proto: codec.HTTP2, res: response(201), verdict: network.VerdictNetUnreachable},
		{name: "G31 h2 204", proto: codec.HTTP2, res: response(204), verdict: network.VerdictNetUnreachable},
		{name: "h3 201", proto: codec.HTTP3, res: response(201), verdict: network.VerdictNetUnreachable},
		{name: "G32 h2 200 with END_STREAM", proto: codec.HTTP2, res: &codec.Response{Status: 200, EndStream: true}, verdict: network.VerdictNetUnreachable},
		{name: "101", proto: codec.HTTP2, res: response(101), verdict: network.VerdictNetUnreachable},
		{name: "301", proto: codec.HTTP2, res: response(301), verdict: network.VerdictNetUnreachable},
		{name: "403", proto: codec.HTTP2, res: response(403), verdict: network.VerdictProhibited},
		{name: "404", proto: codec.HTTP2, res: response(404), verdict: network.VerdictNetUnreachable},
		{name: "407", proto: codec.HTTP2, res: response(407), verdict: network.VerdictNetUnreachable},
		{name: "500", proto: codec.HTTP2, res: response(500), verdict: network.VerdictNetUnreachable},
		{name: "502", proto: codec.HTTP2, res: response(502), verdict: network.VerdictRefused},
		{name: "G03 503", proto: codec.HTTP2, res: response(503), verdict: network.VerdictRefused},
		{name: "504", proto: codec.HTTP2, res: response(504), verdict: network.VerdictSilent},
		{name: "503 unroutable", proto: codec.HTTP2, res: response(503, proxyStatus("gw; error=destination_ip_unroutable")), verdict: network.VerdictHostUnreachable},
		{name: "503 dns", proto: codec.HTTP2, res: response(503, proxyStatus("gw; error=dns_error")), verdict: network.VerdictHostUnreachable},
		{name: "503 timeout", proto: codec.HTTP2, res: response(503, proxyStatus("gw; error=connection_timeout")), verdict: network.VerdictSilent},
		{name: "502 prohibited", proto: codec.HTTP2, res: response(502, proxyStatus("gw; error=destination_ip_prohibited")), verdict: network.VerdictProhibited},
		{name: "200 that says refused", proto: codec.HTTP2, res: &codec.Response{Status: 200, EndStream: true, Header: codec.Fields{proxyStatus("gw; error=connection_refused")}}, verdict: network.VerdictNetUnreachable},
		{name: "unknown token", proto: codec.HTTP2, res: response(503, proxyStatus("gw; error=made_up")), verdict: network.VerdictRefused},
		{name: "malformed field", proto: codec.HTTP2, res: response(504, proxyStatus("gw; error=\"")), verdict: network.VerdictSilent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeStream(tt.proto, tt.res)
			info := network.NewStreamInfo(1)
			c, _, err := NewDialer(opens(s), connectHead).Open(t.Context(), info)
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
				return
			}
			var status *StatusError
			if !errors.As(err, &status) || status.Code != tt.res.Status {
				t.Fatalf("got %v, want a StatusError of %d", err, tt.res.Status)
			}
			if got := network.VerdictFor(err); got != tt.verdict {
				t.Errorf("verdict %v, want %v", got, tt.verdict)
			}
			if got := network.FlagFor(err); got != network.FlagUF {
				t.Errorf("flag %v, want UF", got)
			}
			if want := fmt.Sprintf("tunnel_response:%d", tt.res.Status); info.TransportFailure != want {
				t.Errorf("transport failure %q, want %q", info.TransportFailure, want)
			}
			if !slices.Equal(s.reset, []codec.Code{codec.CodeCancel}) || !s.closed {
				t.Errorf("resets %v, closed %v: want one CANCEL, then Close", s.reset, s.closed)
			}
			if len(s.written) != 0 {
				t.Errorf("%q was sent into a tunnel that is not there", s.written)
			}
		})
	}
}

// What keeps the request from its answer says nothing of the destination.
func TestGatewayFailures(t *testing.T) {
	tests := []struct {
		name    string
		err     error
		verdict network.Verdict
		flag    network.Flag
	}{
		{"refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, network.VerdictNetUnreachable, network.FlagUF},
		{"unroutable", syscall.EHOSTUNREACH, network.VerdictNetUnreachable, network.FlagUF},
		{"timeout", network.WithReason(network.ReasonTimeout, nil), network.VerdictNetUnreachable, network.FlagUF},
		{"name", &net.DNSError{Err: "no such host"}, network.VerdictNetUnreachable, network.FlagUF},
		{"no endpoint", network.WithReason(network.ReasonNoHealthy, nil), network.VerdictNetUnreachable, network.FlagUH},
		{"overflow", network.WithReason(network.ReasonOverflow, nil), network.VerdictNetUnreachable, network.FlagUO},
		{"canceled", context.Canceled, network.VerdictSilent, network.FlagDC},
		{"something", errors.New("tls: bad certificate"), network.VerdictNetUnreachable, network.FlagUF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDialer(openerFunc(func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
				return nil, fmt.Errorf("cluster edge: %w", tt.err)
			}), connectHead)
			_, _, err := d.Open(t.Context(), network.NewStreamInfo(1))
			if !errors.Is(err, tt.err) {
				t.Errorf("%v does not wrap %v", err, tt.err)
			}
			if got := network.VerdictFor(err); got != tt.verdict {
				t.Errorf("verdict %v, want %v", got, tt.verdict)
			}
			if got := network.FlagFor(err); got != tt.flag {
				t.Errorf("flag %v, want %v", got, tt.flag)
			}
		})
	}
}

// The connection goes away before an answer; a reset is told apart by its
// code.
func TestG04LostBeforeAnswer(t *testing.T) {
	tests := []struct {
		name    string
		lost    error
		verdict network.Verdict
	}{
		{"connection closed", &network.ResetError{Remote: true, Err: syscall.ECONNRESET}, network.VerdictNetUnreachable},
		{"reset by the gateway", &network.ResetError{Remote: true, Code: 0x2}, network.VerdictNetUnreachable},
		{"CONNECT_ERROR", &network.ResetError{Remote: true, Code: 0xa}, network.VerdictRefused},
		{"our own CONNECT_ERROR", &network.ResetError{Code: 0xa}, network.VerdictNetUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeStream(codec.HTTP2)
			s.lost = tt.lost
			_, _, err := NewDialer(opens(s), connectHead).Open(t.Context(), network.NewStreamInfo(1))
			if !errors.Is(err, tt.lost) {
				t.Fatalf("%v does not wrap %v", err, tt.lost)
			}
			if got := network.VerdictFor(err); got != tt.verdict {
				t.Errorf("verdict %v, want %v", got, tt.verdict)
			}
			if !s.closed {
				t.Error("the stream is not released")
			}
		})
	}
}

// CVE-2021-43826: the application leaves while the answer is awaited.
func TestG23FB11CanceledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the application is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(network.WithReason(network.ReasonCanceled, gone)) })
		s := newFakeStream(codec.HTTP2)
		_, _, err := NewDialer(opens(s), connectHead).Open(ctx, network.NewStreamInfo(1))
		if !errors.Is(err, gone) || network.ReasonFor(err) != network.ReasonCanceled {
			t.Fatalf("got %v (%v)", err, network.ReasonFor(err))
		}
		if !slices.Equal(s.reset, []codec.Code{codec.CodeCancel}) || !s.closed {
			t.Errorf("resets %v, closed %v", s.reset, s.closed)
		}
	})
}

// A gateway that is there and does not answer is a time-out, not a
// gateway that is down.
func TestG24FB12NeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, network.ErrIdleTimeout)
		defer cancel()
		s := newFakeStream(codec.HTTP2)
		_, _, err := NewDialer(opens(s), connectHead).Open(ctx, network.NewStreamInfo(1))
		if !errors.Is(err, network.ErrIdleTimeout) || network.ReasonFor(err) != network.ReasonTimeout {
			t.Fatalf("got %v (%v)", err, network.ReasonFor(err))
		}
	})
}

func TestHeadError(t *testing.T) {
	bad := errors.New("hostname: not a value")
	d := NewDialer(openerFunc(func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
		t.Error("a stream was opened without a head")
		return nil, bad
	}), func(*network.StreamInfo) (*codec.Request, error) { return nil, bad })
	if _, _, err := d.Open(t.Context(), network.NewStreamInfo(1)); !errors.Is(err, bad) {
		t.Fatalf("got %v", err)
	}
}

// A request that crossed a GOAWAY is sent again, on another connection; a
// gateway that refuses for ever is given up.
func TestG17NotProcessed(t *testing.T) {
	refused := &network.ResetError{Remote: true, Code: 0x7, Err: codec.ErrNotProcessed}
	for _, refusals := range []int{1, 2, 3, 100} {
		tries := 0
		d := NewDialer(openerFunc(func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
			if tries++; tries > refusals {
				return newFakeStream(codec.HTTP2, response(200)), nil
			}
			s := newFakeStream(codec.HTTP2)
			s.lost = refused
			return s, nil
		}), connectHead)
		c, _, err := d.Open(t.Context(), network.NewStreamInfo(1))
		if c != nil {
			_ = c.Close()
		}
		if want := min(refusals+1, unprocessedTries); tries != want || (err == nil) != (refusals < unprocessedTries) {
			t.Errorf("%d refusals: %d tries, %v", refusals, tries, err)
		}
		if err != nil && network.ReasonFor(err) != network.ReasonGateway {
			t.Errorf("reason %v", network.ReasonFor(err))
		}
	}
}
